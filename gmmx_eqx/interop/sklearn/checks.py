"""What the estimator's parameters may be."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..._core import inputs
from ..._core.dtypes import survey
from ..._core.processes import check_process
from ..._covariances import (
    AbstractCovariances,
    class_of,
    Family,
    has_matrices,
    values_class,
)
from ..._fit.random_starts import GivenParts
from ..._initialisers import (
    AbstractInitialiser,
    KMeans,
    KMeansPlusPlus,
    RandomPoints,
    RandomResponsibilities,
    Scaling,
)
from .arrays import as_means, as_weights


_INITIALISERS = {
    "kmeans": KMeans,
    "k-means++": KMeansPlusPlus,
    "random": RandomResponsibilities,
    "random_from_data": RandomPoints,
}


def as_initialiser(init_params: Any) -> AbstractInitialiser:
    if isinstance(init_params, AbstractInitialiser):
        return init_params
    if not isinstance(init_params, str) or init_params not in _INITIALISERS:
        raise ValueError(
            f"`init_params` must be one of {', '.join(map(repr, _INITIALISERS))}, or "
            f"an initialiser such as `gmmx_eqx.KMeans()`; got {init_params!r}."
        )
    # As there: features are what they are. `KMeans()` itself scales them.
    return _INITIALISERS[init_params](scaling=Scaling.none)


def check_parameters(estimator: Any) -> None:
    """Raises a `ValueError` if a plain parameter cannot be right."""
    for name in ("n_components", "n_init", "verbose_interval"):
        inputs.check_count(getattr(estimator, name), name)
    check_not_negative(estimator.max_iter, "max_iter")
    # As there, `verbose` may be a Boolean.
    if not isinstance(estimator.verbose, bool):
        check_not_negative(estimator.verbose, "verbose")
    if not isinstance(estimator.warm_start, bool | np.bool_):
        raise ValueError(
            f"`warm_start` must be `True` or `False`; got {estimator.warm_start!r}."
        )


def check_missing_values(missing_values: Any) -> None:
    """Raises a `ValueError` unless it says what to do with missing values."""
    if missing_values not in ("error", "fit"):
        raise ValueError(
            f"`missing_values` must be 'error' or 'fit'; got {missing_values!r}."
        )


def check_not_negative(value: Any, name: str) -> None:
    """Raises a `ValueError` unless a value is an integer of at least zero."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < 0:
        raise ValueError(
            f"`{name}` must be an integer of at least zero; got {value!r}."
        )


def check_unmasked(X: Any) -> None:
    """Raises a `ValueError` for what scikit-learn would take for data although it is
    masked, and a `RuntimeError` where nothing can be computed."""
    check_process()
    is_masked = isinstance(X, np.ma.MaskedArray)
    if is_masked or (isinstance(X, list | tuple) and survey(X).special):
        inputs.as_numbers(X, "X")


def check_starts(
    estimator: Any, family: Family, n_features: int, dtype: Any
) -> GivenParts:
    """What the user has given of the start, which must be right for the data."""
    parts = estimator.weights_init, estimator.means_init, estimator.precisions_init
    if all(part is None for part in parts):
        return GivenParts(weights=None, means=None, covariances=None)
    n_components = estimator.n_components
    weights = as_array(estimator.weights_init, "weights", (n_components,))
    means = as_array(estimator.means_init, "means", (n_components, n_features))
    name = f"{estimator.covariance_type} precision"
    shape = family.create(n_components, n_features).values_numpy.shape
    precisions = as_array(estimator.precisions_init, name, shape)
    if weights is not None:
        _check_weights(weights)
    return GivenParts(
        weights=None if weights is None else as_weights(weights, dtype),
        means=None if means is None else as_means(means, dtype),
        covariances=None
        if precisions is None
        else _inverse(family, precisions.astype(dtype), name),
    )


def as_array(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """A parameter of such a shape, or `None`.

    **Raises:**

    `ValueError` if it has another one, or a number that is not finite.
    """
    if value is None:
        return None
    array = np.asarray(inputs.as_float(value, name))
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got "
            f"{array.shape}"
        )
    inputs.check_finite(jnp.asarray(array), name)
    return array


def _check_weights(weights: np.ndarray) -> None:
    low, high, total = np.min(weights), np.max(weights), float(np.sum(weights))
    if low < 0 or high > 1:
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got min value "
            f"{low:.5f}, max value {high:.5f}"
        )
    if abs(total - 1) > (1e-6 if weights.dtype == np.float32 else 1e-8):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got sum(weights) = "
            f"{total:.5f}"
        )


def _inverse(family: Family, precisions: np.ndarray, name: str) -> AbstractCovariances:
    wanted = "positive"
    if has_matrices(class_of(family)):
        wanted = "symmetric, positive-definite"
        transposed = np.swapaxes(precisions, -1, -2)
        if np.allclose(precisions, transposed):
            # Within rounding; the families are stricter.
            precisions = (precisions + transposed) / 2
    try:
        return values_class(family).from_precisions(precisions)
    except ValueError:
        raise ValueError(f"'{name}' should be {wanted}") from None
