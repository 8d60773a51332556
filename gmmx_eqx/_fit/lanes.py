"""Starts and fits of many lanes, as one program."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.aliases import Count, Data, Weighting
from .._core.describe import check_instance
from .._covariances import AbstractCovariances
from .._em import AbstractEM, EM, EMStep
from .._initialisers import AbstractInitialiser, in_turn, Mixed
from .._mixture import GaussianMixture
from .._mixture.estimate import estimate
from .._priors import AbstractRidge, as_ridge
from .._sources import chunk_size, InMemory
from .pool import map_groups, run_pool
from .solution import ending, moved, Solution
from .watch import Ticket


# Samples of one chunk for all lanes; a quarter faster with 64 lanes than four times as
# many, which no longer fit in a core's cache.
_CHUNK = 1024


class Settings(eqx.Module):
    """What all lanes have in common."""

    family: type[AbstractCovariances] = eqx.field(static=True)
    n_components: int = eqx.field(static=True)
    initialiser: AbstractInitialiser
    ridge: AbstractRidge
    solver: AbstractEM
    # How many lanes are computed side by side.
    width: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        family: type[AbstractCovariances],
        n_components: int,
        *,
        initialiser: AbstractInitialiser | None,
        reg_covar: Any,
        solver: AbstractEM | None,
        width: int,
    ) -> "Settings":
        """From what users hand in; what cannot be right is a `ValueError`."""
        if initialiser is None:
            initialiser = Mixed()
        if solver is None:
            solver = EM()
        check_instance(initialiser, AbstractInitialiser, "initialiser", "KMeans()")
        check_instance(solver, AbstractEM, "solver", "EM()")
        return cls(
            family=family,
            n_components=n_components,
            initialiser=initialiser,
            ridge=as_ridge(reg_covar),
            solver=solver,
            width=width,
        )

    def source(self, x: Data, weight: Weighting) -> InMemory:
        return InMemory.from_data(x, weight, chunk_size(x, largest=_CHUNK))

    def start(
        self, source: InMemory, key: Any, n_active: Count, turn: Count
    ) -> GaussianMixture:
        """A start about the source's pivot. Components beyond `n_active` are empty.
        `turn` counts the starts of one data set."""
        partition = in_turn(self.initialiser, turn).partition(
            source, self.n_components, key=key, n_active=n_active
        )
        parameters = estimate(
            self.family,
            source,
            partition,
            reg_covar=self.ridge.resolve(source.variances),
            n_pseudo=source.n_features + 1,
        )
        return moved(GaussianMixture(*parameters), -source.pivot)

    def step(self, source: InMemory) -> EMStep:
        template = self.family.create(1, source.n_features)
        return EMStep.create(template, source, self.ridge)


@eqx.filter_jit
def fit_lanes(
    settings: Settings,
    x: Data,
    weight: Weighting,
    keys: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
    ticket: Ticket | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    """One data set, one lane per key; also the number of steps that the pool took.
    `turns` counts the starts of one kind of mixture."""
    source = settings.source(x, weight)
    start = lambda *lane: settings.start(source, *lane)
    starts = map_groups(start, settings.width, keys, n_active, turns)
    step = settings.step(source)
    run = lambda mixture, args: step(mixture)
    mixtures, states, n_pool_steps = run_pool(
        run, settings.solver, starts, lambda lane: None, settings.width, ticket
    )

    def finish(mixture, state, n_active):
        result = ending(state, source, weight, n_active)
        return Solution.from_state(mixture, state, source, result)

    return jax.vmap(finish)(mixtures, states, n_active), n_pool_steps


@eqx.filter_jit
def fit_sets(
    settings: Settings,
    xs: Array,
    weights: Array | None,
    keys: Any,
    n_lanes: Count,
    ticket: Ticket | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    """Many data sets, `(sets, samples, features)`, and keys `(sets, restarts)`: a lane
    for each key, of which the first `n_lanes` are fitted."""
    sources = eqx.filter_vmap(settings.source)(xs, weights)
    n_restarts = keys.shape[1]
    steps = eqx.filter_vmap(settings.step)(sources)
    arrays, static = eqx.partition(steps, eqx.is_array)

    def step_of(lane):
        take = lambda leaf: leaf[lane // n_restarts]
        return eqx.combine(jax.tree.map(take, arrays), static)

    all_active = jnp.asarray(settings.n_components)
    lanes = jnp.arange(keys.size)

    def start(lane, key):
        source = step_of(lane).source
        return settings.start(source, key, all_active, lane % n_restarts)

    starts = map_groups(start, settings.width, lanes, keys.reshape(-1))
    run = lambda mixture, step: step(mixture)
    mixtures, states, n_pool_steps = run_pool(
        run, settings.solver, starts, step_of, settings.width, ticket, n_lanes
    )

    def finish(mixture, state, lane):
        weight = None if weights is None else weights[lane // n_restarts]
        source = step_of(lane).source
        result = ending(state, source, weight, settings.n_components)
        return Solution.from_state(mixture, state, source, result)

    solutions = jax.vmap(finish)(mixtures, states, lanes)
    unflat = lambda leaf: leaf.reshape(*keys.shape[:2], *leaf.shape[1:])
    return jax.tree.map(unflat, solutions), n_pool_steps
