r"""The Cholesky factor of many small matrices, and its inverse, as XLA's own program.

LAPACK, which `jnp.linalg` calls on a CPU, is a good way to factorise one large matrix.
EM has a few dozen small ones per step, between two matrix products that need all cores.
There LAPACK costs half of the speed: the threads of its BLAS spin after every call.
Moreover, two batched calls at the same time can wait for each other for ever (jaxlib
0.10.2). Neither happens to plain operations. Other devices have batched routines of
their own, and would spend more time on starting plain operations than on doing them.
"""

import functools as ft

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from . import linalg


# Matrices of up to this size are eliminated column by column; larger ones in blocks of
# this size, by matrix products. Measured on a CPU.
_BLOCK = 8

Matrices = Float[Array, "... d d"]


# Compiled even outside of other programs: a loop is compiled anew at every call there.
@jax.custom_jvp
@ft.partial(jax.jit, inline=True)
def inverse_cholesky(values: Matrices) -> Matrices:
    r"""The upper triangular $U$ with $Σ^{-1} = U U^T$; NaN where $Σ$ is not positive
    definite.

    A program does not raise, so callers must look at the result.
    """
    return linalg.transpose(_lower_inverse(linalg.symmetrise(values)))


@inverse_cholesky.defjvp
def _inverse_cholesky_jvp(primals, tangents):
    # From U^T Σ U = I.
    (values,), (d_values,) = primals, tangents
    u = inverse_cholesky(values)
    d_values = linalg.symmetrise(d_values)
    relative = linalg.matmul(linalg.matmul(linalg.transpose(u), d_values), u)
    diagonal = linalg.diagonal(linalg.diagonal_of(relative))
    return u, -linalg.matmul(u, jnp.triu(relative) - 0.5 * diagonal)


@jax.custom_jvp
@ft.partial(jax.jit, inline=True)
def cholesky(values: Matrices) -> Matrices:
    r"""The lower triangular $L$ with $Σ = L L^T$; NaN where $Σ$ is not positive
    definite."""
    eliminated = _eliminated(linalg.symmetrise(values))
    above = linalg.transpose(jnp.triu(eliminated, 1))
    return above + linalg.diagonal(1 / linalg.diagonal_of(eliminated))


@cholesky.defjvp
def _cholesky_jvp(primals, tangents):
    (values,), (d_values,) = primals, tangents
    lower = cholesky(values)
    u = inverse_cholesky(values)
    d_values = linalg.symmetrise(d_values)
    relative = linalg.matmul(linalg.matmul(linalg.transpose(u), d_values), u)
    diagonal = linalg.diagonal(linalg.diagonal_of(relative))
    return lower, linalg.matmul(lower, jnp.tril(relative) - 0.5 * diagonal)


def _lower_inverse(values: Matrices) -> Matrices:
    """$L^{-1}$ with $Σ = L L^T$."""
    return jnp.tril(_eliminated(values))


@custom_vmap
def _eliminated(values: Matrices) -> Matrices:
    """$L^{-1}$ on and below the diagonal, $L^T$ above it."""
    *_, d, _ = values.shape
    matrices = values.reshape(-1, d, d)
    if jax.default_backend() != "cpu":
        eliminate = _eliminate_by_library
    else:
        eliminate = _eliminate if d <= _BLOCK else _eliminate_blocks
    eliminated = eliminate(matrices)
    # A pivot that is not positive spoils only the rows below it.
    sound = jnp.all(jnp.isfinite(eliminated), axis=(1, 2), keepdims=True)
    return jnp.where(sound, eliminated, jnp.nan).reshape(values.shape)


@_eliminated.def_vmap
def _(axis_size, in_batched, values):
    # Lanes are more matrices.
    del axis_size, in_batched
    return _eliminated(values), True


def _eliminate_by_library(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    lower = lax.linalg.cholesky(matrices, symmetrize_input=False)
    eye = jnp.broadcast_to(jnp.eye(matrices.shape[-1], dtype=lower.dtype), lower.shape)
    inverse = lax.linalg.triangular_solve(lower, eye, left_side=True, lower=True)
    return jnp.tril(inverse) + jnp.triu(linalg.transpose(lower), 1)


def _eliminate(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """Gaussian elimination in place. Before column `j`, the rows from `j` on hold what
    is left of the matrix in the columns from `j` on, and rows of the inverse in those
    before; above the diagonal of the rows before `j` is the factor, transposed."""
    d = matrices.shape[-1]
    index = jnp.arange(d)[:, None]
    is_row = lambda j: (index == j)[:, None]
    # Of the rows that are not done; the others keep the factor there.
    is_column = lambda j: (index == j)[None] & (index >= j)[:, None]

    def step(j, m):
        row = lax.dynamic_index_in_dim(m, j, axis=0, keepdims=False)
        pivot = lax.dynamic_index_in_dim(row, j, axis=0, keepdims=True)
        scale = linalg.inverse_sqrt(pivot)
        row = jnp.where(index == j, scale, row * scale)
        column = jnp.where(index > j, row, 0)
        rest = jnp.where(is_column(j), 0, m) - column[:, None] * row[None]
        return jnp.where(is_row(j), row[None], rest)

    # Matrices last: they fill the vector units, however small each of them is.
    last = jnp.moveaxis(matrices, 0, -1)
    return jnp.moveaxis(lax.fori_loop(0, d, step, last), -1, 0)


def _eliminate_blocks(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """The same, with blocks for numbers."""
    n, d, _ = matrices.shape
    padding = -d % _BLOCK
    padded = jnp.pad(matrices, ((0, 0), (0, padding), (0, padding)))
    unit = jnp.where(jnp.arange(d + padding) < d, 0, 1).astype(matrices.dtype)
    padded = padded + jnp.diag(unit)[None]
    block = jnp.arange(d + padding) // _BLOCK

    def step(j, m):
        start = j * _BLOCK
        rows = lax.dynamic_slice_in_dim(m, start, _BLOCK, axis=1)
        pivot = lax.dynamic_slice_in_dim(rows, start, _BLOCK, axis=2)
        eliminated = _eliminate(pivot)
        scale = jnp.tril(eliminated)
        rows = linalg.matmul(scale, rows)
        columns = linalg.transpose(jnp.where(block > j, rows, 0))
        row_of_inverse = lax.dynamic_update_slice_in_dim(rows, scale, start, axis=2)
        is_column = (block == j)[None] & (block >= j)[:, None]
        rest = jnp.where(is_column, 0, m) - linalg.matmul(columns, row_of_inverse)
        rows = lax.dynamic_update_slice_in_dim(rows, eliminated, start, axis=2)
        return lax.dynamic_update_slice_in_dim(rest, rows, start, axis=1)

    return lax.fori_loop(0, (d + padding) // _BLOCK, step, padded)[:, :d, :d]
