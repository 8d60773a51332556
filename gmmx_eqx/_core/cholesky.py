r"""The Cholesky factor of many small matrices, and its inverse, as XLA's own program.

LAPACK, which `jnp.linalg` calls on a CPU, is a good way to factorise one large matrix.
EM has a few dozen small ones per step, between two matrix products that need all cores.
There LAPACK costs half of the speed: the threads of its BLAS spin after every call.
Moreover, two batched calls at the same time can wait for each other for ever (jaxlib
0.10.2). Neither happens to plain operations. Other devices have batched routines of
their own, and would spend more time on starting plain operations than on doing them.
"""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float

from . import linalg


Matrices = Float[Array, "... d d"]

# Rows that are eliminated at once, and the size of a matrix from which it pays.
_BLOCK, _BLOCKS_FROM = 32, 96


# So few rows that a loop over them takes longer to begin than to run.
_UNROLLED = 2
# Matrices so small are factorised twice at once, in case the first factor fails: that
# takes less time than compiling a second factorisation.
_SIDE_BY_SIDE = 32


@ft.partial(jax.custom_jvp, nondiff_argnums=(1,))
# Compiled even outside of other programs: a loop is compiled anew at every call there.
@ft.partial(jax.jit, inline=True, static_argnums=1)
def inverse_cholesky(values: Matrices, tolerant: bool = False) -> Matrices:
    r"""The upper triangular $U$ with $Σ^{-1} = U U^T$; NaN where $Σ$ is not positive
    definite.

    A program does not raise, so callers must look at the result.

    **Arguments:**

    - `tolerant`: whether a matrix that is not positive definite, but would be with a
        few roundings added to its diagonal, gives the result with these added.
    """
    eliminate = _eliminated_tolerantly if tolerant else _eliminated
    return linalg.transpose(jnp.tril(eliminate(linalg.symmetrise(values))))


@inverse_cholesky.defjvp
def _inverse_cholesky_jvp(tolerant, primals, tangents):
    # From U^T Σ U = I.
    (values,), (d_values,) = primals, tangents
    u = inverse_cholesky(values, tolerant)
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


def _batched(
    fn: Callable[[Float[Array, "n d d"]], Float[Array, "n d d"]],
) -> Callable[[Matrices], Matrices]:
    """`fn` of matrices along any axes; lanes are more matrices."""

    @custom_vmap
    def batched(values: Matrices) -> Matrices:
        *_, d, _ = values.shape
        return fn(values.reshape(-1, d, d)).reshape(values.shape)

    @batched.def_vmap
    def _(axis_size, in_batched, values):
        del axis_size, in_batched
        return batched(values), True

    return batched


@_batched
def _eliminated(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """$L^{-1}$ on and below the diagonal, $L^T$ above it."""
    on_cpu = jax.default_backend() == "cpu"
    eliminated = (_eliminate if on_cpu else _eliminate_by_library)(matrices)
    # A pivot that is not positive spoils only the rows below it.
    return jnp.where(_is_sound(eliminated), eliminated, jnp.nan)


@_batched
def _eliminated_tolerantly(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    n, d, _ = matrices.shape
    # A pivot alone cannot be mended: what is left of its row no longer fits it.
    rounding = 4 * d * float(jnp.finfo(matrices.dtype).eps)
    larger = matrices + rounding * linalg.diagonal(linalg.diagonal_of(matrices))
    if d <= _SIDE_BY_SIDE:
        both = _eliminated(jnp.concatenate([matrices, larger]))
        return jnp.where(_is_sound(both[:n]), both[:n], both[n:])
    first = _eliminated(matrices)
    sound = _is_sound(first)
    again = lambda: jnp.where(sound, first, _eliminated(larger))
    return lax.cond(jnp.all(sound), lambda: first, again)


def _is_sound(eliminated: Float[Array, "n d d"]) -> Bool[Array, "n 1 1"]:
    return jnp.all(jnp.isfinite(eliminated), axis=(1, 2), keepdims=True)


def _eliminate_by_library(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    lower = lax.linalg.cholesky(matrices, symmetrize_input=False)
    eye = jnp.broadcast_to(jnp.eye(matrices.shape[-1], dtype=lower.dtype), lower.shape)
    inverse = lax.linalg.triangular_solve(lower, eye, left_side=True, lower=True)
    return jnp.tril(inverse) + jnp.triu(linalg.transpose(lower), 1)


def _eliminate(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """$L^{-1}$ and $L^T$ in the place of each matrix."""
    d = matrices.shape[-1]
    if d < _BLOCKS_FROM:
        return _eliminate_rows(matrices)
    # With ones on the diagonal of what is added.
    padding = -d % _BLOCK
    padded = jnp.pad(matrices, ((0, 0), (0, padding), (0, padding)))
    ones = jnp.where(jnp.arange(d + padding) < d, 0, 1).astype(matrices.dtype)
    return _eliminate_blocks(padded + jnp.diag(ones)[None])[:, :d, :d]


def _eliminate_blocks(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """As `_eliminate_rows`, but a block of rows is eliminated from those further down
    at once, by a matrix product."""
    index = jnp.arange(matrices.shape[-1])[None, None]
    row_index = jnp.swapaxes(index, 1, 2)

    def step(i, m):
        begin, end = i * _BLOCK, (i + 1) * _BLOCK
        # Not by the inverse of the corner: where the matrix is nearly singular, its
        # errors would be larger than what is left of the matrix.
        rows = lax.dynamic_slice_in_dim(m, begin, _BLOCK, 1)
        rows = _eliminate_in_place(rows, 1, begin)
        is_factor = (index < end) & (index > begin + row_index[:, :_BLOCK])
        below = jnp.where(index >= end, rows, 0)
        # Columns of the block begin anew in the rows that are not done.
        is_column = (index >= begin) & (index < end) & (row_index >= end)
        rest = jnp.where(is_column, 0, m)
        rest = rest - linalg.matmul(
            linalg.transpose(below), jnp.where(is_factor, 0, rows)
        )
        return lax.dynamic_update_slice_in_dim(rest, rows, begin, 1)

    return lax.fori_loop(0, matrices.shape[-1] // _BLOCK, step, matrices)


def _eliminate_rows(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """Gaussian elimination in place. Before column `j`, the rows from `j` on hold what
    is left of the matrix in the columns from `j` on, and rows of the inverse in those
    before; above the diagonal of the rows before `j` is the factor, transposed."""
    n, d, _ = matrices.shape
    if d <= _UNROLLED:
        return _eliminate_unrolled(matrices)
    # The longer axis last: it fills the vector units.
    if n <= d:
        return _eliminate_in_place(matrices, 1)
    eliminated = _eliminate_in_place(jnp.moveaxis(matrices, 0, -1), 0)
    return jnp.moveaxis(eliminated, -1, 0)


def _eliminate_unrolled(matrices: Float[Array, "n d d"]) -> Float[Array, "n d d"]:
    """The same, one number of all matrices after the other."""
    n, d, _ = matrices.shape
    m = [[matrices[:, i, j] for j in range(d)] for i in range(d)]
    for j in range(d):
        scale = linalg.inverse_sqrt(m[j][j])
        factor = [m[j][k] * scale for k in range(j + 1, d)]
        known = [m[j][k] * scale for k in range(j)]
        for i in range(j + 1, d):
            below = factor[i - j - 1]
            for k in range(j):
                m[i][k] = m[i][k] - below * known[k]
            m[i][j] = -below * scale
            for k in range(i, d):
                m[i][k] = m[i][k] - below * factor[k - j - 1]
        m[j] = [*known, scale, *factor]
    rows = jnp.stack([number for row in m for number in row])
    return jnp.moveaxis(rows.reshape(d, d, n), -1, 0)


def _eliminate_in_place(
    m: Float[Array, "_ _ _"], axis: int, begin: Any = 0
) -> Float[Array, "_ _ _"]:
    """With rows along `axis`, columns along the next, and matrices along the other.
    There may be more columns than rows: the first row has its pivot in column `begin`,
    and the others follow."""
    n_rows = m.shape[axis]
    expand = lambda index: jnp.expand_dims(index, 1 - axis)
    rows, columns = (expand(jnp.arange(m.shape[i])) for i in (axis, axis + 1))
    as_row = lambda row: jnp.expand_dims(row, axis)
    as_column = lambda row: jnp.expand_dims(row, axis + 1)

    def pivot_row(m, j):
        row = lax.dynamic_index_in_dim(m, j, axis, keepdims=False)
        pivot = lax.dynamic_index_in_dim(row, begin + j, axis)
        scale = linalg.inverse_sqrt(pivot)
        return jnp.where(columns == begin + j, scale, row * scale)

    def step(j, carry):
        # What a loop carries is computed once; everything else XLA may compute once
        # for every number that needs it.
        m, row = carry
        corner = lax.dynamic_slice_in_dim(row, begin, n_rows, axis)
        column = jnp.where(rows > j, corner, 0)
        # Rows that are not done begin anew there; the others keep the factor.
        is_column = as_row(columns == begin + j) & as_column(rows >= j)
        rest = jnp.where(is_column, 0, m) - as_column(column) * as_row(row)
        m = lax.dynamic_update_index_in_dim(rest, row, j, axis)
        return m, pivot_row(m, j + 1)

    m, row = lax.fori_loop(0, n_rows - 1, step, (m, pivot_row(m, 0)))
    return lax.dynamic_update_index_in_dim(m, row, n_rows - 1, axis)
