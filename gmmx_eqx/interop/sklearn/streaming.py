"""Batches that an estimator learns from, one after the other."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..._core.results import RESULTS
from ..._covariances import covariance_class
from ..._em import Stepwise, StepwiseState
from ..._mixture import GaussianMixture
from .checks import as_initialiser, check_starts
from .training import as_batch


def learn(
    estimator: Any,
    x: np.ndarray,
    sample_weight: Any,
    state: StepwiseState | None,
    fitted: GaussianMixture | None,
) -> StepwiseState:
    """The state after a batch, to be called where `x` keeps its precision.

    **Arguments:**

    - `state`: that after the last batch, or `None`.
    - `fitted`: without a state, what to go on from, or `None` to start from the batch.
    """
    solver = Stepwise()
    if state is None:
        mixture = _start(estimator, x, sample_weight) if fitted is None else fitted
        state = solver.init(mixture)
    n_before = int(state.n_updates)
    state = solver.update(state, x, sample_weight, reg_covar=estimator.reg_covar)
    if int(state.n_updates) == n_before and state.result != RESULTS.successful:
        warnings.warn(
            "The batch was left out: a component would have collapsed. Use larger "
            "batches, fewer components, or a larger `reg_covar`.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return state


def as_leaves(state: StepwiseState) -> list[np.ndarray]:
    """The numbers of a state, which can be pickled whether x64 mode is on or off."""
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


def as_state(leaves: list[np.ndarray], mixture: GaussianMixture) -> StepwiseState:
    """The opposite of `as_leaves`.

    **Arguments:**

    - `mixture`: one of the same family and shapes.
    """
    structure = jax.tree.structure(Stepwise().init(mixture))
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])


def _start(estimator: Any, x: np.ndarray, sample_weight: Any) -> GaussianMixture:
    data, weight = as_batch(x, sample_weight, estimator.n_components)
    family = covariance_class(estimator.covariance_type)
    given = check_starts(estimator, family, data.shape[1], data.dtype).complete()
    if given is not None:
        return given
    seed = check_random_state(estimator.random_state).randint(2**31 - 1)
    return GaussianMixture.from_initialiser(
        as_initialiser(estimator.init_params),
        data,
        int(estimator.n_components),
        key=jr.key(seed),
        covariance_type=estimator.covariance_type,
        sample_weight=weight,
        reg_covar=estimator.reg_covar,
    )
