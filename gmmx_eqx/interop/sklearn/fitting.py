"""Fits from one start, or from many as one program."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..._core import buckets
from ..._core.aliases import Data, SampleWeight, Weighting
from ..._fit import fit, Solution
from ..._fit.driver import drive_lanes, map_groups
from ..._fit.random_starts import RandomStarts
from ..._fit.solution import moved, take_best
from ..._mixture import GaussianMixture
from .starts import Given, make_start


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
    given: Given,
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
        return _fit_lanes(settings, given, *filled, keys)
    start = _start(settings, given, *filled, keys[0])
    solution = fit_from(settings, start, x, weight)
    return solution, solution


@eqx.filter_jit
def _start(
    settings: RandomStarts, given: Given, x: Data, weight: Weighting, key: Any
) -> GaussianMixture:
    source = settings.source(x, weight)
    return make_start(settings, given, source, key, jnp.array(0))


@eqx.filter_jit
def _fit_lanes(
    settings: RandomStarts, given: Given, x: Data, weight: Weighting, keys: Any
) -> tuple[Solution, Solution]:
    source = settings.source(x, weight)

    def start(key, turn):
        begun = make_start(settings, given, source, key, turn)
        return moved(begun, -source.pivot)

    turns = jnp.arange(keys.shape[0])
    starts = map_groups(start, settings.width, keys, turns)
    step = settings.step(source)
    mixtures, states, _ = drive_lanes(
        lambda lane: step, settings.options.solver, starts, settings.width
    )
    finish = lambda mixture, state: Solution.from_state(
        mixture, state, source, state.record.result
    )
    solutions = jax.vmap(finish)(mixtures, states)
    return take_best(solutions), solutions
