"""Fits by several solvers, each from where the one before it ended, and by solvers that
learn from parts of the data."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.aliases import Count, Data, SampleWeight
from .._core.results import RESULTS
from .._em import AbstractPasses, EM, InTurn
from .._mixture import GaussianMixture
from .._sources import Blocks
from .fit_blocks import fit_blocks, in_type
from .options import Options
from .pace import Pace
from .parts import Passes, take_passes, take_passes_over_blocks
from .passes import Facts
from .progress import Ticket
from .solution import Solution


# A fit of a stage, from a start, by a solver that is an `AbstractEM`.
FitEM: TypeAlias = Callable[[GaussianMixture, Options, Ticket | None, int], Solution]
TakePasses: TypeAlias = Callable[
    [GaussianMixture, AbstractPasses, Ticket | None, int], Passes
]
Fit: TypeAlias = Callable[[GaussianMixture, Options, Ticket | None], Solution]


def fit_in_turn(
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
    solver: AbstractPasses | InTurn,
    options: Options,
    fit: Fit,
    ticket: Ticket | None,
) -> Solution:
    """Of data in memory.

    **Arguments:**

    - `fit`: by the solver of its options.
    """

    def take(mixture, one, ticket, _):
        return take_passes(mixture, x, weight, one, options, ticket)

    run = lambda mixture, options, ticket, _: fit(mixture, options, ticket)
    return _in_turn(mixture, solver, options, run, take, ticket)


def fit_blocks_in_turn(
    mixture: GaussianMixture,
    data: Blocks,
    solver: AbstractPasses | InTurn,
    options: Options,
    folder: str | Path | None,
    ticket: Ticket | None,
) -> Solution:
    """Of blocks. Each solver has its own checkpoint, in a folder with its number."""
    if data.is_observed:
        raise ValueError(
            "Blocks with missing values or noise are for `gmmx_eqx.EM` and "
            "`gmmx_eqx.SQUAREM`. Choose one of them as `solver`."
        )
    mixture = in_type(mixture, data)
    facts = Facts.of(data, mixture.means.dtype, Pace.of(data, ticket))
    own = lambda number: None if folder is None else Path(folder) / str(number)

    def take(mixture, one, ticket, number):
        args = (mixture, data, facts, one, options, own(number), ticket)
        return take_passes_over_blocks(*args)

    def run(mixture, options, ticket, number):
        return fit_blocks(mixture, data, options, own(number), ticket, facts)

    return _in_turn(mixture, solver, options, run, take, ticket)


def _in_turn(
    mixture: GaussianMixture,
    solver: AbstractPasses | InTurn,
    options: Options,
    fit: FitEM,
    take: TakePasses,
    ticket: Ticket | None,
) -> Solution:
    solvers = list(solver.solvers if isinstance(solver, InTurn) else (solver,))
    ends_by_passes = isinstance(solvers[-1], AbstractPasses)
    if ends_by_passes:
        # What remains to be known is the likelihood of where they ended.
        solvers.append(EM(tol=0.0, max_steps=0))
    steps, values = jnp.array(0), []
    left_out, solution = RESULTS.successful, None
    for number, one in enumerate(solvers):
        own = None
        if ticket is not None:
            own = Ticket(ticket.number, ticket.n_before + steps)
        if isinstance(one, AbstractPasses):
            passes = take(mixture, one, own, number)
            mixture, left_out = passes.mixture, passes.result
            values.append((steps, passes.log_likelihoods))
            steps = steps + one.passes
        else:
            stage = dataclasses.replace(options, solver=one)
            solution = fit(mixture, stage, own, number)
            mixture = solution.mixture
            values.append((steps, solution.objectives))
            steps = steps + solution.n_steps
    assert solution is not None
    result = solution.result
    if ends_by_passes:
        sound = left_out == RESULTS.successful
        taken = RESULTS.where(sound, RESULTS.passes_taken, left_out)
        only_looked = result == RESULTS.max_steps_reached
        result = RESULTS.where(only_looked, taken, result)
    return _joined(solution, steps, values, result)


def _joined(
    last: Solution,
    steps: Count,
    values: list[tuple[Count, Float[Array, " _"]]],
    result: RESULTS,
) -> Solution:
    """The last of solutions, with the steps and log-likelihoods of all."""
    size = sum(own.size for _, own in values)
    history = jnp.zeros(size, last.objectives.dtype)
    for begin, own in values:
        # From where it began; what was beyond is overwritten.
        at = begin + jnp.arange(own.size)
        history = history.at[at].set(own.astype(history.dtype), mode="drop")
    # Beyond the last step its value is repeated.
    value = last.objectives[-1]
    history = jnp.where(jnp.arange(size) > steps, value, history)
    parts = lambda s: (s.n_steps, s.objectives, s.result)
    return eqx.tree_at(parts, last, (steps, history, result))
