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
from jaxtyping import Array, Float

from . import linalg
from .cholesky import inverse_cholesky
from .lapack import eigh_tangents


Matrices: TypeAlias = Float[Array, "1 components d d"]
# One matrix of axes for each component, or one for all of them.
Axes: TypeAlias = Float[Array, "1 _ d d"]
Column: TypeAlias = Float[Array, "1 components d 1"]
_Blocks: TypeAlias = Float[Array, "1 _ pairs 1"]
# From the elements (p, p), (q, q) and (p, q) of all pairs (p, q), and from a column of
# numbers that go with p and with q: a vector at twice the angle between old and new
# axes.
_Turn: TypeAlias = Callable[
    [_Blocks, _Blocks, _Blocks, _Blocks, _Blocks], tuple[_Blocks, _Blocks]
]

# Six to ten sweeps are enough. Of matrices that do not commute a rest stays.
_MAX_SWEEPS, _MAX_JOINT_SWEEPS = 20, 8
# Elements off the diagonal, relative to it, from which the next sweeps are the last.
_NEARLY = 1e-2


@jax.custom_jvp
def eigh(values: Matrices) -> tuple[Column, Axes]:
    """Eigenvalues, in ascending order, and eigenvectors, as columns. Their derivatives
    are those of `eigh_tangents`."""
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
    d_values, d_axes = eigh_tangents(eigenvalues[..., 0], axes, change)
    return (eigenvalues, axes), (d_values[..., None], d_axes)


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

    def turn(p, q, cross, _, __):
        difference, twice = p - q, 2 * cross
        along = add(share * (difference**2 - twice**2))
        across = add(share * 2 * difference * twice)
        return along + jnp.sqrt(along**2 + across**2), across

    first = values[:, :1] if joint else values
    axes = jnp.broadcast_to(jnp.eye(values.shape[-1], dtype=values.dtype), first.shape)
    nothing = jnp.zeros_like(linalg.diagonal_of(values))
    # Elements off the diagonal that are no longer reduced: what rounding leaves; or, of
    # several matrices, those whose squares do not matter.
    eps = float(jnp.finfo(values.dtype).eps)
    least, max_sweeps = (
        (eps**0.6, _MAX_JOINT_SWEEPS) if joint else (4 * eps, _MAX_SWEEPS)
    )

    def goes_on(carry):
        values, _, before, sweep = carry
        off = _largest_off_diagonal(values)
        # Near the end each sweep squares it, until rounding keeps it from falling.
        falls = (off > _NEARLY) | (off < before)
        return (off > least) & falls & (sweep < max_sweeps)

    def sweep(carry):
        values, axes, _, number = carry
        before = _largest_off_diagonal(values)
        values, axes = _sweep(values, axes, nothing, turn)
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

    def turn(p, q, cross, precision_p, precision_q):
        gap = precision_p - precision_q
        difference = _add_components(gap * (p - q))
        return -difference, -2 * _add_components(gap * cross)

    return _sweep(in_axes(values, axes), axes, precisions, turn)[1]


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


def rotation(angles: Axes) -> Axes:
    r"""Cayley's $(1 - X/2)^{-1} (1 + X/2)$ of an antisymmetric matrix, about $1 + X$:
    orthogonal, with all its derivatives."""
    half = 0.5 * angles
    eye = jnp.eye(half.shape[-1], dtype=half.dtype)[None, None]
    u = inverse_cholesky(eye - linalg.matmul(half, half))
    inverse = linalg.matmul(u, linalg.transpose(u))
    return linalg.matmul(linalg.matmul(eye + half, eye + half), inverse)


def _sweep(
    values: Matrices, axes: Axes, numbers: Column, turn: _Turn
) -> tuple[Matrices, Axes]:
    """Every pair of axes rotated once."""
    d = values.shape[-1]
    if d == 1:
        return values, axes
    n_pairs = (d + 1) // 2
    if d % 2:
        # One axis more, in which nothing varies.
        none, more = (0, 0), (0, 1)
        values = jnp.pad(values, (none, none, more, more))
        axes = jnp.pad(axes, (none, none, more, more))
        numbers = jnp.pad(numbers, (none, none, more, none))

    def join(p, q):
        # The first stays, the others move on by one place, clockwise.
        parts = (p[..., :1, :], q[..., :1, :], p[..., 1:-1, :], q[..., 1:, :])
        return jnp.concatenate([*parts, p[..., 1:, :][..., -1:, :]], axis=-2)

    halves = lambda x: (x[..., :n_pairs, :], x[..., n_pairs:, :])

    def rotate(_, carry):
        values, axes, numbers = carry
        cross = linalg.diagonal_of(values[..., :n_pairs, n_pairs:])
        diagonal = linalg.diagonal_of(values)
        cos, sin = _half_angle(*turn(*halves(diagonal), cross, *halves(numbers)))

        def columns(x):
            p, q = halves(linalg.transpose(x))
            return join(cos * p + sin * q, cos * q - sin * p)

        rotated = columns(columns(values)), columns(linalg.transpose(axes))
        return *rotated, join(*halves(numbers))

    n_rounds = 2 * n_pairs - 1
    carry = (values, linalg.transpose(axes), numbers)
    values, axes, _ = jax.lax.fori_loop(0, n_rounds, rotate, carry)
    return values[..., :d, :d], linalg.transpose(axes)[..., :d, :d]


def _half_angle(x: _Blocks, y: _Blocks) -> tuple[_Blocks, _Blocks]:
    """Cosine and sine of half of the angle of a vector. Where there is none across, no
    rotation."""
    length = jnp.sqrt(x**2 + y**2)
    cos = x / jnp.where(length > 0, length, 1)
    # Without cancellation, whatever the sign.
    large = jnp.sqrt((1 + jnp.abs(cos)) / 2)
    small = jnp.abs(y) / jnp.where(length > 0, 2 * length * large, 1)
    sign = jnp.where(y < 0, -1, 1).astype(y.dtype)
    still = (y == 0) | (length == 0)
    one = jnp.ones_like(cos)
    return (
        jnp.where(still, one, jnp.where(cos < 0, small, large)),
        jnp.where(still, 0, sign * jnp.where(cos < 0, large, small)),
    )


def _add_components(x: _Blocks) -> _Blocks:
    return jnp.sum(x, axis=1, keepdims=True)


def _largest_off_diagonal(values: Matrices) -> Float[Array, ""]:
    """Relative to the diagonal, and so whatever the units of the axes."""
    diagonal = jnp.sqrt(jnp.maximum(linalg.diagonal_of(values), 0))
    scale = diagonal * linalg.transpose(diagonal)
    relative = jnp.abs(values) / jnp.where(scale > 0, scale, 1)
    off = ~jnp.eye(values.shape[-1], dtype=bool)
    return jnp.max(jnp.where(off, relative, 0))
