"""Passes of solvers that learn from parts of the data."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._core import inputs
from .._core.aliases import Count, Data, SampleWeight
from .._core.programs import program
from .._core.results import RESULTS
from .._em import AbstractPasses, MStep, packed_length
from .._mixture import GaussianMixture
from .._sources import AbstractFacts, Blocks, InMemory, random_order, size_of_chunks
from .checkpoint import Checkpoint
from .options import Options
from .pace import Pace
from .passes import Facts
from .progress import Ticket
from .solution import moved


class Passes(eqx.Module):
    """What passes led to.

    **Attributes:**

    - `mixture`: in the units of the data.
    - `log_likelihoods`: of each pass, of every part before it was learnt from.
    - `result`: `successful`, or why a part was left out.
    """

    mixture: GaussianMixture
    log_likelihoods: Float[Array, " passes"]
    result: RESULTS


def sizes_of_parts(n: int, size: int, chunk: int) -> tuple[int, int, int]:
    """How many parts of at most `size` samples `n` of them make, how many chunks of at
    most `chunk` samples each part has, and how many samples each chunk."""
    n_parts = -(-n // min(size, n))
    length = -(-n // n_parts)
    n_chunks = -(-length // chunk)
    return n_parts, n_chunks, -(-length // n_chunks)


def take_passes(
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
    solver: AbstractPasses,
    options: Options,
    ticket: Ticket | None,
) -> Passes:
    """Over data in memory."""
    return _take_passes(mixture, x, weight, solver, options, ticket)


@program(lambda mixture, x, *_: mixture.n_components * x.size)
def _take_passes(
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
    solver: AbstractPasses,
    options: Options,
    ticket: Ticket | None,
) -> Passes:
    mixture, x = inputs.common_dtype(mixture, x)
    # Not differentiated: what ends a fit is.
    mixture, x, weight = jax.lax.stop_gradient((mixture, x, weight))
    n_samples, n_features = x.shape
    size = solver.samples_per_update or solver.default_size(n_samples)
    chunk = options.samples_per_chunk or size_of_chunks(
        n_samples,
        n_features,
        x.dtype.itemsize,
        packed_length(mixture.covariances, n_features),
    )
    n_parts, n_chunks, length = sizes_of_parts(n_samples, size, chunk)
    facts = options.source(x, weight, mixture.covariances, of_lanes=False)
    # Without its copy of the samples.
    facts = Facts(facts.pivot, facts.variances, facts.resolution, facts.total)
    m_step = _m_step(facts, options, mixture)
    pivot = facts.pivot.reshape(1, n_features)

    def part(order: Int[Array, " n"], number: Count) -> InMemory:
        # Every so-manieth sample, so that no part is left with few.
        at = number + n_parts * jnp.arange(n_chunks * length)
        here = at < n_samples
        at = order[jnp.where(here, at, 0)]
        own = jnp.ones((), x.dtype) if weight is None else weight[at].astype(x.dtype)
        own = jnp.where(here, own, 0)
        rows = jnp.where(own[:, None] > 0, x[at] - pivot, 0)
        rows = rows.reshape(n_chunks, length, n_features)
        own = own.reshape(n_chunks, length)
        return facts.source(jnp.swapaxes(rows, 1, 2), own)

    def take(state: Any, number: Count) -> tuple[Any, Array]:
        of_parts = jr.fold_in(solver.key, 0 if solver.keeps_parts else number)
        order = jr.permutation(of_parts, n_samples)
        of_pass = jr.fold_in(jr.fold_in(solver.key, number), 1)

        def visit(state: Any, number: Count) -> tuple[Any, None]:
            return solver.visit(state, number, part(order, number), m_step), None

        state, _ = jax.lax.scan(visit, state, jr.permutation(of_pass, n_parts))
        state, value = _finish(solver, state, m_step)
        if ticket is not None:
            ticket.report(number, value)
        return state, value

    start = options.as_start(mixture)
    state = solver.begin(moved(start, -facts.pivot), n_parts)
    state, values = jax.lax.scan(take, state, jnp.arange(solver.passes))
    return _passes(solver, state, values, facts, options, start)


def take_passes_over_blocks(
    mixture: GaussianMixture,
    data: Blocks,
    facts: Facts,
    solver: AbstractPasses,
    options: Options,
    folder: Path | None,
    ticket: Ticket | None,
) -> Passes:
    """Over blocks, on the host, which are in another order in every pass."""
    start = options.as_start(mixture)
    rows, n_features = data.rows, data.shape[1]
    size = solver.samples_per_update
    if size is None:
        size = rows if solver.keeps_parts else solver.default_size(data.shape[0])
    chunk = options.samples_per_chunk or size_of_chunks(
        min(size, rows),
        n_features,
        data.dtype.itemsize,
        packed_length(mixture.covariances, n_features),
    )
    n_parts, n_chunks, length = sizes_of_parts(rows, size, chunk)
    m_step = _m_step(facts, options, mixture)
    words = tuple(np.asarray(solver.key).tolist())
    state = _begin(solver, moved(start, -facts.pivot), len(data) * n_parts)
    carry = state, jnp.zeros(solver.passes, facts.pivot.dtype), jnp.array(0)
    checkpoint = None
    if folder is not None:
        checkpoint = Checkpoint(folder, start, data, (options, solver))
        carry = checkpoint.load(carry)
    state, values, taken = carry
    pace = Pace.of(data, ticket)
    for number in range(int(taken), solver.passes):
        order = random_order((*words, number), len(data)).tolist()
        of_rows = 0 if solver.keeps_parts else number

        def load(i: int, order=order, of_rows=of_rows):
            # The pass before the block, so that no two draw the same.
            seed = (*words, of_rows, order[i])
            return order[i], data.columns(order[i], facts.pivot, length, seed)

        if pace is not None:
            pace(0)
        for n_before, (which, block) in enumerate(data.ahead(load)):
            columns, weights, _ = jax.device_put(block)
            del block
            block_number = jnp.asarray(which)
            args = (columns, weights, facts, m_step, n_parts, n_chunks)
            # Blocks would pile up if they were read faster than they are computed with.
            state = jax.block_until_ready(
                _visit_block(solver, state, block_number, *args)
            )
            del args, columns, weights
            if pace is not None:
                pace(n_before + 1)
        state, value = _finish(solver, state, m_step)
        values = values.at[number].set(value)
        if checkpoint is not None:
            checkpoint.save((state, values, jnp.array(number + 1)))
        if ticket is not None:
            ticket.report(jnp.array(number), value)
    return _passes(solver, state, values, facts, options, start)


def _m_step(facts: AbstractFacts, options: Options, mixture: GaussianMixture) -> MStep:
    prior = options.prior
    return MStep(
        facts,
        False,
        options.ridge.resolve(facts.variances),
        options.frozen,
        options.equal_weights,
        None if prior is None else prior.resolve(mixture.covariances, facts),
    )


@program()
def _begin(solver: AbstractPasses, start: GaussianMixture, n_parts: int) -> Any:
    return solver.begin(start, n_parts)


@program(
    lambda solver, state, number, columns, *_: (
        columns.size * solver.running(state).mixture.n_components
    )
)
def _visit_block(
    solver: AbstractPasses,
    state: Any,
    number: Count,
    columns: Float[Array, "chunks features size"],
    weights: Float[Array, "chunks size"],
    facts: Facts,
    m_step: MStep,
    n_parts: int,
    n_chunks: int,
) -> Any:
    missing = n_parts * n_chunks - len(columns)
    columns = jnp.pad(columns, ((0, missing), (0, 0), (0, 0)))
    weights = jnp.pad(weights, ((0, missing), (0, 0)))
    split = lambda leaf: leaf.reshape(n_parts, n_chunks, *leaf.shape[1:])

    def visit(state: Any, part: Any) -> tuple[Any, None]:
        i, columns, weights = part
        source = facts.source(columns, weights)
        return solver.visit(state, number * n_parts + i, source, m_step), None

    parts = (jnp.arange(n_parts), split(columns), split(weights))
    return jax.lax.scan(visit, state, parts)[0]


@program()
def _finish(solver: AbstractPasses, state: Any, m_step: MStep) -> tuple[Any, Array]:
    """The state after a pass, and the log-likelihood of the pass."""
    value = solver.running(state).log_likelihood
    return solver.finish(state, m_step), value


@program()
def _passes(
    solver: AbstractPasses,
    state: Any,
    values: Float[Array, " passes"],
    facts: AbstractFacts,
    options: Options,
    start: GaussianMixture,
) -> Passes:
    running = solver.running(state)
    mixture = moved(running.mixture, facts.pivot)
    if options.frozen is not None:
        # About the pivot, means were rounded.
        mixture = options.frozen.pin(mixture, start)
    return Passes(mixture, values, running.result)
