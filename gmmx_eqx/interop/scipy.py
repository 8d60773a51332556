from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.linalg
import scipy.stats

from .._core import inputs
from .._core.axes import Axis
from .._core.describe import describe
from .._covariances import (
    AbstractCovariances,
    FamilyLike,
    has_matrices,
    is_tied,
    squeezed_axes,
    values_class,
)
from .._mixture import GaussianMixture


def to_scipy(mixture: GaussianMixture) -> tuple[np.ndarray, list[Any]]:
    """The weights of `mixture`, and its components as frozen
    `scipy.stats.multivariate_normal`.

    Their `mean` and `cov` are the mixture's own numbers, in float64. Densities do
    without SciPy's decomposition into eigenvalues, which refuses matrices of features
    in very different units.

    **Raises:**

    `ValueError` if a number is not finite, or a covariance not positive definite.
    """
    mixture.check_one()
    inputs.check_finite(mixture.weights, "weights")
    inputs.check_finite(mixture.means, "means")
    family = type(mixture.covariances)
    dense = np.asarray(mixture.covariances.dense(mixture.n_features), np.float64)[0]
    # Where components share a matrix, one object serves them all.
    matrices = [_covariance(family, matrix) for matrix in dense]
    components = [
        scipy.stats.multivariate_normal(mean, matrices[min(k, len(matrices) - 1)])
        for k, mean in enumerate(np.asarray(mixture.means_numpy, np.float64))
    ]
    # In their own type: float32 numbers that sum to one do not in float64.
    return np.array(mixture.weights_numpy), components


def from_scipy(
    weights: Any, components: Sequence[Any], covariance_type: FamilyLike = "full"
) -> GaussianMixture:
    """The mixture of frozen `scipy.stats.multivariate_normal`, each with its weight.

    The numbers are the distributions' own, in float64; where JAX's x64 mode is off,
    which it is by default, the nearest float32.

    **Arguments:**

    - `weights`: shape `(components,)`; non-negative, and their sum is one.
    - `components`: frozen distributions of as many features each.
    - `covariance_type`: the family to hold them in. Nothing is rounded to fit it.

    **Raises:**

    `ValueError` if a component is something else, if the matrices are not of the form
    that the family has, or not positive definite.
    """
    family = values_class(covariance_type)
    frozen = type(scipy.stats.multivariate_normal())
    if not isinstance(components, Iterable):
        raise ValueError(
            "`components` must be a sequence of frozen "
            f"`scipy.stats.multivariate_normal`; got {describe(components)}."
        )
    for index, component in enumerate(components):
        if not isinstance(component, frozen):
            raise ValueError(
                f"`components[{index}]` must be a frozen "
                "`scipy.stats.multivariate_normal`; got a "
                f"`{type(component).__module__}.{type(component).__qualname__}`."
            )
        if component.dim != components[0].dim:
            raise ValueError(
                f"`components[{index}]` has {component.dim} features, but "
                f"`components[0]` has {components[0].dim}."
            )
    if not len(components):
        raise ValueError("`components` is empty.")
    dense = np.stack([np.asarray(component.cov) for component in components])
    values = _values(family, dense)
    if not np.array_equal(_dense(family, values, *dense.shape[:2]), dense):
        raise ValueError(
            f"The covariances are not of the form of type {covariance_type!r}. Use "
            '`covariance_type="full"`, or change them first.'
        )
    return GaussianMixture.from_squeezed(
        means=np.stack([np.asarray(component.mean) for component in components]),
        covariances=np.squeeze(values, squeezed_axes(family)),
        weights=weights,
        covariance_type=covariance_type,
    )


def _dense(
    family: type[AbstractCovariances], values: np.ndarray, k: int, d: int
) -> np.ndarray:
    """One matrix per component, shape `(k, d, d)`, from values with four axes."""
    if not has_matrices(family):
        values = values * np.eye(d)
    return np.broadcast_to(values, (1, k, d, d))[0]


def _values(family: type[AbstractCovariances], dense: np.ndarray) -> np.ndarray:
    """As much of the matrices as the family keeps, with four axes."""
    values = dense[None]
    if not has_matrices(family):
        values = np.diagonal(values, axis1=-2, axis2=-1)[..., None]
    if is_tied(family):
        values = values[:, :1]
    if Axis.features in squeezed_axes(family):
        values = values[:, :, :1]
    return values


def _covariance(family: type[AbstractCovariances], matrix: np.ndarray) -> Any:
    # NaN would pass the Cholesky factorisation.
    problem = ValueError("The mixture's `covariances` must be positive definite.")
    if not (np.all(np.isfinite(matrix)) and np.all(np.diagonal(matrix) > 0)):
        raise problem
    if not has_matrices(family):
        return scipy.stats.Covariance.from_diagonal(np.diagonal(matrix))
    try:
        lower = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise problem from None
    inverse = scipy.linalg.solve_triangular(lower, np.eye(len(matrix)), lower=True)
    # From a factor alone, `cov` would be a product, and differ in its last digits.
    return scipy.stats.Covariance.from_precision(inverse.T @ inverse, matrix)
