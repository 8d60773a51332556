"""Fits from random starts, as one program."""

import dataclasses
import functools as ft
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int

from .._core import inputs
from .._core.aliases import Count, Data, Labels, Weighting
from .._core.programs import program
from .._em import AbstractEMState, EMStep
from .._initialisers import AbstractInitialiser
from .._mixture import GaussianMixture
from .._sources import AbstractFacts, InMemory
from .driver import drive, drive_lanes, map_groups, pinned, Race
from .fit_observed import Gathered
from .progress import Ticket
from .random_starts import RandomStarts
from .solution import ending, Solution, take_best


def numbers_of_lanes(n_numbers: int, n_lanes: int) -> int:
    """How many numbers a component has in the arrays of many lanes, for the choice of a
    program; a quarter of them, since many lanes take four times as long to compile as
    one.

    **Arguments:**

    - `n_numbers`: in the data of one lane.
    """
    return n_numbers * n_lanes // 4 if n_lanes > 1 else n_numbers


def _size_of_lanes(fits: RandomStarts, x: Data, *rest: Any) -> int:
    _, _, _, turns, *_ = rest
    return fits.n_components * numbers_of_lanes(x.size, turns.size)


def _size_of_sets(fits: RandomStarts, xs: Array, *rest: Any) -> int:
    _, _, n_restarts, *_ = rest
    n_sets = len(xs)
    n_numbers = numbers_of_lanes(xs.size // n_sets, n_sets * n_restarts)
    return fits.n_components * n_numbers


@program(_size_of_lanes)
def fit_lanes(
    fits: RandomStarts,
    x: Data,
    weight: Weighting,
    key: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
    n_lanes: Count,
    race: Race | None = None,
    ticket: Ticket | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    """Fits of one data set, of which the first `n_lanes` count; also the number of
    turns of the driver. `turns` counts the starts of one kind of mixture."""
    keys = jr.split(key, turns.size)
    return fit_keys(fits, x, weight, keys, n_active, turns, n_lanes, race, ticket)


@program(_size_of_lanes)
def starts_of_lanes(
    fits: RandomStarts,
    x: Data,
    weight: Weighting,
    key: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
) -> GaussianMixture:
    """The starts of `fit_lanes`, in the units of the data, with a leading axis."""
    fits, x = _common_dtype(fits, x)
    keys = jr.split(key, turns.size)
    initialiser = fits.initialiser.prepared(x, weight, keys[0])
    fits = dataclasses.replace(fits, initialiser=initialiser)
    source = fits.source(x, weight)
    assert isinstance(source, InMemory)
    start = ft.partial(fits.start, source)
    return map_groups(start, fits.width, keys, n_active, turns)


def fit_keys(
    fits: RandomStarts,
    x: Data,
    weight: Weighting,
    keys: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
    n_lanes: Count | None = None,
    race: Race | None = None,
    ticket: Ticket | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    """As `fit_lanes`, with one key for each, and inside of a program."""
    fits, x = _common_dtype(fits, x)
    data = _Data.create(fits, x, weight, keys[0])
    return _fit(fits, lambda lane: data, keys, n_active, turns, ticket, n_lanes, race)


class Share(eqx.Module):
    """One of the equal parts that data sets are divided into.

    **Attributes:**

    - `number`: which, from zero.
    - `total`: how many there are.
    """

    number: Count
    total: int = eqx.field(static=True)


@program(_size_of_sets)
def fit_sets(
    fits: RandomStarts,
    xs: Array,
    weights: Array | None,
    key: Any,
    n_restarts: int,
    n_active: Count,
    n_lanes: Count,
    ticket: Ticket | None = None,
    labels: Int[Array, "sets batch"] | None = None,
    share: Share | None = None,
) -> Solution:
    """The best fit to each of many data sets, `(sets, samples, features)`, from as many
    starts: a lane for each start, of which the first `n_lanes` are fitted."""
    fits, xs = _common_dtype(fits, xs)
    n_sets = len(xs)
    # A set's keys do not depend on how many sets there are.
    n_all = n_sets if share is None else n_sets * share.total
    keys = jr.split(key, (n_all, n_restarts))
    if share is not None:
        first = share.number * n_sets
        keys = jax.lax.dynamic_slice_in_dim(keys, first, n_sets)

    def create(own: Labels | None, gathered: Gathered | None, *one: Any) -> _Data:
        known = dataclasses.replace(fits, labels=own, gathered=gathered)
        return _Data.create(known, *one)

    args = labels, fits.gathered, xs, weights, keys[:, 0]
    data = eqx.filter_vmap(create)(*args)
    arrays, static = eqx.partition(data, eqx.is_array)

    def of_lane(lane):
        take = lambda leaf: leaf[lane // n_restarts]
        return eqx.combine(jax.tree.map(take, arrays), static)

    lanes = jnp.arange(n_sets * n_restarts)
    solutions, _ = _fit(
        fits,
        of_lane,
        keys.reshape(-1, *keys.shape[2:]),
        jnp.broadcast_to(n_active, lanes.shape),
        lanes % n_restarts,
        ticket,
        n_lanes,
    )
    unflat = lambda leaf: leaf.reshape(n_sets, n_restarts, *leaf.shape[1:])
    return jax.vmap(take_best)(jax.tree.map(unflat, solutions))


def fit_one(
    fits: RandomStarts, x: Data, weight: Weighting, key: Any, n_active: Count
) -> Solution:
    """One fit from a random start, inside of a program."""
    data = _Data.create(fits, x, weight, key)
    start = data.start(fits, key, n_active, jnp.array(0))
    end = drive(data.step, fits.options.solver, start, None)
    return data.solution(fits, *end, n_active)


class _Data(eqx.Module):
    """What the fit of a lane is to: one data set, the step of EM for it, and how to
    start."""

    step: EMStep
    weight: Weighting
    initialiser: AbstractInitialiser
    labels: Labels | None
    # Of the samples that starts are made from; that of the step if these are all.
    source_of_starts: InMemory | None

    @classmethod
    def create(
        cls, fits: RandomStarts, x: Data, weight: Weighting, key: Any
    ) -> "_Data":
        if fits.drawn is None:
            initialiser = fits.initialiser.prepared(x, weight, key)
            source = fits.source(x, weight)
            other = None
            if fits.gathered is not None:
                assert isinstance(source, InMemory)
                other = source
            return cls(fits.step(source), weight, initialiser, fits.labels, other)
        initialiser = fits.initialiser.prepared(*fits.drawn, key)
        step = fits.step(fits.source(x, weight))
        return cls(step, weight, initialiser, fits.labels, fits.source_of_draw())

    @property
    def source(self) -> AbstractFacts:
        return self.step.source

    def start(
        self, fits: RandomStarts, key: Any, n_active: Count, turn: Count
    ) -> GaussianMixture:
        """A random start, as the step iterates it."""
        own = {"initialiser": self.initialiser, "labels": self.labels}
        fits = dataclasses.replace(fits, **own)
        source = self.source_of_starts or self.source
        assert isinstance(source, InMemory)
        start = fits.start(source, key, n_active, turn)
        return fits.begin(self.step, start)

    def solution(
        self,
        fits: RandomStarts,
        mixture: GaussianMixture,
        state: AbstractEMState,
        n_active: Count,
    ) -> Solution:
        """What the fit of a lane ended with."""
        if fits.gathered is not None:
            end = (self.step, fits.options, mixture, state, n_active)
            return fits.gathered.solution(*end)
        resolved = fits.options.is_resolved(mixture)
        result = ending(state, self.source, self.weight, n_active, resolved)
        return Solution.from_state(mixture, state, self.step.m_step, result)


def _fit(
    fits: RandomStarts,
    of_lane: Callable[[Count], _Data],
    keys: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
    ticket: Ticket | None,
    n_used: Count | None = None,
    race: Race | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    lanes = jnp.arange(n_active.size)
    at = fits.frozen_at

    def start(lane, *args):
        return of_lane(lane).start(fits, *args)

    def step_of(lane):
        data = of_lane(lane)
        return pinned(data.step, None if at is None else fits.begin(data.step, at))

    def finish(mixture, state, lane, n_active):
        solution = of_lane(lane).solution(fits, mixture, state, n_active)
        return solution.pinned(fits.options.frozen, at)

    starts = map_groups(start, fits.width, lanes, keys, n_active, turns)
    mixtures, states, n_turns = drive_lanes(
        step_of, fits.options.solver, starts, fits.width, ticket, n_used, race
    )
    return jax.vmap(finish)(mixtures, states, lanes, n_active), n_turns


def _common_dtype(fits: RandomStarts, x: Array) -> tuple[RandomStarts, Array]:
    if fits.gathered is not None:
        gathered, x = inputs.common_dtype(fits.gathered, x)
        fits = dataclasses.replace(fits, gathered=gathered)
    if fits.frozen_at is None:
        return fits, x
    at, x = inputs.common_dtype(fits.frozen_at, x)
    return eqx.tree_at(lambda f: f.frozen_at, fits, fits.options.as_start(at)), x
