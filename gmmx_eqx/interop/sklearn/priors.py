"""The priors of `BayesianGaussianMixture`, from its arguments and the data."""

from typing import Any

import numpy as np

from ..._core.known import constant
from ..._covariances import class_of, covariance_class
from ..._em.solver import as_max_steps, as_tol
from ..._priors import as_positive, as_ridge, Dirichlet, StickBreaking
from .arrays import TYPES
from .ascent import Ascent
from .checks import as_array


PROCESS = "dirichlet_process"
_KINDS = {PROCESS: StickBreaking, "dirichlet_distribution": Dirichlet}


def check_kinds(estimator: Any) -> None:
    """Raises a `ValueError` unless the words for covariances and weights are known."""
    options = {
        "covariance_type": TYPES,
        "weight_concentration_prior_type": tuple(_KINDS),
    }
    for name, known in options.items():
        value = getattr(estimator, name)
        if not isinstance(value, str) or value not in known:
            raise ValueError(
                f"`{name}` must be one of {', '.join(map(repr, known))}; got {value!r}."
            )


def priors_of(estimator: Any, x: np.ndarray) -> dict[str, Any]:
    """The attributes of a fitted estimator that say which priors it had, by name.

    **Raises:**

    `ValueError` for an argument that cannot be right.
    """
    n_features = x.shape[1]
    mean = as_array(estimator.mean_prior, "mean_prior", (n_features,))
    name = "degrees_of_freedom_prior"
    degrees = _positive(estimator, name, float(n_features))
    if degrees <= n_features - 1:
        raise ValueError(
            f"The parameter '{name}' should be greater than {n_features - 1}, but got "
            f"{degrees:.3f}."
        )
    concentration, precision = "weight_concentration_prior", "mean_precision_prior"
    equal = 1 / estimator.n_components
    return {
        f"{concentration}_": _positive(estimator, concentration, equal),
        f"{precision}_": _positive(estimator, precision, 1.0),
        "mean_prior_": x.mean(axis=0) if mean is None else mean,
        f"{name}_": degrees,
        "covariance_prior_": _covariance_prior(estimator, x),
    }


def _positive(estimator: Any, name: str, default: float) -> float:
    """A parameter that is greater than zero, as it was given."""
    value = getattr(estimator, name)
    if value is None:
        return default
    as_positive(value, name)
    return float(value)


def _covariance_prior(estimator: Any, x: np.ndarray) -> Any:
    kind, given = estimator.covariance_type, estimator.covariance_prior
    n_features = x.shape[1]
    if given is None:
        if kind in ("full", "tied"):
            return np.atleast_2d(np.cov(x.T))
        variances = np.var(x, axis=0, ddof=1)
        return variances if kind == "diag" else variances.mean()
    if kind == "spherical":
        return _positive(estimator, "covariance_prior", 1.0)
    name = f"{kind} covariance_prior"
    shape = (n_features,) if kind == "diag" else (n_features, n_features)
    prior = as_array(given, name, shape)
    assert prior is not None
    if kind == "diag":
        if np.any(prior <= 0):
            raise ValueError(
                f"The parameter '{name}' should be positive, but its smallest number "
                f"is {np.min(prior):.3g}. It is the variance of each feature."
            )
    elif not np.allclose(prior, prior.T) or np.min(np.linalg.eigvalsh(prior)) <= 0:
        raise ValueError(
            f"The parameter '{name}' should be symmetric and positive definite, such "
            "as `np.cov(X.T)`."
        )
    return prior


def ascent_of(estimator: Any, priors: dict[str, Any], dtype: Any) -> Ascent:
    """The settings of a fit with these priors, where `dtype` stays what it is."""
    kind, n_components = estimator.covariance_type, int(estimator.n_components)
    mean = priors["mean_prior_"]
    n_features = len(mean)
    scale = np.asarray(priors["covariance_prior_"], np.float64)
    if scale.ndim < 2:
        scale = np.diag(np.broadcast_to(scale, n_features))
    # One precision for all components, or one number for all features, is counted once
    # by scikit-learn, and as often as it is used in the form that is the family's own.
    multiple = {"tied": n_components, "spherical": n_features}.get(kind, 1)
    make = _KINDS[estimator.weight_concentration_prior_type]
    max_steps, history_size = as_max_steps(estimator.max_iter)
    number = lambda name: constant(priors[name], dtype)
    return Ascent(
        family=class_of(covariance_class(kind)),
        mean=constant(mean, dtype),
        shrinkage=number("mean_precision_prior_"),
        degrees=constant(multiple * priors["degrees_of_freedom_prior_"], dtype),
        root=constant(np.sqrt(multiple) * _root(scale), dtype),
        multiple=float(multiple),
        weights=make(priors["weight_concentration_prior_"]),
        reg_covar=as_ridge(estimator.reg_covar),
        tol=as_tol(estimator.tol),
        max_steps=max_steps,
        history_size=history_size,
    )


def _root(scale: np.ndarray) -> np.ndarray:
    """Lower triangular, of a matrix that may be singular, as the covariance of data
    with a constant feature is."""
    try:
        return np.linalg.cholesky(scale)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(scale)
        root = vectors * np.sqrt(np.maximum(values, 0))
        _, upper = np.linalg.qr(root.T)
        return (upper * np.where(np.diagonal(upper) < 0, -1, 1)[:, None]).T


def is_singular(scale: Any) -> bool:
    """Whether a scale matrix, or the variances of one, is singular within rounding."""
    scale = np.asarray(scale, np.float64)
    deviations = np.sqrt(np.diagonal(scale)) if scale.ndim == 2 else np.sqrt(scale)
    if not np.all(deviations > 0):
        return True
    if scale.ndim < 2:
        return False
    correlations = scale / np.outer(deviations, deviations)
    return bool(np.linalg.eigvalsh(correlations)[0] <= np.finfo(np.float64).eps)
