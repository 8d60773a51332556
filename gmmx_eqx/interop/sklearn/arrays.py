"""The parameters of a mixture as scikit-learn holds them: NumPy arrays without the axes
of size one."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._core.aliases import Values
from ..._core.axes import Axis
from ..._covariances import AbstractCovariances, has_matrices, squeezed_axes
from ..._mixture import GaussianMixture


# The covariance types that scikit-learn has.
TYPES = ("full", "tied", "diag", "spherical")


@eqx.filter_jit
def factor_of(covariances: AbstractCovariances) -> Values:
    """Compiled: operation by operation it takes longer than a small fit."""
    return covariances.precisions_cholesky


def attributes(mixture: GaussianMixture) -> dict[str, np.ndarray]:
    """The attributes of a fitted estimator, by name.

    **Raises:**

    `ValueError` if one is not finite, as the precisions are not where a covariance is
    not positive definite.
    """
    covariances = mixture.covariances
    factor = np.squeeze(_own(factor_of(covariances)), squeezed_axes(type(covariances)))
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


def as_weights(weights: Any, dtype: Any) -> Array:
    axes = (Axis.batch, Axis.features, Axis.features_covar)
    return jnp.asarray(np.expand_dims(np.asarray(weights, dtype), axes))


def as_means(means: Any, dtype: Any) -> Array:
    axes = (Axis.batch, Axis.features_covar)
    return jnp.asarray(np.expand_dims(np.asarray(means, dtype), axes))


def as_covariances(
    family: type[AbstractCovariances], values: Any, dtype: Any
) -> AbstractCovariances:
    values = np.expand_dims(np.asarray(values, dtype), squeezed_axes(family))
    return family(values=jnp.asarray(values))  # pyright: ignore[reportCallIssue]  # the field is abstract here


def as_mixture(
    family: type[AbstractCovariances],
    weights: Any,
    means: Any,
    covariances: Any,
    dtype: Any,
) -> GaussianMixture:
    """The opposite of `attributes`. Does not look at the numbers."""
    return GaussianMixture(
        weights=as_weights(weights, dtype),
        means=as_means(means, dtype),
        covariances=as_covariances(family, covariances, dtype),
    )


def _own(array: Any) -> np.ndarray:
    """A copy that may be written to, as JAX's memory may not."""
    return np.array(array)
