"""Fits to blocks: the loop is on the host, and drives the solvers of any other fit."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from .._core import inputs, labels as known_labels
from .._core.aliases import Weights
from .._core.programs import program
from .._em import AbstractEM, AbstractEMState, MStep
from .._em.incomplete import with_slack, without_slack
from .._mixture import GaussianMixture
from .._sources import Blocks
from .checkpoint import Checkpoint
from .driver import begin
from .observed_passes import facts_of
from .options import Options
from .pace import Pace
from .passes import AnyFacts, step_over, turn
from .progress import Ticket
from .solution import ending, moved, or_singular, Solution


def fit_blocks(
    mixture: GaussianMixture,
    data: Blocks,
    options: Options,
    folder: str | Path | None,
    ticket: Ticket | None,
    facts: AnyFacts | None = None,
) -> Solution:
    """A fit from a start, by a pass over the data for each step.

    **Arguments:**

    - `facts`: of the data, if they are known.
    """
    mixture = options.as_start(in_type(mixture, data))
    checkpoint = None
    if folder is not None:
        checkpoint = Checkpoint(Path(folder), mixture, data, options)
    pace = Pace.of(data, ticket)
    if facts is None:
        facts = facts_of(data, mixture.means.dtype, pace)
    frozen, solver = options.frozen, options.solver
    start = moved(mixture, -facts.pivot)
    step = step_over(data, facts, start, options, pace)
    if step.m_step.slack is not None:
        start = _with_slack(start, step.m_step)
    carry = start, _first_state(solver, start)
    if checkpoint is not None:
        carry = checkpoint.load(carry)
    current, state = carry
    while not bool(state.record.stop):
        n_steps = state.record.n_steps
        new, info = step(current if frozen is None else frozen.pin(current, start))
        current, state = turn(solver, current, state, new, info)
        if checkpoint is not None:
            checkpoint.save((current, state))
        if ticket is not None:
            ticket.report(n_steps, state.record.objective)
    return _solution(mixture, current, state, step.m_step, options)


@program()
def _first_state(solver: AbstractEM, start: GaussianMixture) -> AbstractEMState:
    return begin(solver, start)


@program()
def _with_slack(start: GaussianMixture, m_step: MStep) -> GaussianMixture:
    return with_slack(start, m_step.slack)


@program()
def _solution(
    start: GaussianMixture,
    end: GaussianMixture,
    state: AbstractEMState,
    step: MStep,
    options: Options,
) -> Solution:
    count = jnp.asarray(start.n_components)
    resolved = options.is_resolved(end)
    result = ending(state, step.facts, None, count, resolved)
    end, is_singular = without_slack(end, step.slack)
    result = or_singular(result, is_singular)
    solution = Solution.from_state(end, state, step, result)
    return solution.pinned(options.frozen, start)


def in_type(mixture: GaussianMixture, data: Blocks) -> GaussianMixture:
    """The mixture in the type that it is fitted to blocks in."""
    dtype = inputs.widest([mixture.means, np.zeros(1, data.dtype)])
    return jax.tree.map(lambda leaf: leaf.astype(dtype), mixture)


def check_labels(
    data: Blocks, n_components: int, weights: Weights | None = None
) -> None:
    """Raises a `ValueError` if a label of the blocks is of no component, or of one
    whose weight is zero in the start."""
    if data.labels is None:
        return
    known_labels.check_labels(data.labels, n_components)
    if weights is not None:
        known_labels.check_occupied(data.labels, data.sample_weight, weights)


def check_enough(data: Blocks, n_components: int) -> None:
    """Raises a `ValueError` if there are fewer samples than components."""
    if data.n_present < n_components:
        raise ValueError(
            f"{n_components} components need at least as many samples of positive "
            f"weight; got {data.n_present}."
        )


def check_no_checkpoint(folder: str | Path | None) -> None:
    """Raises a `ValueError` if data in memory is to have a checkpoint."""
    if folder is not None:
        raise ValueError(
            "`checkpoint` is for `gmmx_eqx.blocks`: a fit to data in memory is one "
            "program, which cannot be interrupted."
        )
