"""Fits by several solvers, each from where the one before it ended, and by solvers that
learn from parts of the data."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp

from .._core.aliases import Data, SampleWeight
from .._core.results import RESULTS
from .._em import AbstractEM, AbstractPasses, EM, InTurn
from .._mixture import GaussianMixture
from .._sources import Blocks
from .fit_blocks import fit_blocks, in_type
from .options import Options
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


def solvers_of(solver: AbstractEM | AbstractPasses | InTurn) -> tuple[eqx.Module, ...]:
    return solver.solvers if isinstance(solver, InTurn) else (solver,)


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
    mixture = in_type(mixture, data)
    facts = Facts.of(data, mixture.means.dtype)
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
    solvers = solvers_of(solver)
    steps, values = jnp.array(0), []
    result = RESULTS.successful
    for number, one in enumerate(solvers):
        is_last = number == len(solvers) - 1
        own = None if ticket is None else Ticket(ticket.number, ticket.n_before + steps)
        if isinstance(one, AbstractPasses):
            passes = take(mixture, one, own, number)
            mixture, result = passes.mixture, passes.result
            values.append((steps, passes.log_likelihoods))
            steps = steps + one.passes
            if not is_last:
                continue
            # What remains to be known is the likelihood of where they ended.
            one = EM(tol=0.0, max_steps=0)
            own = None if own is None else Ticket(own.number, ticket.n_before + steps)
            solution = _fit_with(fit, mixture, one, options, own, number + 1)
            ended = solution.result == RESULTS.max_steps_reached
            result = RESULTS.where(
                result == RESULTS.successful, RESULTS.passes_taken, result
            )
            result = RESULTS.where(ended, result, solution.result)
        else:
            solution = _fit_with(fit, mixture, one, options, own, number)
            mixture, result = solution.mixture, solution.result
        values.append((steps, solution.log_likelihoods))
        steps = steps + solution.n_steps
    return _joined(solution, steps, values, result)


def _fit_with(
    fit: FitEM,
    mixture: GaussianMixture,
    solver: AbstractEM,
    options: Options,
    ticket: Ticket | None,
    number: int,
) -> Solution:
    own = dataclasses.replace(options, solver=solver)
    return fit(mixture, own, ticket, number)


def _joined(last: Solution, steps, values, result: RESULTS) -> Solution:
    """The last of solutions, with the steps and log-likelihoods of all."""
    size = sum(own.size for _, own in values)
    history = jnp.zeros(size, last.log_likelihoods.dtype)
    for begin, own in values:
        # From where it began; what was beyond is overwritten.
        at = begin + jnp.arange(own.size)
        history = history.at[at].set(own.astype(history.dtype), mode="drop")
    # Beyond the last step its value is repeated.
    value = last.log_likelihoods[-1]
    history = jnp.where(jnp.arange(size) > steps, value, history)
    parts = lambda s: (s.n_steps, s.log_likelihoods, s.result)
    return eqx.tree_at(parts, last, (steps, history, result))
