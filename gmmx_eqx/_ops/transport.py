r"""Discrete optimal transport, solved exactly.

The plan $P \ge 0$ of least cost $\sum_{ij} C_{ij} P_{ij}$ whose rows sum to $a$ and
columns to $b$. Mass is sent along shortest augmenting paths, as in the Hungarian method
with numbers for marks (Ford and Fulkerson's primal-dual method for this problem).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.aliases import Count, Flag, Scalar


Cost = Float[Array, "rows columns"]
Supply = Float[Array, " rows"]
Demand = Float[Array, " columns"]


@jax.custom_jvp
def transport(cost: Cost, supply: Supply, demand: Demand) -> tuple[Scalar, Cost]:
    """The least cost and its plan; `supply` and `demand` must have the same sum.

    The derivative of the cost is the plan in `cost`, and the dual prices in `supply`
    and `demand`, at a weight of zero too. The plan is given no derivative.
    """
    plan, _, _ = _solve(cost, supply, demand)
    return jnp.sum(plan * cost), plan


@transport.defjvp
def _transport_jvp(primals, tangents):
    cost, supply, demand = primals
    d_cost, d_supply, d_demand = tangents
    solution = _solve(cost, supply, demand)
    plan, u, v = jax.tree.map(jax.lax.stop_gradient, solution)
    tangent = jnp.sum(plan * d_cost) + jnp.sum(u * d_supply) + jnp.sum(v * d_demand)
    return (jnp.sum(plan * cost), plan), (tangent, jnp.zeros_like(plan))


class _State(NamedTuple):
    plan: Cost
    supply: Supply
    demand: Demand
    u: Supply
    v: Demand
    n_paths: Count


class _Search(NamedTuple):
    """Shortest paths from the rows that have mass left. A row is reached from a column
    that holds mass of it; `row_from` is -1 where a path begins."""

    row_distance: Supply
    row_from: Int[Array, " rows"]
    distance: Demand
    column_from: Int[Array, " columns"]
    done: Bool[Array, " columns"]
    nearest: Count
    found: Flag


def _solve(cost: Cost, supply: Supply, demand: Demand) -> tuple[Cost, Supply, Demand]:
    n_rows, n_columns = cost.shape
    # Each path empties a row, fills a column or clears an entry of the plan. Two to
    # three per row and column are usual.
    most_paths = 100 * (n_rows + n_columns)

    sound = jnp.all(jnp.isfinite(cost))

    def is_left(state: _State) -> Flag:
        return jnp.any(state.supply > 0) & jnp.any(state.demand > 0)

    def unfinished(state: _State) -> Flag:
        return is_left(state) & (state.n_paths < most_paths) & sound

    def send(state: _State) -> _State:
        reduced = jnp.maximum(cost - state.u[:, None] - state.v[None], 0)
        search = _shortest_path(reduced, state)
        end = search.distance[search.nearest]
        u = state.u + jnp.maximum(end - search.row_distance, 0)
        v = state.v - jnp.where(search.done, jnp.maximum(end - search.distance, 0), 0)
        return _augment(state, search)._replace(u=u, v=v)

    start = _State(
        plan=jnp.zeros_like(cost),
        supply=supply,
        demand=demand,
        u=jnp.min(cost, axis=1),
        v=jnp.zeros_like(demand),
        n_paths=jnp.array(0),
    )
    state = jax.lax.while_loop(unfinished, send, start)
    plan = jnp.where(is_left(state), jnp.nan, state.plan)
    # The prices of what has no mass are any that do not undercut; those that a first
    # bit of mass would pay are the derivative.
    fewest = lambda bound, present: jnp.where(present, bound, jnp.inf)
    v = jnp.min(fewest(cost - state.u[:, None], (supply > 0)[:, None]), axis=0)
    u = jnp.min(fewest(cost - state.v[None], (demand > 0)[None]), axis=1)
    u = jnp.where(supply > 0, state.u, u)
    v = jnp.where(demand > 0, state.v, v)
    return plan, u, v


def _shortest_path(reduced: Cost, state: _State) -> _Search:
    """Dijkstra's algorithm, a column at a time, until a column wants mass."""

    def relax(search: _Search, new_rows: Bool[Array, " rows"]) -> _Search:
        through = jnp.where(new_rows, search.row_distance, jnp.inf)[:, None] + reduced
        best = jnp.argmin(through, axis=0)
        distance = jnp.min(through, axis=0)
        better = (distance < search.distance) & ~search.done
        distance = jnp.where(better, distance, search.distance)
        nearest = jnp.argmin(jnp.where(search.done, jnp.inf, distance))
        return search._replace(
            distance=distance,
            column_from=jnp.where(better, best, search.column_from),
            nearest=nearest,
            done=search.done.at[nearest].set(True),
            found=state.demand[nearest] > 0,
        )

    def visit(search: _Search) -> _Search:
        column = search.nearest
        holds = state.plan[:, column] > 0
        new_rows = holds & ~jnp.isfinite(search.row_distance)
        distance = search.distance[column]
        search = search._replace(
            row_distance=jnp.where(new_rows, distance, search.row_distance),
            row_from=jnp.where(new_rows, column, search.row_from),
        )
        return relax(search, new_rows)

    sources = state.supply > 0
    n_rows, n_columns = reduced.shape
    start = _Search(
        row_distance=jnp.where(sources, 0, jnp.inf).astype(reduced.dtype),
        row_from=jnp.full(n_rows, -1),
        distance=jnp.full(n_columns, jnp.inf, reduced.dtype),
        column_from=jnp.full(n_columns, 0),
        done=jnp.zeros(n_columns, bool),
        nearest=jnp.array(0),
        found=jnp.array(False),
    )
    # Under `vmap` a lane that is done searches on, where there is no row to begin from
    # or no column to find.
    unfinished = lambda search: (
        ~search.found
        & ~jnp.all(search.done)
        & jnp.isfinite(search.distance[search.nearest])
    )
    return jax.lax.while_loop(unfinished, visit, relax(start, sources))


def _augment(state: _State, search: _Search) -> _State:
    """As much mass along the path as it can take."""

    def follow(fn: Any, start: Any) -> Any:
        """`fn(carry, row, column, back)` for every step of the path from its end;
        `back` is the column that the row takes its mass from, -1 if it is its own."""

        def step(carry: Any) -> Any:
            column, value = carry
            row = search.column_from[column]
            back = search.row_from[row]
            return back, fn(value, row, column, back)

        begun = lambda carry: carry[0] >= 0
        return jax.lax.while_loop(begun, step, (search.nearest, start))[1]

    def narrowest(amount: Scalar, row: Count, column: Count, back: Count) -> Scalar:
        del column
        held = jnp.where(back >= 0, state.plan[row, back], state.supply[row])
        return jnp.minimum(amount, held)

    amount = follow(narrowest, state.demand[search.nearest])

    def move(carry: tuple[Cost, Supply], row: Count, column: Count, back: Count):
        plan, supply = carry
        taken = jnp.where(back >= 0, amount, 0)
        plan = plan.at[row, column].add(amount).at[row, back].add(-taken)
        return plan, supply.at[row].add(taken - amount)

    plan, supply = follow(move, (state.plan, state.supply))
    return state._replace(
        plan=plan,
        supply=supply,
        demand=state.demand.at[search.nearest].add(-amount),
        n_paths=state.n_paths + 1,
    )
