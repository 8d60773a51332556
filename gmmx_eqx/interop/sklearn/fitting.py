"""Fits from one start, or from many as one program."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..._core import buckets
from ..._core.aliases import Count, Data, SampleWeight, Weighting
from ..._core.known import constant, count
from ..._core.programs import program
from ..._fit import fit, Solution
from ..._fit.fit_many import fit_keys, fit_one, numbers_of_lanes
from ..._fit.random_starts import RandomStarts
from ..._fit.solution import take_best, with_components
from ..._mixture import GaussianMixture, padding


def fit_from(
    settings: RandomStarts,
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
) -> Solution:
    """From one mixture."""
    gathered = settings.gathered
    return fit(
        mixture,
        x if gathered is None else gathered.observed,
        sample_weight=weight if gathered is None else None,
        reg_covar=settings.options.ridge,
        solver=settings.options.solver,
        throw=False,
    )


def fit_starts(
    settings: RandomStarts,
    x: Data,
    weight: SampleWeight | None,
    seed: int,
    n_starts: int,
) -> tuple[Solution, Solution]:
    """The best of fits from random starts; and all of them, along a leading axis if
    there are more than one."""
    n_lanes = buckets.size(n_starts) if n_starts > 8 else n_starts
    x, weight = buckets.fill(x, weight, n_lanes=n_lanes)
    n_components = settings.n_components
    if settings.width > n_lanes:
        settings = dataclasses.replace(settings, width=n_lanes)
    if not jax.tree.leaves(settings.given):
        n_numbers = numbers_of_lanes(x.size, n_lanes)
        n_padded = padding.padded_size(n_components, n_numbers)
        settings = dataclasses.replace(settings, n_components=n_padded)
    counts = count(n_components), count(n_starts)
    known = constant(seed, np.int32)
    if n_starts == 1:
        solution = _fit_one(settings, x, weight, known, counts[0])
        solution = with_components(solution, n_components)
        return solution, solution
    best, every = _fit_lanes(settings, x, weight, known, *counts, n_lanes)
    every = jax.tree.map(lambda leaf: buckets.cut(leaf, n_starts), every)
    of = lambda solution: with_components(solution, n_components)
    return of(best), of(every)


@program(lambda settings, x, *_: settings.n_components * x.size)
def _fit_one(
    settings: RandomStarts,
    x: Data,
    weight: Weighting,
    seed: Count,
    n_active: Count,
) -> Solution:
    (key,) = _keys(seed, 1)
    return fit_one(settings, x, weight, key, n_active)


def _size_of_lanes(settings: RandomStarts, x: Data, *rest: Any) -> int:
    *_, n_lanes = rest
    return settings.n_components * numbers_of_lanes(x.size, n_lanes)


@program(_size_of_lanes)
def _fit_lanes(
    settings: RandomStarts,
    x: Data,
    weight: Weighting,
    seed: Count,
    n_active: Count,
    n_starts: Count,
    n_lanes: int,
) -> tuple[Solution, Solution]:
    keys = _keys(seed, n_lanes)
    turns = jnp.arange(n_lanes)
    active = jnp.full(n_lanes, n_active)
    lanes, _ = fit_keys(settings, x, weight, keys, active, turns, n_starts)
    return take_best(lanes, n_starts), lanes


def _keys(seed: Count, n_starts: int) -> Any:
    key = jr.key(seed)
    # Not `split`: more starts must begin with those of fewer.
    return jax.vmap(lambda index: jr.fold_in(key, index))(jnp.arange(n_starts))
