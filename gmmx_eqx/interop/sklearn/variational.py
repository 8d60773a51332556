"""Variational fits from many starts, and what an estimator shows of the best."""

import time
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ..._core import buckets
from ..._core.aliases import Data
from ..._core.known import constant
from ..._core.results import is_any, RESULTS
from ..._covariances import is_tied
from ..._mixture import GaussianMixture
from ..._variational.weights import DirichletPosterior
from .arrays import attributes
from .ascent import Ascent, climb, Summit, WarmStart
from .starts import responsibilities
from .training import raise_failed
from .verbose import report


def best_summit(
    estimator: Any, ascent: Ascent, x: np.ndarray, data: Data, last: WarmStart | None
) -> Summit:
    """The best of the fits from all starts, one after the other.

    **Arguments:**

    - `x`, `data`: the same numbers, of NumPy and of JAX.
    - `last`: where to go on, or `None` to start afresh.

    **Raises:**

    `ValueError` if all fits fail.
    """
    rng, began = check_random_state(estimator.random_state), time.perf_counter()
    n_components = int(estimator.n_components)
    filled, weight = buckets.fill(data, None)
    previous = constant(-np.inf if last is None else estimator.lower_bound_, x.dtype)
    found = []
    for _ in range(1 if last else int(estimator.n_init)):
        start: Any = last
        if last is None:
            resp = responsibilities(estimator.init_params, x, n_components, rng)
            start = buckets.fill_rows(constant(resp), len(filled))
        summit = climb(ascent, filled, weight, start, previous)
        if not is_any(summit.result, RESULTS.nonfinite):
            found.append(summit)
    if not found:
        raise_failed(x.dtype)
    if estimator.verbose:
        report(
            np.stack([summit.bounds for summit in found]),
            np.stack([summit.n_steps for summit in found]),
            np.stack([_converged(summit) for summit in found]),
            int(estimator.verbose),
            int(estimator.verbose_interval),
            time.perf_counter() - began,
        )
    # The last one, as there, if no step was taken.
    best = max(range(len(found)), key=lambda index: float(found[index].bound))
    return found[best if estimator.max_iter > 0 else -1]


def parameters_of(summit: Summit) -> dict[str, Any]:
    """The attributes that say what a fit found, by name."""
    squeeze = lambda array: np.array(array)[0, :, 0, 0]
    posterior, degrees = summit.weights, squeeze(summit.degrees)
    concentration: Any
    if isinstance(posterior, DirichletPosterior):
        concentration = squeeze(posterior.concentration)
    else:
        concentration = squeeze(posterior.kept), squeeze(posterior.left)
    n_iter = int(summit.n_steps)
    # Cut in NumPy: JAX would compile a program for every length.
    bounds = np.asarray(summit.bounds, np.float64)[:n_iter].tolist()
    mixture = GaussianMixture(summit.shares, summit.means, summit.covariances)
    return attributes(mixture) | {
        "weight_concentration_": concentration,
        "mean_precision_": squeeze(summit.shrinkage),
        "degrees_of_freedom_": degrees[0] if is_tied(summit.covariances) else degrees,
        "converged_": bool(_converged(summit)),
        "n_iter_": n_iter,
        "lower_bounds_": bounds,
        "lower_bound_": bounds[-1] if n_iter else -np.inf,
        "evidence_bound_": float(summit.evidence),
    }


def _converged(summit: Summit) -> Any:
    return is_any(summit.result, RESULTS.successful)
