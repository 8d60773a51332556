"""Every family and number of components fitted to blocks, by passes that all share."""

import functools as ft
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._core import inputs
from .._core.aliases import Data, Labels, Scalar
from .._core.known import constant
from .._core.programs import program
from .._covariances import Family
from .._initialisers import AbstractInitialiser
from .._mixture import GaussianMixture
from .._mixture.abstract import weighted_sum
from .._mixture.densities import log_prob_completed
from .._sources import Block, Blocks, Layout, Observed, total_of
from .fit_observed import Gathered
from .fit_restarts_blocks import begin_blocks, checkpoint_of, make_starts
from .lanes import Lanes, run_passes
from .options import Options
from .pace import Pace
from .progress import Ticket
from .random_starts import RandomStarts
from .solution import Solution, take_best


class Best(NamedTuple):
    """Of each number of components of a family."""

    solutions: Solution
    # Log-likelihoods of samples together with their most likely components.
    completed: Float[np.ndarray, " cells"]
    n_converged: Int[np.ndarray, " cells"]


def select_blocks(
    data: Blocks,
    folder: str | Path | None,
    families: Sequence[Family],
    counts: Sequence[Sequence[int]],
    n_restarts: int,
    key: Any,
    initialiser: AbstractInitialiser,
    options: Options,
    width: int,
    ticket: Ticket | None,
) -> list[Best | None]:
    """The best fits of each family; `None` where it has no numbers of components.

    **Arguments:**

    - `counts`: the numbers of components of each family.
    """
    facts, x, weight, labels = begin_blocks(data, key, None, ticket)
    fitted: list[Lanes | None] = []
    for family, own in zip(families, counts, strict=True):
        if not own:
            fitted.append(None)
            continue
        n_fits = len(own) * n_restarts
        fits = RandomStarts(family, max(own), initialiser, options, min(width, n_fits))
        n_active = constant(np.repeat(own, n_restarts))
        turns = constant(np.tile(np.arange(n_restarts), len(own)))
        starts = make_starts(fits, x, weight, labels, key, n_active, turns)
        fitted.append(Lanes(starts, n_active, n_fits, facts, options))
    present = [family for family in fitted if family is not None]
    checkpoint = checkpoint_of(folder, present, data)
    run_passes(data, facts, present, options, checkpoint, ticket)
    best = [
        None if family is None else _best(family.solutions(), len(own))
        for family, own in zip(fitted, counts, strict=True)
    ]
    mixtures = [found[0].mixture for found in best if found is not None]
    of_block = ft.partial(_completed_of_block, mixtures)
    totals = iter(total_of(data, Blocks.load, of_block, Pace.of(data, ticket)))
    return [
        None if found is None else Best(found[0], next(totals), np.asarray(found[1]))
        for found in best
    ]


@program()
def _best(lanes: Solution, n_cells: int) -> tuple[Solution, Int[Array, " cells"]]:
    """Of each cell's lanes: the best, and how many converged."""
    by_cell = jax.tree.map(
        lambda leaf: leaf.reshape(n_cells, -1, *leaf.shape[1:]), lanes
    )
    return jax.vmap(take_best)(by_cell), jnp.sum(by_cell.converged, axis=1)


def _completed_of_block(mixtures: list[GaussianMixture], block: Block) -> list[Array]:
    if block.is_observed:
        observed = jax.device_put(block.observed)
        return [_completed_observed(mixture, observed) for mixture in mixtures]
    rows = () if block.labels is None else (jax.device_put(block.labels),)
    return [_completed(mixture, *block.arrays, *rows) for mixture in mixtures]


@program()
def _completed_observed(
    mixtures: GaussianMixture, observed: Observed
) -> Float[Array, " cells"]:
    gathered = Gathered(
        observed, Layout.in_order(observed, 1), None, observed.y.shape[1]
    )

    mixtures, gathered = inputs.common_dtype(mixtures, gathered)

    def of_cell(mixture: GaussianMixture) -> Scalar:
        return gathered.weighted_sum(mixture, log_prob_completed)[0]

    return jax.lax.map(of_cell, mixtures)


@program()
def _completed(
    mixtures: GaussianMixture, x: Data, weight: Float[Array, " batch"], *labels: Labels
) -> Float[Array, " cells"]:
    def of_cell(mixture: GaussianMixture) -> Scalar:
        return weighted_sum(mixture, x, weight, log_prob_completed, None, *labels)[0]

    return jax.lax.map(of_cell, mixtures)
