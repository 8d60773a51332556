"""The parameters of a mixture as scikit-learn holds them: NumPy arrays without the axes
of size one."""

import contextlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from scipy import linalg

from ..._core.aliases import Values
from ..._core.axes import Axis
from ..._core.known import constant
from ..._core.programs import program
from ..._covariances import (
    AbstractCovariances,
    AbstractValues,
    class_of,
    Family,
    fields_of,
    has_matrices,
    squeezed_axes,
)
from ..._mixture import GaussianMixture


# The covariance types that scikit-learn has.
TYPES = ("full", "tied", "diag", "spherical")


def attributes(mixture: GaussianMixture) -> dict[str, np.ndarray]:
    """The attributes of a fitted estimator, by name.

    **Raises:**

    `ValueError` if one is not finite, as the precisions are not where a covariance is
    not positive definite.
    """
    covariances = mixture.covariances
    factor = factor_of(covariances)
    arrays = {
        "weights_": _own(mixture.weights_numpy),
        "means_": _own(mixture.means_numpy),
        "covariances_": _own(covariances.values_numpy),
        "precisions_cholesky_": factor,
        "precisions_": (
            factor @ np.swapaxes(factor, -1, -2)
            if has_matrices(type(covariances))
            else factor**2
        ),
    }
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise ValueError(
                f"The mixture has no finite `{name}`: its covariances must be positive "
                "definite, and all of its parameters finite."
            )
    return arrays


def factor_of(covariances: AbstractCovariances) -> np.ndarray:
    """`precisions_cholesky`, without a program for every shape where the family is one
    array."""
    family = type(covariances)
    if not isinstance(covariances, AbstractValues):
        return np.squeeze(_own(_compiled_factor(covariances)), squeezed_axes(family))
    values = covariances.values_numpy
    with np.errstate(all="ignore"):
        if not has_matrices(family):
            return 1 / np.sqrt(values)
        eye = np.eye(values.shape[-1], dtype=values.dtype)
        factors = np.full_like(values, np.nan)
        for index in np.ndindex(values.shape[:-2]):
            with contextlib.suppress(np.linalg.LinAlgError):
                lower = np.linalg.cholesky(values[index])
                factors[index] = linalg.solve_triangular(lower, eye, lower=True).T
    return factors


@program()
def _compiled_factor(covariances: AbstractCovariances) -> Values:
    return covariances.precisions_cholesky


def as_weights(weights: Any, dtype: Any) -> Array:
    axes = (Axis.batch, Axis.features, Axis.features_covar)
    return constant(np.expand_dims(np.asarray(weights, dtype), axes))


def as_means(means: Any, dtype: Any) -> Array:
    axes = (Axis.batch, Axis.features_covar)
    return constant(np.expand_dims(np.asarray(means, dtype), axes))


def fields(covariances: AbstractCovariances) -> dict[str, np.ndarray] | None:
    """The arrays of a family that is not one array; `None` for others."""
    names = list(fields_of(type(covariances)))
    if names == ["values"]:
        return None
    return {name: _own(getattr(covariances, name)) for name in names}


def as_mixture(
    family: Family,
    weights: Any,
    means: Any,
    covariances: Any,
    fields: dict[str, np.ndarray] | None,
    dtype: Any,
) -> GaussianMixture:
    """The opposite of `attributes` and `fields`. Does not look at the numbers."""
    cls: Any = class_of(family)
    # One transfer for all takes less time.
    weights, means, arrays = jax.device_put(
        as_parameters(cls, weights, means, covariances, fields, dtype)
    )
    return GaussianMixture(weights=weights, means=means, covariances=cls(**arrays))


def as_parameters(
    cls: Any,
    weights: Any,
    means: Any,
    covariances: Any,
    fields: dict[str, np.ndarray] | None,
    dtype: Any,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Weights, means and the family's fields, of four axes each. Copies, since JAX may
    use NumPy's memory, which a user may write to."""
    if fields is None:
        fields = {"values": np.expand_dims(covariances, squeezed_axes(cls))}
    axes = (Axis.batch, Axis.features, Axis.features_covar)
    weights = np.expand_dims(np.array(weights, dtype), axes)
    means = np.expand_dims(np.array(means, dtype), (Axis.batch, Axis.features_covar))
    arrays = {name: np.array(value, dtype) for name, value in fields.items()}
    return weights, means, arrays


def _own(array: Any) -> np.ndarray:
    """A copy that may be written to, as JAX's memory may not."""
    return np.array(array)
