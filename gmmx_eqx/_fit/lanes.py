"""Fits from many starts over blocks: every pass serves all fits that have not ended."""

import functools as ft
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from .._core.aliases import Count, Flag
from .._core.programs import program
from .._core.results import RESULTS
from .._core.trees import where
from .._em import (
    AbstractEMState,
    Attempt,
    Expectation,
    MStep,
)
from .._em.incomplete import with_slack, without_slack
from .._mixture import GaussianMixture
from .._sources import Blocks, total_of
from .checkpoint import Checkpoint
from .driver import begin, best_running, Race
from .options import Options
from .pace import Pace
from .passes import (
    AnyFacts,
    e_step_of,
    Loaded,
    loader_of,
    m_step_of,
    n_numbers,
    on_device,
    OnDevice,
    samples_at_once,
)
from .progress import Ticket
from .solution import ending, moved, or_singular, Solution


_Tree = TypeVar("_Tree", bound=PyTree)


class _Lane(eqx.Module):
    """One fit between two passes: `attempt` is the step of EM that waits for one."""

    mixture: GaussianMixture
    state: AbstractEMState
    attempt: Attempt


class _State(eqx.Module):
    """Where the fits of a family are: lanes with a leading axis, which of them wait for
    a pass, and whether the best have been chosen already."""

    lanes: _Lane
    running: Bool[Array, " lanes"]
    chosen: Flag


class _Rules(eqx.Module):
    """What the fits of a family have in common."""

    m_step: MStep
    options: Options
    # With the values of what is frozen, about the pivot.
    at: GaussianMixture | None
    race: Race | None

    def about(self, mixture: GaussianMixture) -> GaussianMixture:
        """What is iterated, from a mixture in the units of the data."""
        moved_there = moved(mixture, -self.m_step.facts.pivot)
        return with_slack(moved_there, self.m_step.slack)

    def pin(self, mixture: GaussianMixture) -> GaussianMixture:
        frozen = self.options.frozen
        if frozen is not None and self.at is not None:
            mixture = frozen.pin(mixture, self.at)
        return self.m_step.raised(mixture)

    def ask(self, mixture: GaussianMixture) -> Attempt:
        """A step from `mixture`, before its first pass."""
        pinned = self.pin(mixture)
        return self.m_step.look(pinned, self.m_step.begin(pinned))

    def first(self, start: GaussianMixture) -> _Lane:
        return _Lane(start, begin(self.options.solver, start), self.ask(start))

    def after(self, lane: _Lane, expectation: Expectation) -> _Lane:
        """After a pass: with the solver's next mixture, unless the step needs one more
        pass to be accurate."""
        m_step, asked, pinned = self.m_step, lane.attempt, self.pin(lane.mixture)
        new = m_step.maximise(pinned, asked.pivot, asked.is_near, expectation)
        attempt = m_step.look(pinned, asked.after(expectation, new))
        step = lambda _: (attempt.mixture, m_step.info(pinned, attempt))
        mixture, state = self.options.solver.step(step, lane.mixture, lane.state)
        next_lane = _Lane(mixture, state, self.ask(mixture))
        same_step = _Lane(lane.mixture, lane.state, attempt)
        return where(attempt.done, next_lane, same_step)

    def running(self, lane: _Lane, chosen: Flag) -> Flag:
        running = ~lane.state.record.stop
        if self.race is None:
            return running
        return running & (chosen | (lane.state.record.n_steps < self.race.short_steps))


class Lanes:
    """The fits of one covariance family, which share passes.

    **Arguments:**

    - `starts`: in the units of the data, with a leading axis of lanes.
    - `n_active`: how many components of each lane count.
    - `n_used`: how many of the lanes, the first ones, are fitted.
    - `at`: a mixture with the values of what is frozen, in the units of the data.
    """

    def __init__(
        self,
        starts: GaussianMixture,
        n_active: Int[Array, " lanes"],
        n_used: int,
        facts: AnyFacts,
        options: Options,
        at: GaussianMixture | None = None,
        race: Race | None = None,
    ):
        m_step = m_step_of(starts.covariances, facts, options)
        rules = _Rules(m_step, options, None, race)
        about = None if at is None else _about(rules, at)
        self._rules = _Rules(m_step, options, about, race)
        self._facts, self._at, self._n_active = facts, at, n_active
        self.starts = starts
        self._n_used = n_used
        self.state = _begin(self._rules, starts, jnp.asarray(n_used))

    @property
    def identity(self) -> PyTree:
        """What a checkpoint belongs to, beside starts and data."""
        return self._rules.options, self._rules.race, self._at, np.asarray(self._n_used)

    def is_running(self) -> bool:
        """Whether any fit waits for a pass; first the best are chosen, if they are to
        be and all have taken their first steps."""
        if np.any(self.state.running):
            return True
        if self._rules.race is None or bool(self.state.chosen):
            return False
        self.state = _choose(self._rules, self.state, jnp.asarray(self._n_used))
        return bool(np.any(self.state.running))

    def request(self) -> tuple[Any, ...]:
        """What a pass is to compute."""
        running = np.asarray(self.state.running)
        order = np.argsort(~running, kind="stable")
        number = jnp.asarray(np.count_nonzero(running))
        return self._rules, self.state.lanes, jnp.asarray(order), number

    def advance(self, total: PyTree) -> None:
        """All fits that waited for the pass, after it: `total` of type float64."""
        dtype = self._facts.pivot.dtype
        expectation = jax.tree.map(lambda leaf: jnp.asarray(leaf.astype(dtype)), total)
        self.state = _advance(self._rules, self.state, expectation)

    def progress(self) -> tuple[int, float]:
        """How many fits have ended, and the best objective."""
        n_done = self._n_used - int(np.count_nonzero(self.state.running))
        race = self._rules.race
        if race is not None and bool(self.state.chosen):
            n_done += int(race.keep)
        values = np.asarray(self.state.lanes.state.record.objective)
        values = np.where(np.isnan(values), -np.inf, values)[: self._n_used]
        return n_done, float(np.max(values))

    def solutions(self) -> Solution:
        """What every fit ended with."""
        used = jnp.asarray(self._n_used)
        return _solutions(self._rules, self.state, self._at, self._n_active, used)


def run_passes(
    data: Blocks,
    facts: AnyFacts,
    families: Sequence[Lanes],
    options: Options,
    checkpoint: Checkpoint | None,
    ticket: Ticket | None,
) -> int:
    """Passes until all fits have ended; how many there were."""
    n_passes = 0
    if checkpoint is not None:
        states = tuple(family.state for family in families)
        states, n_passes = checkpoint.load((states, np.asarray(0)))
        for family, state in zip(families, states, strict=True):
            family.state = state
    size = samples_at_once(data, options)
    load = loader_of(facts, size)
    n_passes = int(n_passes)
    pace = Pace.of(data, ticket)
    while running := [family for family in families if family.is_running()]:
        requests = [family.request() for family in running]
        totals = total_of(data, load, ft.partial(_expect_block, facts, requests), pace)
        for family, total in zip(running, totals, strict=True):
            family.advance(total)
        n_passes += 1
        if checkpoint is not None:
            states = tuple(family.state for family in families)
            checkpoint.save((states, np.asarray(n_passes)))
        if ticket is not None:
            counts, values = zip(*(f.progress() for f in families), strict=True)
            ticket.report(jnp.asarray(sum(counts)), jnp.asarray(max(values)))
    return n_passes


def _expect_block(
    facts: AnyFacts, requests: Sequence[tuple[Any, ...]], block: Loaded
) -> list[Expectation]:
    arrays = on_device(block)
    return [_expect(arrays, facts, *request) for request in requests]


def _size(
    block: OnDevice, facts: AnyFacts, rules: _Rules, lanes: _Lane, *rest: Any
) -> int:
    del facts, rules, rest
    return lanes.mixture.n_components * n_numbers(block)


@program(_size)
def _expect(
    block: OnDevice,
    facts: AnyFacts,
    rules: _Rules,
    lanes: _Lane,
    order: Int[Array, " lanes"],
    number: Count,
) -> Expectation:
    """Of the first `number` lanes of an order; zero of the others.

    One after the other: a lane then computes with what it needs itself, and those that
    have ended cost nothing.
    """

    def expect(lane: _Lane) -> Expectation:
        asked = lane.attempt
        e_step = e_step_of(facts, block, lane.mixture, rules.m_step.slack)
        return e_step.expect(
            rules.pin(lane.mixture),
            asked.whitening_before,
            asked.pivot,
            asked.is_near,
        )

    def add(slot: Count, total: Expectation) -> Expectation:
        lane = order[slot]
        found = expect(jax.tree.map(lambda leaf: leaf[lane], lanes))
        return jax.tree.map(lambda all, one: all.at[lane].set(one), total, found)

    one = eqx.filter_eval_shape(lambda: expect(jax.tree.map(lambda a: a[0], lanes)))
    n_lanes = order.size
    zero = jax.tree.map(lambda s: jnp.zeros((n_lanes, *s.shape), s.dtype), one)
    return jax.lax.fori_loop(0, number, add, zero)


@program()
def _about(rules: _Rules, at: GaussianMixture) -> GaussianMixture:
    return rules.about(at)


@program()
def _begin(rules: _Rules, starts: GaussianMixture, n_used: Count) -> _State:
    lanes = jax.vmap(lambda start: rules.first(rules.about(start)))(starts)
    chosen = jnp.array(False)
    running = jax.vmap(rules.running, in_axes=(0, None))(lanes, chosen)
    return _State(lanes, running & (jnp.arange(running.size) < n_used), chosen)


@program()
def _advance(rules: _Rules, state: _State, expectation: Expectation) -> _State:
    def one(lane, expectation, running):
        lane = where(running, rules.after(lane, expectation), lane)
        return lane, running & rules.running(lane, state.chosen)

    lanes, running = jax.vmap(one)(state.lanes, expectation, state.running)
    return _State(lanes, running, state.chosen)


@program()
def _choose(rules: _Rules, state: _State, n_used: Count) -> _State:
    assert rules.race is not None
    order, number = best_running(state.lanes.state, n_used, rules.race.keep)
    slots = jnp.arange(order.size)
    running = jnp.zeros_like(state.running).at[order].set(slots < number)
    return _State(state.lanes, running, jnp.array(True))


@program()
def _solutions(
    rules: _Rules,
    state: _State,
    at: GaussianMixture | None,
    n_active: Int[Array, " lanes"],
    n_used: Count,
) -> Solution:
    options = rules.options

    def one(lane, n_active, number):
        record = lane.state.record
        # In a race, those that could have gone on.
        dropped = ~record.stop & (number < n_used)
        result = RESULTS.where(dropped, RESULTS.dropped, record.result)
        final = eqx.tree_at(lambda s: s.record.result, lane.state, result)
        resolved = options.is_resolved(lane.mixture)
        result = ending(final, rules.m_step.facts, None, n_active, resolved)
        mixture, is_singular = without_slack(lane.mixture, rules.m_step.slack)
        result = or_singular(result, is_singular)
        solution = Solution.from_state(mixture, final, rules.m_step, result)
        return solution.pinned(options.frozen, at)

    return jax.vmap(one)(state.lanes, n_active, jnp.arange(n_active.size))
