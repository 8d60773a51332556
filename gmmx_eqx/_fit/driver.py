"""The loop of every fit: one lane, or many of which each goes to its own end."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._core.describe import describe
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
            ticket.report(n_steps, state.record.log_likelihood)
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
    return lambda mixture: step(frozen.pin(mixture, at))


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


class _Slots(eqx.Module):
    lane: Int[Array, " width"]
    mixtures: PyTree
    states: PyTree
    n_started: Int[Array, ""]
    n_turns: Int[Array, ""]
    results: tuple[PyTree, PyTree]


def drive_lanes(
    step_of: Callable[[Int[Array, ""]], Step],
    solver: AbstractEM,
    starts: GaussianMixture,
    width: int,
    ticket: Ticket | None = None,
    n_used: Int[Array, ""] | None = None,
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

    **Returns:**

    The final mixtures and solver states with the leading axis of lanes, and how many
    turns were taken: each computed `width` lanes.
    """
    n_rows = starts.means.shape[0]
    n_lanes = jnp.asarray(n_rows) if n_used is None else n_used
    width = min(width, n_rows)

    def advance(mixture, state, lane):
        return solver.step(step_of(lane), mixture, state)

    init = lambda start: begin(solver, start)
    states = jax.vmap(init)(starts)
    first = jnp.arange(width)
    slots = _Slots(
        lane=jnp.minimum(first, n_lanes),
        mixtures=_take(starts, first),
        states=_take(states, first),
        n_started=jnp.array(width),
        n_turns=jnp.array(0),
        results=(starts, states),
    )

    def turn(slots):
        # A slot without a lane computes the last one again; nobody looks.
        lane = jnp.minimum(slots.lane, n_lanes - 1)
        mixtures, states = jax.vmap(advance)(slots.mixtures, slots.states, lane)
        ended = states.record.stop
        # Out of range is dropped: a slot that goes on, or has no lane, writes nothing.
        written = jnp.where(ended & (slots.lane < n_lanes), slots.lane, n_rows)
        results = _put(slots.results, written, (mixtures, states))
        candidates = slots.n_started + jnp.cumsum(ended) - 1
        next_lane = jnp.where(ended, jnp.minimum(candidates, n_lanes), slots.lane)
        fresh = _take(starts, jnp.minimum(next_lane, n_lanes - 1))
        refill = (fresh, jax.vmap(init)(fresh))
        mixtures, states = _where(ended, refill, (mixtures, states))
        n_started = slots.n_started + jnp.sum(ended)
        if ticket is not None:
            n_running = jnp.sum(next_lane < n_lanes)
            n_ended = jnp.minimum(n_started, n_lanes) - n_running
            # -inf for a lane that has not ended; NaN for one that met a NaN.
            values = results[1].record.log_likelihood
            values = jnp.where(jnp.isnan(values), -jnp.inf, values)
            ticket.report(n_ended, jnp.max(values))
        return _Slots(
            next_lane, mixtures, states, n_started, slots.n_turns + 1, results
        )

    unfinished = lambda slots: jnp.any(slots.lane < n_lanes)
    slots = jax.lax.while_loop(unfinished, turn, slots)
    return (*slots.results, slots.n_turns)


def map_groups(fn: Callable[..., _Lanes], width: int, *args: PyTree) -> _Lanes:
    """`fn` of every lane, about `width` of them side by side: lanes wait only for those
    of their own group, and memory is that of one group."""
    n_lanes = jax.tree.leaves(args)[0].shape[0]
    n_groups = -(-n_lanes // width)
    # Of equal size; the last one is filled up with the last lane.
    lanes = jnp.arange(n_groups * -(-n_lanes // n_groups))
    groups = jnp.minimum(lanes, n_lanes - 1).reshape(n_groups, -1)
    results = jax.lax.map(lambda group: jax.vmap(fn)(*_take(args, group)), groups)
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n_lanes], results
    )


def _take(tree: _Lanes, index: Int[Array, " width"]) -> _Lanes:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _put(tree: _Lanes, index: Int[Array, " width"], values: _Lanes) -> _Lanes:
    set_leaf = lambda leaf, value: leaf.at[index].set(value, mode="drop")
    return jax.tree.map(set_leaf, tree, values)


def _where(mask: Array, yes: _Lanes, no: _Lanes) -> _Lanes:
    def select(a, b):
        return jnp.where(jnp.expand_dims(mask, tuple(range(1, a.ndim))), a, b)

    return jax.tree.map(select, yes, no)
