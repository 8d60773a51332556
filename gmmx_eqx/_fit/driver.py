"""The loop of every fit: one lane, or many of which each goes to its own end."""

import functools as ft
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._core.aliases import Count
from .._core.describe import describe
from .._core.results import is_any, RESULTS
from .._em import AbstractEM, AbstractEMState, EMStep, Step
from .._mixture import GaussianMixture
from .progress import Ticket


_Lanes = TypeVar("_Lanes", bound=PyTree)


def drive(
    step: Step, solver: AbstractEM, start: GaussianMixture, ticket: Ticket | None
) -> tuple[GaussianMixture, AbstractEMState]:
    """The mixture that a solver ends at, and its state.

    **Arguments:**

    - `step`: a step of EM.
    - `ticket`: to report every step by.
    """

    def turn(carry):
        mixture, state = carry
        # The state before has counted the steps that led to this likelihood.
        n_steps = state.record.n_steps
        mixture, state = solver.step(step, mixture, state)
        if ticket is not None:
            ticket.report(n_steps, state.record.objective)
        return mixture, state

    carry = start, begin(solver, start)
    return jax.lax.while_loop(lambda carry: ~carry[1].record.stop, turn, carry)


def pinned(step: EMStep, at: GaussianMixture | None) -> Step:
    """The step, of mixtures whose frozen parameters are put back first: solvers may
    move them.

    **Arguments:**

    - `at`: a mixture with the values of what is frozen, about the source's pivot.
    """
    frozen = step.frozen
    if frozen is None or at is None:
        return step
    is_whole = step.e_step.counted is None
    return lambda mixture: step(frozen.pin(mixture, at, is_whole=is_whole))


def begin(solver: AbstractEM, start: GaussianMixture) -> AbstractEMState:
    """The solver's first state.

    **Raises:**

    `ValueError` if it is no state that can be driven.
    """
    state = solver.init(start)
    if not isinstance(state, AbstractEMState):
        raise ValueError(
            "`solver` must begin with a state that is a "
            f"`gmmx_eqx.extend.AbstractEMState`; `init` of {describe(solver)} returned "
            f"{describe(state)}."
        )
    return state


class Race(eqx.Module):
    """How many lanes go on after their first steps.

    **Attributes:**

    - `keep`: how many of the best lanes go on.
    - `short_steps`: after how many steps the others are dropped.
    """

    keep: Count
    short_steps: Count


# Of all lanes: mixtures, states without their histories of objectives, and those.
_Results: TypeAlias = tuple[PyTree, PyTree, Float[Array, "lanes history"]]


class _Slots(eqx.Module):
    lane: Int[Array, " width"]
    mixtures: PyTree
    states: PyTree
    n_started: Int[Array, ""]
    n_turns: Int[Array, ""]
    results: _Results


def drive_lanes(
    step_of: Callable[[Int[Array, ""]], Step],
    solver: AbstractEM,
    starts: GaussianMixture,
    width: int,
    ticket: Ticket | None = None,
    n_used: Int[Array, ""] | None = None,
    race: Race | None = None,
) -> tuple[GaussianMixture, AbstractEMState, Int[Array, ""]]:
    """As `drive`, for every lane of `starts`, `width` of them at a time.

    Under a plain `vmap` of the loop all lanes are computed until the slowest has ended.
    Here a slot whose lane has ended takes the next lane that has not begun, so that
    only the last `width` lanes can wait for each other. One program, whatever the
    counts.

    **Arguments:**

    - `step_of`: from the number of a lane to its step of EM.
    - `starts`: mixtures with a leading axis of lanes.
    - `ticket`: to report by how many lanes have ended.
    - `n_used`: how many of the lanes, the first ones, are to be iterated; all if not
        given.
    - `race`: if given, all lanes take a few steps, and the best of them go on from
        where they are. Those that are dropped have the status `dropped`.

    **Returns:**

    The final mixtures and solver states with the leading axis of lanes, and how many
    turns were taken: each computed `width` lanes.
    """
    n_rows = starts.means.shape[0]
    n_lanes = jnp.asarray(n_rows) if n_used is None else n_used
    states = jax.vmap(lambda start: begin(solver, start))(starts)
    history = states.record.objectives
    states = _with_history(states, history[:, :0])
    results = starts, states, history
    run = ft.partial(_drive_some, step_of, solver, min(width, n_rows), ticket)
    if race is None:
        results, n_turns = run(results, jnp.arange(n_rows), n_lanes)
        mixtures, states, history = results
        return mixtures, _with_history(states, history), n_turns

    def heat(number, carry):
        results, order, n_running, n_turns = carry
        # The second heat has no limit of its own.
        limit = jnp.where(number == 0, race.short_steps, jnp.iinfo(jnp.int32).max)
        results, more = run(results, order, n_running, limit, number * n_lanes)
        order, n_running = best_running(results[1], n_lanes, race.keep)
        return results, order, n_running, n_turns + more

    carry = results, jnp.arange(n_rows), n_lanes, jnp.array(0)
    results, _, _, n_turns = jax.lax.fori_loop(0, 2, heat, carry)
    mixtures, states, history = results
    dropped = ~states.record.stop & (jnp.arange(n_rows) < n_lanes)
    mark = lambda flag, result: RESULTS.where(flag, RESULTS.dropped, result)
    result = jax.vmap(mark)(dropped, states.record.result)
    states = eqx.tree_at(lambda s: s.record.result, states, result)
    return mixtures, _with_history(states, history), n_turns


def best_running(
    states: AbstractEMState, n_lanes: Count, keep: Count
) -> tuple[Int[Array, " lanes"], Count]:
    """The lanes that have not ended among the `keep` best of all, before the others;
    and how many they are."""
    record = states.record
    ended_well = is_any(record.result, RESULTS.successful, RESULTS.max_steps_reached)
    number = jnp.arange(record.stop.size)
    sound = (number < n_lanes) & (~record.stop | ended_well)
    value = jnp.where(sound, record.objective, -jnp.inf)
    # NaN would come first.
    ranking = jnp.argsort(-jnp.where(jnp.isnan(value), -jnp.inf, value), stable=True)
    rank = jnp.zeros_like(ranking).at[ranking].set(number)
    chosen = (rank < keep) & sound & ~record.stop
    return jnp.argsort(~chosen, stable=True), jnp.sum(chosen)


def _drive_some(
    step_of: Callable[[Int[Array, ""]], Step],
    solver: AbstractEM,
    width: int,
    ticket: Ticket | None,
    results: _Results,
    order: Int[Array, " lanes"],
    n_lanes: Count,
    limit: Count | None = None,
    n_before: Count | None = None,
) -> tuple[_Results, Int[Array, ""]]:
    """Iterates the first `n_lanes` lanes of an order, from where they are.

    **Arguments:**

    - `limit`: after how many steps a lane makes room though it has not ended.
    - `n_before`: how many lanes to report as ended before these.
    """
    n_rows = order.size

    def advance(mixture, state, lane):
        return solver.step(step_of(lane), mixture, state)

    def take_lanes(results, slot):
        # A slot without a lane computes the last one again; nobody looks.
        return _take(results[:2], order[jnp.minimum(slot, n_lanes - 1)])

    first = jnp.minimum(jnp.arange(width), n_lanes)
    mixtures, states = take_lanes(results, first)
    slots = _Slots(
        lane=first,
        mixtures=mixtures,
        states=states,
        n_started=jnp.array(width),
        n_turns=jnp.array(0),
        results=results,
    )

    def turn(slots):
        lane = order[jnp.minimum(slots.lane, n_lanes - 1)]
        n_steps = slots.states.record.n_steps
        mixtures, states = jax.vmap(advance)(slots.mixtures, slots.states, lane)
        *results, history = slots.results
        # A history is long, and would be copied to and from the slots.
        row = jnp.where(slots.lane < n_lanes, lane, n_rows)
        value = states.record.objective
        history = history.at[row, n_steps].set(value, mode="drop")
        ended = states.record.stop
        if limit is not None:
            ended = ended | (states.record.n_steps >= limit)
        # Out of range is dropped: a slot that goes on, or has no lane, writes nothing.
        written = jnp.where(ended & (slots.lane < n_lanes), lane, n_rows)
        results = *_put(tuple(results), written, (mixtures, states)), history
        candidates = slots.n_started + jnp.cumsum(ended) - 1
        next_lane = jnp.where(ended, jnp.minimum(candidates, n_lanes), slots.lane)
        fresh = take_lanes(results, next_lane)
        mixtures, states = _where(ended, fresh, (mixtures, states))
        n_started = slots.n_started + jnp.sum(ended)
        if ticket is not None:
            n_running = jnp.sum(next_lane < n_lanes)
            n_ended = jnp.minimum(n_started, n_lanes) - n_running
            # -inf for a lane that has not ended; NaN for one that met a NaN.
            values = results[1].record.objective
            values = jnp.where(jnp.isnan(values), -jnp.inf, values)
            n_ended = n_ended if n_before is None else n_ended + n_before
            ticket.report(n_ended, jnp.max(values))
        return _Slots(
            next_lane, mixtures, states, n_started, slots.n_turns + 1, results
        )

    unfinished = lambda slots: jnp.any(slots.lane < n_lanes)
    slots = jax.lax.while_loop(unfinished, turn, slots)
    return slots.results, slots.n_turns


def _with_history(
    states: AbstractEMState, history: Float[Array, "lanes history"]
) -> AbstractEMState:
    return eqx.tree_at(lambda s: s.record.objectives, states, history)


def map_groups(fn: Callable[..., _Lanes], width: int, *args: PyTree) -> _Lanes:
    """`fn` of every lane, about `width` of them side by side: lanes wait only for those
    of their own group, and memory is that of one group.

    Neighbours are in different groups, and lanes at equal distances in the same: those
    that take turns are then with their like.
    """
    n_lanes = jax.tree.leaves(args)[0].shape[0]
    n_groups = -(-n_lanes // width)
    # Of equal size; the last places are filled up with the last lane.
    lanes = jnp.arange(n_groups * -(-n_lanes // n_groups))
    groups = jnp.minimum(lanes, n_lanes - 1).reshape(-1, n_groups).T
    results = jax.lax.map(lambda group: jax.vmap(fn)(*_take(args, group)), groups)

    def in_order(leaf: Array) -> Array:
        return jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])[:n_lanes]

    return jax.tree.map(in_order, results)


def _take(tree: _Lanes, index: Int[Array, " width"]) -> _Lanes:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _put(tree: _Lanes, index: Int[Array, " width"], values: _Lanes) -> _Lanes:
    set_leaf = lambda leaf, value: leaf.at[index].set(value, mode="drop")
    return jax.tree.map(set_leaf, tree, values)


def _where(mask: Array, yes: _Lanes, no: _Lanes) -> _Lanes:
    def select(a, b):
        return jnp.where(jnp.expand_dims(mask, tuple(range(1, a.ndim))), a, b)

    return jax.tree.map(select, yes, no)
