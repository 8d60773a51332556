"""Linear equations with many lower triangular matrices, as XLA's own program.

As for `cholesky`: LAPACK's threads spin between the matrix products of a step.
"""

import functools as ft

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from . import linalg


Matrices = Float[Array, "... d d"]
Columns = Float[Array, "*lead d columns"]
Solutions = Float[Array, "*both d columns"]

# Rows of a block that is inverted by a loop over its rows.
_BLOCK = 16


@jax.custom_jvp
def solve_lower(lower: Matrices, columns: Columns) -> Solutions:
    r"""$L^{-1} B$ for lower triangular $L$; what is above its diagonal does not count.

    As accurate as forward substitution: each column is the solution for a matrix that
    differs from $L$ by a few eps in every element, however near to singular $L$ is.
    Infinite or NaN where an element of the diagonal is zero.
    """
    return _solve(lower, inverse_lower(lower), columns)


@solve_lower.defjvp
def _solve_lower_jvp(primals, tangents):
    (lower, columns), (d_lower, d_columns) = primals, tangents
    # XLA would not notice that two loops are the same.
    inverse = inverse_lower(lower)
    solution = _solve(lower, inverse, columns)
    moved = linalg.matmul(jnp.tril(d_lower), solution)
    return solution, _solve(lower, inverse, d_columns - moved)


def _solve(lower: Matrices, inverse: Matrices, columns: Columns) -> Solutions:
    guess = linalg.matmul(inverse, columns)
    # One step of refinement makes up for the rounding of the inverse.
    missing = columns - linalg.matmul(jnp.tril(lower), guess)
    return guess + linalg.matmul(inverse, missing)


# Compiled even outside of other programs: a loop is compiled anew at every call there.
@jax.custom_jvp
@ft.partial(jax.jit, inline=True)
def inverse_lower(lower: Matrices) -> Matrices:
    """$L^{-1}$ of lower triangular matrices: of blocks on the diagonal by forward
    substitution, and the rest by products of halves."""
    d = lower.shape[-1]
    size = min(d, _BLOCK)
    while size < d:
        size *= 2
    # With ones on the diagonal of what is added.
    padding = [*[(0, 0)] * (lower.ndim - 2), (0, size - d), (0, size - d)]
    added = jnp.diag((jnp.arange(size) >= d).astype(lower.dtype))
    added = jnp.expand_dims(added, tuple(range(lower.ndim - 2)))
    return _by_halves(jnp.pad(jnp.tril(lower), padding) + added)[..., :d, :d]


def _by_halves(lower: Matrices) -> Matrices:
    d = lower.shape[-1]
    if d <= _BLOCK:
        return _by_rows(lower)
    half = d // 2
    corners = jnp.stack([lower[..., :half, :half], lower[..., half:, half:]])
    first, second = _by_halves(corners)
    product = linalg.matmul(linalg.matmul(second, lower[..., half:, :half]), first)
    above = jnp.concatenate([first, jnp.zeros_like(first)], axis=-1)
    return jnp.concatenate([above, jnp.concatenate([-product, second], -1)], axis=-2)


def _by_rows(lower: Matrices) -> Matrices:
    d = lower.shape[-1]
    lead = tuple(range(lower.ndim - 2))
    diagonal = linalg.diagonal_of(lower)

    def substitute(j, inverse):
        row = lax.dynamic_index_in_dim(lower, j, -2, keepdims=False)[..., None]
        pivot = lax.dynamic_index_in_dim(diagonal, j, -2)
        # Rows of the inverse from `j` on are still zero.
        known = jnp.sum(row * inverse, axis=-2, keepdims=True)
        unit = jnp.expand_dims((jnp.arange(d)[None] == j).astype(lower.dtype), lead)
        return lax.dynamic_update_slice_in_dim(inverse, (unit - known) / pivot, j, -2)

    return lax.fori_loop(0, d, substitute, jnp.zeros_like(lower))


@inverse_lower.defjvp
def _inverse_lower_jvp(primals, tangents):
    (lower,), (d_lower,) = primals, tangents
    inverse = inverse_lower(lower)
    change = linalg.matmul(linalg.matmul(inverse, jnp.tril(d_lower)), inverse)
    return inverse, -change
