"""Fits from random starts, as one program."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.aliases import Count, Data, Weighting
from .._em import EMStep
from .._initialisers import AbstractInitialiser, in_turn
from .._mixture import GaussianMixture
from .._mixture.estimate import estimate
from .._sources import InMemory
from .driver import drive_lanes, map_groups
from .options import Options
from .progress import Ticket
from .solution import ending, moved, Solution


class RandomStarts(eqx.Module):
    """What many fits from random starts have in common.

    **Attributes:**

    - `family`: the covariance family.
    - `n_components`: the number of components of each mixture.
    - `initialiser`: how to start.
    - `options`: the checked options.
    - `width`: how many lanes are computed side by side.
    """

    family: Any = eqx.field(static=True)
    n_components: int = eqx.field(static=True)
    initialiser: AbstractInitialiser
    options: Options
    width: int = eqx.field(static=True)

    def source(self, x: Data, weight: Weighting) -> InMemory:
        return self.options.source(x, weight, of_lanes=True)

    def step(self, source: InMemory) -> EMStep:
        # The family alone says which kernel; a template is enough.
        template = self.family.create(1, source.n_features)
        return EMStep.create(template, source, self.options.ridge)

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
            reg_covar=self.options.ridge.resolve(source.variances),
            n_pseudo=source.n_features + 1,
        )
        return moved(GaussianMixture(*parameters), -source.pivot)


@eqx.filter_jit
def fit_lanes(
    fits: RandomStarts,
    x: Data,
    weight: Weighting,
    keys: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
    ticket: Ticket | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    """One data set, one lane per key; also the number of turns of the driver. `turns`
    counts the starts of one kind of mixture."""
    source = fits.source(x, weight)
    start = lambda *lane: fits.start(source, *lane)
    starts = map_groups(start, fits.width, keys, n_active, turns)
    step = fits.step(source)
    mixtures, states, n_turns = drive_lanes(
        lambda lane: step, fits.options.solver, starts, fits.width, ticket
    )

    def finish(mixture, state, n_active):
        resolved = fits.options.is_resolved(mixture)
        result = ending(state, source, weight, n_active, resolved)
        return Solution.from_state(mixture, state, source, result)

    return jax.vmap(finish)(mixtures, states, n_active), n_turns


@eqx.filter_jit
def fit_sets(
    fits: RandomStarts,
    xs: Array,
    weights: Array | None,
    keys: Any,
    n_lanes: Count,
    ticket: Ticket | None = None,
) -> tuple[Solution, Int[Array, ""]]:
    """Many data sets, `(sets, samples, features)`, and keys `(sets, restarts)`: a lane
    for each key, of which the first `n_lanes` are fitted."""
    sources = eqx.filter_vmap(fits.source)(xs, weights)
    n_restarts = keys.shape[1]
    steps = eqx.filter_vmap(fits.step)(sources)
    arrays, static = eqx.partition(steps, eqx.is_array)

    def step_of(lane):
        take = lambda leaf: leaf[lane // n_restarts]
        return eqx.combine(jax.tree.map(take, arrays), static)

    all_active = jnp.asarray(fits.n_components)
    every = jnp.arange(keys.size)

    def start(lane, key):
        source = step_of(lane).source
        return fits.start(source, key, all_active, lane % n_restarts)

    starts = map_groups(start, fits.width, every, keys.reshape(-1))
    mixtures, states, n_turns = drive_lanes(
        step_of, fits.options.solver, starts, fits.width, ticket, n_lanes
    )

    def finish(mixture, state, lane):
        weight = None if weights is None else weights[lane // n_restarts]
        source = step_of(lane).source
        resolved = fits.options.is_resolved(mixture)
        result = ending(state, source, weight, fits.n_components, resolved)
        return Solution.from_state(mixture, state, source, result)

    solutions = jax.vmap(finish)(mixtures, states, every)
    unflat = lambda leaf: leaf.reshape(*keys.shape[:2], *leaf.shape[1:])
    return jax.tree.map(unflat, solutions), n_turns
