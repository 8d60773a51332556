"""Many fits in one program, in which a fit that has ended makes room for the next."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._em import AbstractEM, AbstractEMState, StepInfo
from .._em.solver import check_solver
from .._mixture import GaussianMixture
from .watch import Ticket


_Lanes = TypeVar("_Lanes", bound=PyTree)


class _Pool(eqx.Module):
    lane: Int[Array, " width"]
    mixtures: PyTree
    states: PyTree
    n_started: Int[Array, ""]
    n_pool_steps: Int[Array, ""]
    results: tuple[PyTree, PyTree]


def run_pool(
    step: Callable[[GaussianMixture, Any], tuple[GaussianMixture, StepInfo]],
    solver: AbstractEM,
    starts: GaussianMixture,
    args: Callable[[Int[Array, ""]], Any],
    width: int,
    ticket: Ticket | None = None,
    n_used: Int[Array, ""] | None = None,
) -> tuple[GaussianMixture, AbstractEMState, Int[Array, ""]]:
    """Iterates every lane of `starts` to its own end, `width` lanes at a time.

    Under a plain `vmap` of the loop all lanes are computed until the slowest has ended.
    Here a slot whose lane has ended takes the next lane that has not begun, so that
    only the last `width` lanes can wait for each other. One program, whatever the
    counts.

    **Arguments:**

    - `step`: a step of EM, `(mixture, args) -> (mixture, StepInfo)`.
    - `starts`: mixtures with a leading axis of lanes.
    - `args`: from the number of a lane to what its steps need.
    - `ticket`: to report by how many lanes have ended.
    - `n_used`: how many of the lanes, the first ones, are to be iterated; all if not
        given.

    **Returns:**

    The final mixtures and solver states with the leading axis of lanes, and how many
    steps the pool took: it computed `width` times as many.
    """
    n_rows = starts.means.shape[0]
    n_lanes = jnp.asarray(n_rows) if n_used is None else n_used
    width = min(width, n_rows)

    def init(mixture):
        return solver.init(step, mixture, None, {}, None, None, frozenset())

    def advance(mixture, state, lane):
        new = solver.step(step, mixture, args(lane), {}, state, frozenset())
        return new[:2]

    check_solver(solver, step, jax.tree.map(lambda leaf: leaf[0], starts))
    states = jax.vmap(init)(starts)
    first = jnp.arange(width)
    pool = _Pool(
        lane=jnp.minimum(first, n_lanes),
        mixtures=_take(starts, first),
        states=_take(states, first),
        n_started=jnp.array(width),
        n_pool_steps=jnp.array(0),
        results=(starts, states),
    )

    def unfinished(pool):
        return jnp.any(pool.lane < n_lanes)

    def turn(pool):
        # A slot without a lane computes the last one again; nobody looks.
        lane = jnp.minimum(pool.lane, n_lanes - 1)
        mixtures, states = jax.vmap(advance)(pool.mixtures, pool.states, lane)
        ended = states.stop
        # Out of range is dropped: a slot that goes on, or has no lane, writes nothing.
        written = jnp.where(ended & (pool.lane < n_lanes), pool.lane, n_rows)
        results = _put(pool.results, written, (mixtures, states))
        candidates = pool.n_started + jnp.cumsum(ended) - 1
        next_lane = jnp.where(ended, jnp.minimum(candidates, n_lanes), pool.lane)
        fresh = jnp.minimum(next_lane, n_lanes - 1)
        refill = (_take(starts, fresh), jax.vmap(init)(_take(starts, fresh)))
        mixtures, states = _where(ended, refill, (mixtures, states))
        n_started = pool.n_started + jnp.sum(ended)
        if ticket is not None:
            n_running = jnp.sum(next_lane < n_lanes)
            n_ended = jnp.minimum(n_started, n_lanes) - n_running
            # -inf for a lane that has not ended; NaN for one that met a NaN.
            values = results[1].log_likelihood
            values = jnp.where(jnp.isnan(values), -jnp.inf, values)
            ticket.report(n_ended, jnp.max(values))
        return _Pool(
            lane=next_lane,
            mixtures=mixtures,
            states=states,
            n_started=n_started,
            n_pool_steps=pool.n_pool_steps + 1,
            results=results,
        )

    pool = jax.lax.while_loop(unfinished, turn, pool)
    return (*pool.results, pool.n_pool_steps)


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
