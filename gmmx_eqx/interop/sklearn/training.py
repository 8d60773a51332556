"""From the estimator's parameters and data to a solution."""

import functools as ft
import time
from typing import Any

import jax
import numpy as np
from sklearn.utils import check_random_state

from ..._core import inputs
from ..._core.aliases import Data, SampleWeight
from ..._core.known import default_device, is_inside_program
from ..._covariances import covariance_class, Family
from ..._fit import Solution
from ..._fit.fit_observed import Gathered
from ..._fit.options import Options
from ..._fit.random_starts import GivenParts, RandomStarts
from ..._mixture import GaussianMixture
from ..._mixture.latent import as_complete
from .checks import as_initialiser, check_starts
from .fitting import fit_from, fit_starts
from .observed import as_observed, in_words, is_complete
from .solver import CountedEM
from .verbose import report


# How many starts are fitted side by side.
_WIDTH = 64


def train(
    estimator: Any,
    x: np.ndarray,
    sample_weight: Any,
    last: tuple[GaussianMixture, float] | None,
    noise: Any,
) -> Solution:
    """The best solution, to be called where `x` keeps its precision.

    **Arguments:**

    - `last`: the mixture to go on from and its lower bound, or `None` to start afresh.
    - `noise`: see [`gmmx_eqx.Observed`][], or `None`.

    **Raises:**

    `ValueError` if a parameter cannot be right, or if all fits fail.
    """
    gathered, data, weight = _gathered(x, sample_weight, noise, estimator.n_components)
    start, previous = (None, -np.inf) if last is None else last
    family = covariance_class(estimator.covariance_type)
    given = check_starts(estimator, family, data.shape[1], data.dtype)
    start = given.complete() if start is None else start
    settings = _settings(estimator, family, previous, data.shape[1], given, gathered)
    began = time.perf_counter()
    if start is None:
        # One number a fit, so that a generator makes other starts in the next one.
        seed = check_random_state(estimator.random_state).randint(2**31 - 1)
        n_starts = int(estimator.n_init)
        solution, every = fit_starts(settings, data, weight, seed, n_starts)
    else:
        solution = every = fit_from(settings, start, data, weight)
    _check_success(solution)
    if estimator.verbose:
        seconds = time.perf_counter() - began
        total = np.atleast_1d(every.log_likelihood / every.mean_log_likelihood)
        report(
            np.atleast_2d(every.log_likelihoods) / total[:, None],
            np.atleast_1d(every.n_steps),
            np.atleast_1d(every.converged),
            estimator.verbose,
            estimator.verbose_interval,
            seconds,
        )
    return solution


def _settings(
    estimator: Any,
    family: Family,
    previous: float,
    n_features: int,
    given: GivenParts,
    gathered: Gathered | None,
) -> RandomStarts:
    plain = (
        *(int(estimator.n_components), min(_WIDTH, int(estimator.n_init))),
        *(estimator.init_params, estimator.tol, estimator.max_iter, previous),
        *(estimator.reg_covar, n_features),
    )
    if gathered is not None or jax.tree.leaves(given):
        return _made(family, *plain, given=given, gathered=gathered)
    is_simple = all(isinstance(value, int | float | str) for value in plain)
    # A warm start has another lower bound every time. Inside a program, arrays are
    # traced, and belong to it.
    if not is_simple or previous != -np.inf or is_inside_program():
        return _made(family, *plain)
    dtype = jax.dtypes.canonicalize_dtype(float)
    return _kept(family, *plain, dtype=dtype, device=default_device())


def _made(
    family: Family,
    n_components: int,
    width: int,
    init_params: Any,
    tol: Any,
    max_iter: Any,
    previous: float,
    reg_covar: Any,
    n_features: int,
    **more: Any,
) -> RandomStarts:
    solver = CountedEM(tol, max_iter, previous)
    return RandomStarts(
        family=family,
        n_components=n_components,
        initialiser=as_initialiser(init_params),
        options=Options.create(n_features, reg_covar=reg_covar, solver=solver),
        width=width,
        # As in scikit-learn, every component's covariance is that of its own samples,
        # unless it has too few of them for that not to be singular.
        pools_few_only=True,
        **more,
    )


# Many fits, such as those of a cross-validation, have the same settings. Making them
# takes longer than a few steps.
@ft.lru_cache(maxsize=64, typed=True)
def _kept(*plain: Any, dtype: Any, device: Any) -> RandomStarts:
    del dtype, device
    return _made(*plain)


def _gathered(
    x: np.ndarray, sample_weight: Any, noise: Any, n_components: int
) -> tuple[Gathered | None, Data, SampleWeight | None]:
    """What is fitted, if values are missing or there is noise; and the samples and
    weights that starts are made of."""
    if is_complete(x, noise):
        return None, *as_batch(x, sample_weight, n_components)
    _, weight = as_batch(np.nan_to_num(x), sample_weight, n_components)
    observed = as_observed(x, noise, weight)
    with in_words():
        gathered = Gathered.of(observed, x.shape[1], n_components)
    return gathered, *as_complete(observed, None)


def as_batch(
    x: np.ndarray, sample_weight: Any, n_components: int
) -> tuple[Data, SampleWeight | None]:
    """The data and weights, whose unit is of no account."""
    if len(x) < n_components:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {n_components},"
            f" n_samples = {len(x)}"
        )
    data, weight = inputs.as_data(x, sample_weight, name="X", fits=True)
    if weight is None:
        return data, None
    inputs.check_enough_samples(data, weight, n_components)
    weight, _ = inputs.balance(weight)
    assert weight is not None
    # The unit of weight is of no account, also where samples are counted in a start.
    # In NumPy: JAX would compile a program for every number of samples.
    known = np.asarray(weight)
    return data, jax.device_put(known / np.mean(known, where=known > 0))


def _check_success(solution: Solution) -> None:
    if solution.status == "singular":
        raise ValueError(
            "With this noise the most likely covariance is singular, and has no "
            "precisions. Increase `reg_covar`, or use `gmmx_eqx.fit`, which returns "
            "singular covariances."
        )
    if solution.status in ("component_collapsed", "nonfinite"):
        raise_failed(solution.mixture.means.dtype)


def raise_failed(dtype: Any) -> None:
    """Raises the `ValueError` of a fit of which nothing can be shown."""
    hint = (
        " In float32, nearly dependent features cannot be told from dependent ones: "
        "float64 data may have a fit."
        if dtype == np.float32
        else ""
    )
    raise ValueError(
        "Fitting the mixture model failed because some components have ill-defined "
        "empirical covariance (for instance caused by singleton or collapsed samples). "
        "Try to decrease the number of components, increase reg_covar, or scale the "
        "input data." + hint
    )
