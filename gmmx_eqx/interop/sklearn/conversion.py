from typing import Any

import numpy as np
import sklearn.exceptions
import sklearn.utils.validation

from ..._mixture import GaussianMixture
from .arrays import attributes, TYPES
from .bayesian import BayesianGaussianMixture as BayesianEstimator
from .estimator import GaussianMixture as Estimator


_MATRICES = ("full", "tied")


def to_sklearn(mixture: GaussianMixture, **kwargs: Any) -> Any:
    """A fitted `sklearn.mixture.GaussianMixture` with the parameters of `mixture`, in
    the same floating-point type.

    A mixture does not know which data it was fitted to, nor how that ended. So the
    estimator is one that has taken no step: `n_iter_` is 0, `converged_` is `False` and
    `lower_bound_` is -inf. With `warm_start=True` its `fit` goes on from here.

    **Arguments:**

    - `kwargs`: for the estimator's constructor, except `n_components` and
        `covariance_type`, which `mixture` decides.

    **Raises:**

    `ValueError` if the covariance family is none of scikit-learn's four, if a parameter
    is not finite, or if a covariance is not positive definite.
    """
    covariances = mixture.covariances
    if covariances.type not in TYPES:
        raise ValueError(
            f"scikit-learn has no covariance type {str(covariances.type)!r}, only "
            f"{', '.join(map(repr, TYPES))}. Build a mixture of one of these first, "
            "from `mixture.covariances.dense(mixture.n_features)`."
        )
    decided = sorted({"n_components", "covariance_type"} & set(kwargs))
    if decided:
        raise ValueError(
            f"`{decided[0]}` follows from the mixture: do not pass it to `to_sklearn`."
        )
    parameters = attributes(mixture)
    # Imported here, because the import takes a fifth of a second.
    import sklearn.mixture

    estimator: Any = sklearn.mixture.GaussianMixture(
        mixture.n_components, covariance_type=str(covariances.type), **kwargs
    )
    for name, array in parameters.items():
        setattr(estimator, name, array)
    estimator.n_features_in_ = mixture.n_features
    estimator.converged_ = False
    estimator.n_iter_ = 0
    # Below the bound of any step, so that a warm start does not stop after its first.
    estimator.lower_bound_ = -np.inf
    estimator.lower_bounds_ = []
    return estimator


def from_sklearn(estimator: Any) -> GaussianMixture:
    """The mixture of a fitted `sklearn.mixture.GaussianMixture`, or the expected one of
    a `BayesianGaussianMixture`.

    The numbers are the estimator's own, in its floating-point type. Only where JAX's
    x64 mode is off, which it is by default, does float64 become float32: call
    `jax.config.update("jax_enable_x64", True)` first to keep every digit.

    **Arguments:**

    - `estimator`: fitted, of any `covariance_type`; this library's own estimators will
        do as well.

    **Raises:**

    `ValueError` if `estimator` is something else or not fitted, or if its covariances
    are not positive definite in the type they are held in.
    """
    if not isinstance(estimator, Estimator | BayesianEstimator | _theirs()):
        raise ValueError(
            "`estimator` must be a `GaussianMixture` or `BayesianGaussianMixture` of "
            "`sklearn.mixture` or `gmmx_eqx.sklearn`; got a "
            f"`{type(estimator).__module__}.{type(estimator).__qualname__}`."
        )
    try:
        sklearn.utils.validation.check_is_fitted(
            estimator, ["weights_", "means_", "covariances_"]
        )
    except sklearn.exceptions.NotFittedError:
        raise ValueError("`estimator` is not fitted: call its `fit` first.") from None
    covariances = np.asarray(estimator.covariances_)
    if estimator.covariance_type in _MATRICES:
        # Rounding makes scikit-learn's two triangles differ, by a lot for tied
        # covariances of data far from zero; its own densities read the lower one.
        lower = np.tril(covariances)
        covariances = lower + np.swapaxes(np.tril(covariances, -1), -1, -2)
    return GaussianMixture.from_squeezed(
        means=np.asarray(estimator.means_),
        covariances=covariances,
        weights=np.asarray(estimator.weights_),
        covariance_type=estimator.covariance_type,
    )


def _theirs() -> Any:
    from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

    return BayesianGaussianMixture | GaussianMixture
