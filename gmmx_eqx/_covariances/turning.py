r"""Coordinates of parsimonious covariances, relative to a reference: logarithms of
volumes and shapes, and angles of orientations.

Rules of `unconstrain` and `constrain`. A small step of $δ$ in each costs about $δ^2$
nats per sample of the component, whatever the units.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Values
from .._core.axes import Axis
from .._core.cholesky import inverse_cholesky
from .._core.jacobi import (
    Axes,
    common_axes,
    diagonal_in,
    eigh,
    from_axes,
    in_axes,
    rotation,
)
from .._core.programs import program
from .common_axes import AbstractCommonAxes
from .oriented import VEECovariances
from .parsimonious import (
    AbstractParsimonious,
    AbstractParsimoniousDiagonals,
    normalised,
)
from .unconstrained import constrain, unconstrain


_Coordinates = Float[Array, "batch=1 1 _ 1"]
_Logarithms = Float[Array, "1 _ _ 1"]


# Programs, since JAX compiles the loops in them anew at every call outside of one.
@unconstrain.register(AbstractParsimonious)
@program()
def _coordinates(covariances, reference):
    # Zero at the reference, but for rounding where XLA has fused the two.
    return _relative(covariances, reference) - _relative(reference, reference)


def _relative(
    covariances: AbstractParsimonious, reference: AbstractParsimonious
) -> _Coordinates:
    volume_0, shape_0, axes = _parts(reference, reference.values)
    values = covariances.values
    if axes is not None:
        values = in_axes(values, axes)
    volume, shape, turned = _parts(covariances, values)
    d = shape.shape[Axis.features]
    logarithms = 0.5 * jnp.log(shape / shape_0)
    coordinates = [
        0.5 * math.sqrt(d) * jnp.log(volume / volume_0),
        linalg.matmul(linalg.transpose(_contrasts(d, shape.dtype)), logarithms),
    ]
    if axes is not None and turned is not None:
        angles = _angles(turned) * _stiffness(shape_0, axes)
        coordinates.append(_above_diagonal(angles))
    shared = [
        jnp.mean(part, Axis.components, keepdims=True) if letter == "E" else part
        for part, letter in zip(coordinates, covariances.type, strict=False)
    ]
    return jnp.concatenate([part.reshape(1, 1, -1, 1) for part in shared], axis=-2)


@constrain.register(AbstractParsimonious)
@program()
def _turned(reference, coordinates):
    volume, shape, axes = _parts(reference, reference.values)
    n_components, d = reference.n_components, shape.shape[Axis.features]
    sizes = [1, d - 1, d * (d - 1) // 2]
    lengths = {"E": 1, "V": n_components, "I": 0}
    numbers = [lengths[letter] for letter in reference.type]
    ends = np.cumsum([n * size for n, size in zip(numbers, sizes, strict=True)])
    along, across, angles = (
        part.reshape(1, n, size, 1)
        for part, n, size in zip(
            jnp.split(coordinates, ends[:2], axis=-2), numbers, sizes, strict=True
        )
    )
    volume = volume * jnp.exp(2 / math.sqrt(d) * along)
    shape_0 = shape
    shape = shape * jnp.exp(2 * linalg.matmul(_contrasts(d, shape.dtype), across))
    if axes is None:
        return type(reference)(values=volume * shape)
    if d > 1:
        antisymmetric = _antisymmetric(angles, d) / _stiffness(shape_0, axes)
        axes = linalg.matmul(axes, rotation(antisymmetric))
    return type(reference)(values=from_axes(volume * shape, axes))


def _parts(
    covariances: AbstractParsimonious, values: Values
) -> tuple[_Logarithms, _Logarithms, Axes | None]:
    """Volumes, shapes and, unless features are independent, axes of values that may
    have been turned since: shared ones once."""
    if isinstance(covariances, AbstractParsimoniousDiagonals):
        return *normalised(values), None
    volume = None
    if isinstance(covariances, VEECovariances):
        volume, forms = normalised(values)
        values = jnp.mean(forms, axis=Axis.components, keepdims=True)
    if isinstance(covariances, AbstractCommonAxes):
        axes = common_axes(values, jnp.ones_like(values[..., :1, :1]))
    else:
        axes = eigh(values)[1]
    own_volume, shape = normalised(diagonal_in(values, axes))
    return own_volume if volume is None else volume, shape, axes


def _contrasts(d: int, dtype: jnp.dtype) -> Float[Array, "1 1 d _"]:
    """Orthonormal columns that are orthogonal to ones: Helmert's."""
    i, j = np.arange(d)[:, None], np.arange(1, d)[None]
    columns = np.where(i < j, 1.0, np.where(i == j, -j, 0.0))
    columns = columns / np.sqrt(j * (j + 1.0))
    return jnp.asarray(columns, dtype)[None, None]


def _stiffness(shape: Values, axes: Axes) -> Float[Array, "1 _ d d"]:
    """The change of the coordinate of an angle with the angle."""
    ratio = shape / linalg.transpose(shape)
    # Of equal variances no angle matters; one keeps the coordinates finite.
    square = ratio + 1 / ratio - 1
    if axes.shape[Axis.components] == 1:
        square = jnp.mean(square, axis=Axis.components, keepdims=True)
    return jnp.sqrt(square / 2)


def _above_diagonal(values: Axes) -> _Logarithms:
    rows, columns = np.triu_indices(values.shape[-1], 1)
    return values[..., rows, columns][..., None]


def _antisymmetric(above: _Logarithms, d: int) -> Axes:
    rows, columns = np.triu_indices(d, 1)
    position = np.zeros((d, d), int)
    position[rows, columns] = np.arange(rows.size)
    upper = jnp.triu(above[..., 0][..., position], 1)
    return upper - linalg.transpose(upper)


def _angles(axes: Axes) -> Axes:
    """The antisymmetric matrix of a rotation, or of axes whose signs are free."""
    turned = axes * linalg.transpose(_signs(axes))
    back = linalg.transpose(turned)
    eye = jnp.eye(turned.shape[-1], dtype=turned.dtype)[None, None]
    u = inverse_cholesky(2 * eye + turned + back, True)
    return 2 * linalg.matmul(turned - back, linalg.matmul(u, linalg.transpose(u)))


def _signs(axes: Axes) -> Float[Array, "1 _ d 1"]:
    """Signs of the axes that make them a rotation by less than half a turn.

    ??? cite "Reference"

        O'Dorney (2014), Minimizing the Cayley Transform of an Orthogonal Matrix by
        Multiplying by Signature Matrices. Linear Algebra and its Applications 448,
        97-103.
    """

    def eliminate(i, carry):
        rest, signs = carry
        column, row = rest[..., :, i, None], rest[..., None, i, :]
        pivot = rest[..., i, i][..., None, None]
        sign = jnp.where(pivot < 0, -1, 1).astype(rest.dtype)
        rest = rest - column * row / (pivot + sign)
        return rest, signs.at[..., i, :].set(sign[..., 0, :])

    carry = (axes, jnp.ones_like(axes[..., :1]))
    return jax.lax.fori_loop(0, axes.shape[-1], eliminate, carry)[1]
