r"""Jacobi's method: orthogonal matrices that make symmetric ones diagonal, one for each
or one for several together.

As plain operations, not as calls of LAPACK, for the reasons that are given in
`cholesky`. All pairs of a round are rotated at once: a round-robin tournament of the
columns.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from . import linalg


Matrices: TypeAlias = Float[Array, "1 components d d"]
# One matrix of axes for each component, or one for all of them.
Axes: TypeAlias = Float[Array, "1 _ d d"]
Column: TypeAlias = Float[Array, "1 components d 1"]
_Blocks: TypeAlias = Float[Array, "1 _ pairs 1"]
# From the elements (p, p), (q, q) and (p, q) of all pairs (p, q), and from a column of
# numbers that go with p and with q: the angle between old and new axes.
_Angle: TypeAlias = Callable[[_Blocks, _Blocks, _Blocks, _Blocks, _Blocks], _Blocks]

# Six to ten sweeps are enough. Of matrices that do not commute a rest stays.
_MAX_SWEEPS, _MAX_JOINT_SWEEPS = 20, 8
# Elements off the diagonal, relative to it, from which the next sweeps are the last.
_NEARLY = 1e-2


@jax.custom_jvp
def eigh(values: Matrices) -> tuple[Column, Axes]:
    """Eigenvalues, in ascending order, and eigenvectors, as columns.

    The derivative of an eigenvector has a share of zero, where it would be infinite, of
    another one with the same eigenvalue.
    """
    values = linalg.symmetrise(values)
    axes = common_axes(values, jnp.ones_like(values[..., :1, :1]), joint=False)
    eigenvalues = diagonal_in(values, axes)
    order = jnp.argsort(eigenvalues, axis=-2)
    columns = jnp.swapaxes(order, -1, -2)
    return (
        jnp.take_along_axis(eigenvalues, order, -2),
        jnp.take_along_axis(axes, columns, -1),
    )


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    (values,), (change,) = primals, tangents
    eigenvalues, axes = eigh(values)
    change = in_axes(linalg.symmetrise(change), axes)
    gap = linalg.transpose(eigenvalues) - eigenvalues
    size = jnp.max(jnp.abs(eigenvalues), axis=-2, keepdims=True)
    apart = jnp.abs(gap) > float(jnp.finfo(values.dtype).eps) * size
    turn = jnp.where(apart, change / jnp.where(apart, gap, 1), 0)
    changes = linalg.diagonal_of(change), linalg.matmul(axes, turn)
    return (eigenvalues, axes), changes


def common_axes(
    values: Matrices, share: Float[Array, "1 components 1 1"], joint: bool = True
) -> Axes:
    """Axes in which all the matrices are as nearly diagonal as they can be; or, if not
    `joint`, the axes of each.

    Matrices that commute are diagonal in theirs. Axes have no derivative.

    **Arguments:**

    - `share`: how much each matrix counts.

    ??? cite "Reference"

        Cardoso, Souloumiac (1996), Jacobi Angles for Simultaneous Diagonalization. SIAM
        Journal on Matrix Analysis and Applications 17(1), 161-164.
    """
    values = jax.lax.stop_gradient(values)
    # Of unit size: products of four variances can underflow.
    sizes = jnp.sum(linalg.diagonal_of(values), axis=-2, keepdims=True)
    values = jnp.where(share > 0, values / jnp.where(sizes > 0, sizes, 1), 0)
    add = _add_components if joint else lambda x: x

    def angle(p, q, cross, _, __):
        difference, twice = p - q, 2 * cross
        along = add(share * (difference**2 - twice**2))
        across = add(share * 2 * difference * twice)
        return 0.5 * jnp.arctan2(across, along + jnp.hypot(along, across))

    first = values[:, :1] if joint else values
    axes = jnp.broadcast_to(jnp.eye(values.shape[-1], dtype=values.dtype), first.shape)
    nothing = jnp.zeros_like(linalg.diagonal_of(values))
    # The elements off the diagonal that rounding leaves.
    least = 4 * float(jnp.finfo(values.dtype).eps)
    max_sweeps = _MAX_JOINT_SWEEPS if joint else _MAX_SWEEPS

    def goes_on(carry):
        values, _, before, sweep = carry
        off = _largest_off_diagonal(values)
        # Near the end each sweep squares it, until rounding keeps it from falling.
        falls = (off > _NEARLY) | (off < before)
        return (off > least) & falls & (sweep < max_sweeps)

    def sweep(carry):
        values, axes, _, number = carry
        before = _largest_off_diagonal(values)
        values, axes = _sweep(values, axes, nothing, angle)
        return values, axes, before, number + 1

    carry = (values, axes, jnp.full((), jnp.inf, values.dtype), jnp.array(0))
    return jax.lax.while_loop(goes_on, sweep, carry)[1]


def better_axes(
    values: Matrices,
    axes: Axes,
    count: Float[Array, "1 components 1 1"],
    variances: Column,
) -> Axes:
    r"""Axes $D$, the same for all components, with a smaller $\sum_k n_k
    \operatorname{tr}(D A_k^{-1} D^T S_k)$: the best rotation in the plane of every pair
    of axes.

    **Arguments:**

    - `values`: $S_k$.
    - `axes`: to begin with.
    - `count`: $n_k$.
    - `variances`: the diagonal of $A_k$.

    ??? cite "Reference"

        Flury, Gautschi (1986), An Algorithm for Simultaneous Orthogonal Transformation
        of Several Positive Definite Symmetric Matrices to Nearly Diagonal Form. SIAM
        Journal on Scientific and Statistical Computing 7(1), 169-184.
    """
    precisions = count / variances

    def angle(p, q, cross, precision_p, precision_q):
        gap = precision_p - precision_q
        difference = _add_components(gap * (p - q))
        across = 2 * _add_components(gap * cross)
        # What does not vary together stays: the axis that makes their number even, too.
        turn = 0.5 * jnp.arctan2(-across, -difference)
        return jnp.where(across == 0, 0, turn)

    return _sweep(in_axes(values, axes), axes, precisions, angle)[1]


def in_axes(values: Matrices, axes: Axes) -> Matrices:
    """Matrices in other axes."""
    product = linalg.matmul(linalg.transpose(axes), values)
    return linalg.symmetrise(linalg.matmul(product, axes))


def diagonal_in(values: Matrices, axes: Axes) -> Column:
    """The diagonal of matrices in other axes."""
    squares = axes * linalg.matmul(values, axes)
    return linalg.transpose(jnp.sum(squares, axis=-2, keepdims=True))


def from_axes(diagonal: Float[Array, "1 _ d 1"], axes: Axes) -> Matrices:
    """Matrices from their diagonal in these axes; either can be the same for all."""
    product = linalg.matmul(axes * linalg.transpose(diagonal), linalg.transpose(axes))
    return linalg.symmetrise(product)


def _sweep(
    values: Matrices, axes: Axes, numbers: Column, angle: _Angle
) -> tuple[Matrices, Axes]:
    """Every pair of axes rotated once."""
    d = values.shape[-1]
    if d == 1:
        return values, axes
    n_pairs = (d + 1) // 2
    extra = [(0, 2 * n_pairs - d)]
    none = [(0, 0)]
    # One axis more if their number is odd, in which nothing varies.
    values = jnp.pad(values, 2 * none + 2 * extra)
    axes = jnp.pad(axes, 2 * none + 2 * extra)
    numbers = jnp.pad(numbers, 2 * none + extra + none)
    # The first stays, the others move on by one place, clockwise.
    top, bottom = np.arange(n_pairs), np.arange(n_pairs, 2 * n_pairs)
    order = np.concatenate([top[:1], bottom[:1], top[1:-1], bottom[1:], top[1:][-1:]])

    def rotate(_, carry):
        values, axes, numbers = carry
        diagonal = linalg.diagonal_of(values)
        cross = linalg.diagonal_of(values[..., :n_pairs, n_pairs:])
        halves = lambda x: (x[..., :n_pairs, :], x[..., n_pairs:, :])
        turn = angle(*halves(diagonal), cross, *halves(numbers))
        cos, sin = jnp.cos(turn), jnp.sin(turn)

        def rows(x):
            p, q = halves(x)
            rotated = (cos * p + sin * q, cos * q - sin * p)
            return jnp.concatenate(rotated, axis=-2)[..., order, :]

        both = linalg.transpose(rows(linalg.transpose(rows(values))))
        axes = linalg.transpose(rows(linalg.transpose(axes)))
        return both, axes, numbers[..., order, :]

    n_rounds = 2 * n_pairs - 1
    values, axes, _ = jax.lax.fori_loop(0, n_rounds, rotate, (values, axes, numbers))
    return values[..., :d, :d], axes[..., :d, :d]


def _add_components(x: _Blocks) -> _Blocks:
    return jnp.sum(x, axis=1, keepdims=True)


def _largest_off_diagonal(values: Matrices) -> Float[Array, ""]:
    """Relative to the diagonal, and so whatever the units of the axes."""
    diagonal = jnp.sqrt(jnp.maximum(linalg.diagonal_of(values), 0))
    scale = diagonal * linalg.transpose(diagonal)
    relative = jnp.abs(values) / jnp.where(scale > 0, scale, 1)
    off = ~jnp.eye(values.shape[-1], dtype=bool)
    return jnp.max(jnp.where(off, relative, 0))
