"""What users hand in, turned into maps and four axes; what cannot be right is refused
here."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, PyTree

from .._core import inputs
from .._core.axes import Axis
from .._covariances import (
    AbstractCovariances,
    TiedCovariances,
    TiedDiagCovariances,
    TiedSphericalCovariances,
)
from .._mixture import AbstractGaussianMixture, check_mixture
from .features import Features
from .maps import AbstractMap, DenseMap, DiagonalMap, MatrixFreeMap, Observations


_Mixture = TypeVar("_Mixture", bound=AbstractGaussianMixture)


_SELECT = "To select features use `gmmx_eqx.Features`."


def as_array(value: Any, name: str, mixture: AbstractGaussianMixture) -> Array:
    """A finite array, for a Python number of the mixture's type."""
    array = inputs.as_float(value, name, like=mixture)
    inputs.check_finite(array, name)
    return array


def as_map(value: Any, name: str, mixture: AbstractGaussianMixture) -> AbstractMap:
    n_features = mixture.n_features
    if isinstance(value, Features):
        return value.resolve(n_features)
    if isinstance(value, lx.AbstractLinearOperator):
        return _from_lineax(value, name, n_features)
    array = as_array(value, name, mixture)
    if array.ndim == 1 and n_features > 1:
        _check_diagonal(array, name)
    if array.ndim == 0 or array.shape == (n_features,):
        return DiagonalMap(array.reshape(1, 1, -1, 1))
    if array.ndim == 2 and array.shape[1] == n_features and array.shape[0] > 0:
        return DenseMap(array[None, None])
    transposed = array.ndim == 2 and array.shape[0] == n_features
    raise ValueError(
        f"`{name}` must have shape (outputs, {n_features}), ({n_features},) for a "
        f"diagonal matrix, or () for a multiple of the identity; got {array.shape}. "
        + (f"Transposed? Use `{name}.T`." if transposed else _SELECT)
    )


def _check_diagonal(diagonal: Array, name: str) -> None:
    """Raises a `ValueError` for a vector that was hardly meant as a diagonal."""
    numbers = inputs.concrete(diagonal)
    if numbers is None or set(numbers.tolist()) != {0.0, 1.0}:
        return
    row = numbers.astype(int).tolist()
    chosen = np.flatnonzero(numbers).tolist()
    raise ValueError(
        f"`{name}` of one axis would be the diagonal of a matrix, and is made of zeros "
        "and ones: for one output, the sum of these features, use "
        f"`[{row}]`; to select them, `gmmx_eqx.Features({chosen})`; for the diagonal "
        f"matrix, `np.diag({row})`."
    )


def _from_lineax(
    operator: lx.AbstractLinearOperator, name: str, n_features: int
) -> AbstractMap:
    structures = [operator.in_structure(), operator.out_structure()]
    sides = [jax.tree.leaves(structure) for structure in structures]
    if not all(
        len(side) == 1
        and side[0].ndim == 1
        and jnp.issubdtype(side[0].dtype, jnp.floating)
        for side in sides
    ):
        raise ValueError(
            f"`{name}` must map vectors of real numbers to such vectors; it maps "
            f"{structures[0]} to {structures[1]}."
        )
    if operator.in_size() != n_features:
        raise ValueError(
            f"`{name}` takes vectors of size {operator.in_size()}, but the mixture has "
            f"{n_features} features."
        )
    if operator.out_size() == n_features and lx.is_diagonal(operator):
        return DiagonalMap(lx.diagonal(operator)[None, None, :, None])
    return MatrixFreeMap(operator)


def as_noise(
    value: Any, name: str, mixture: AbstractGaussianMixture, n_outputs: int
) -> AbstractCovariances:
    """A covariance, by as much structure as it has."""
    array = as_array(value, name, mixture)
    if array.shape not in ((), (n_outputs,), (n_outputs, n_outputs)):
        raise ValueError(
            f"`{name}` must be a covariance of shape ({n_outputs}, {n_outputs}), one "
            f"variance per output, shape ({n_outputs},), or one for all, shape (); got "
            f"{array.shape}."
        )
    numbers = inputs.concrete(array)
    if numbers is not None:
        _check_covariance(numbers, name)
    if array.ndim == 2 and n_outputs > 1:
        return TiedCovariances(array[None, None])
    family = TiedDiagCovariances if array.ndim else TiedSphericalCovariances
    return family(array.reshape(1, 1, -1, 1))


def _check_covariance(numbers: np.ndarray, name: str) -> None:
    if numbers.ndim < 2:
        lowest, tolerance = np.min(numbers), 0.0
        what = "variance"
    else:
        tolerance = 100 * float(np.finfo(numbers.dtype).eps) * np.abs(numbers).max()
        asymmetry = np.abs(numbers - numbers.T)
        if np.any(asymmetry > tolerance):
            i, j = np.unravel_index(np.argmax(asymmetry), numbers.shape)
            raise ValueError(
                f"`{name}` must be symmetric: the elements ({i}, {j}) and ({j}, {i}) "
                f"are {numbers[i, j]:.6g} and {numbers[j, i]:.6g}."
            )
        lowest = np.min(np.linalg.eigvalsh(numbers))
        what = "eigenvalue"
    if lowest < -tolerance:
        raise ValueError(
            f"`{name}` must be a covariance: variances at least zero, a matrix "
            f"positive semidefinite; got the {what} {lowest:.6g}."
        )


def as_vector(
    value: Any, name: str, mixture: AbstractGaussianMixture, size: int
) -> Observations:
    array = as_array(value, name, mixture)
    array = array[None] if array.ndim == 0 and size == 1 else array
    if array.shape != (size,):
        many = array.ndim == 2 and array.shape[1] == size
        raise ValueError(
            f"`{name}` must have shape ({size},); got {array.shape}."
            + (" For many use `jax.vmap`." if many else "")
        )
    return jnp.expand_dims(array, (Axis.batch, Axis.components, Axis.features_covar))


def check_pair(
    first: _Mixture, second: _Mixture, names: tuple[str, str] = ("first", "second")
) -> tuple[_Mixture, _Mixture]:
    """Both in the wider of their two types, or a `ValueError`."""
    check_mixture(first, names[0])
    check_mixture(second, names[1])
    if first.n_features != second.n_features:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` must have the same number of features; got "
            f"{first.n_features} and {second.n_features}."
        )
    return inputs.common_dtype(first, second)


def common_dtype(
    mixture: _Mixture, operator: AbstractMap, *arrays: PyTree
) -> tuple[_Mixture, AbstractMap, *tuple[Any, ...]]:
    """All in the widest of their types: nothing is narrowed unasked."""
    # A map casts itself: not all of its arrays can be of another type.
    also = () if operator.dtype is None else (jnp.zeros((), operator.dtype),)
    mixture, *rest = inputs.common_dtype(mixture, *arrays, also=also)
    return mixture, operator.astype(mixture.means.dtype), *rest
