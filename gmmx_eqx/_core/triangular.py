"""Equations with many lower triangular matrices, as XLA's own program.

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

# Rows of a block: at least so many, and at most so many blocks, since each is a part of
# the program.
_SMALLEST_BLOCK, _MAX_BLOCKS = 8, 8


@jax.custom_jvp
def solve_lower(lower: Matrices, columns: Columns) -> Float[Array, "*both d columns"]:
    r"""$L^{-1} B$ for lower triangular $L$; what is above its diagonal does not count.

    By forward substitution, block by block: each column of the result is that of a
    matrix that differs from $L$ by a few eps in every element, however near to singular
    $L$ is. A product with the inverse would lose digits with the condition of $L$.
    Infinite or NaN where an element of the diagonal is zero.
    """
    d = lower.shape[-1]
    size = max(_SMALLEST_BLOCK, -(-d // _MAX_BLOCKS))
    done: list[Array] = []
    for begin in range(0, d, size):
        rows = slice(begin, min(begin + size, d))
        rest = columns[..., rows, :]
        if done:
            known = jnp.concatenate(done, axis=-2)
            rest = rest - linalg.matmul(lower[..., rows, :begin], known)
        block = jnp.tril(lower[..., rows, rows])
        inverse = _inverse(block)
        guess = linalg.matmul(inverse, rest)
        # One step of refinement makes up for the rounding of the inverse.
        missing = rest - linalg.matmul(block, guess)
        done.append(guess + linalg.matmul(inverse, missing))
    return jnp.concatenate(done, axis=-2)


@solve_lower.defjvp
def _solve_lower_jvp(primals, tangents):
    (lower, columns), (d_lower, d_columns) = primals, tangents
    solution = solve_lower(lower, columns)
    moved = linalg.matmul(jnp.tril(d_lower), solution)
    return solution, solve_lower(lower, d_columns - moved)


def inverse_lower(lower: Matrices) -> Matrices:
    """$L^{-1}$, as by `solve_lower`."""
    eye = jnp.eye(lower.shape[-1], dtype=lower.dtype)
    return jnp.tril(solve_lower(lower, jnp.broadcast_to(eye, lower.shape)))


# Compiled even outside of other programs: a loop is compiled anew at every call there.
@ft.partial(jax.jit, inline=True)
def _inverse(block: Matrices) -> Matrices:
    d = block.shape[-1]
    lead = tuple(range(block.ndim - 2))
    diagonal = linalg.diagonal_of(block)

    def substitute(j, inverse):
        row = lax.dynamic_index_in_dim(block, j, -2, keepdims=False)[..., None]
        pivot = lax.dynamic_index_in_dim(diagonal, j, -2)
        # Rows of the inverse from `j` on are still zero.
        known = jnp.sum(row * inverse, axis=-2, keepdims=True)
        unit = jnp.expand_dims((jnp.arange(d)[None] == j).astype(block.dtype), lead)
        return lax.dynamic_update_slice_in_dim(inverse, (unit - known) / pivot, j, -2)

    return lax.fori_loop(0, d, substitute, jnp.zeros_like(block))
