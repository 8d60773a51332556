"""Fits from one start, or from many as one program."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..._core import buckets
from ..._core.aliases import Data, SampleWeight, Weighting
from ..._fit import fit, Solution
from ..._fit.fit_many import fit_lanes
from ..._fit.random_starts import RandomStarts
from ..._fit.solution import take_best
from ..._mixture import GaussianMixture


def fit_from(
    settings: RandomStarts,
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
) -> Solution:
    """From one mixture."""
    return fit(
        mixture,
        x,
        sample_weight=weight,
        reg_covar=settings.options.ridge,
        solver=settings.options.solver,
        throw=False,
    )


def fit_starts(
    settings: RandomStarts,
    x: Data,
    weight: SampleWeight | None,
    key: Any,
    n_starts: int,
) -> tuple[Solution, Solution]:
    """The best of fits from random starts; and all of them, along a leading axis if
    there are more than one."""
    # Not `split`: more starts must begin with those of fewer.
    keys = jax.vmap(lambda index: jr.fold_in(key, index))(jnp.arange(n_starts))
    filled = buckets.fill(x, weight, n_lanes=n_starts)
    if n_starts > 1:
        return _fit_lanes(settings, *filled, keys)
    start = _start(settings, *filled, keys[0])
    solution = fit_from(settings, start, x, weight)
    return solution, solution


@eqx.filter_jit
def _start(
    settings: RandomStarts, x: Data, weight: Weighting, key: Any
) -> GaussianMixture:
    n_active = jnp.asarray(settings.n_components)
    source = settings.source(x, weight)
    return settings.start(source, key, n_active, jnp.array(0))


@eqx.filter_jit
def _fit_lanes(
    settings: RandomStarts, x: Data, weight: Weighting, keys: Any
) -> tuple[Solution, Solution]:
    n_active = jnp.full(len(keys), settings.n_components)
    turns = jnp.arange(len(keys))
    solutions, _ = fit_lanes(settings, x, weight, keys, n_active, turns)
    return take_best(solutions), solutions
