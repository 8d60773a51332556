"""Fits of blocks from many starts, which share every pass."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._core import buckets, inputs, labels as known_labels
from .._core.aliases import Data, Labels, Weighting
from .._core.known import constant
from .._mixture import GaussianMixture
from .._mixture.latent import as_complete
from .._sources import Blocks, DRAWN, labels_drawn
from .checkpoint import Checkpoint
from .driver import Race
from .fit_many import starts_of_lanes
from .lanes import Lanes, run_passes
from .observed_passes import facts_of
from .pace import Pace
from .passes import AnyFacts
from .population import Population
from .progress import Ticket
from .random_starts import RandomStarts


def fit_restarts_blocks(
    fits: RandomStarts,
    data: Blocks,
    key: Any,
    n_restarts: int,
    race: Race | None,
    folder: str | Path | None,
    ticket: Ticket | None,
) -> Population:
    """As [`gmmx_eqx.fit_restarts`][] of data in memory, one pass for a step of all."""
    at = fits.frozen_at
    facts, x, weight, labels = begin_blocks(data, key, at, ticket)
    n_lanes = buckets.size(n_restarts) if n_restarts > 8 else n_restarts
    n_active = constant(np.full(n_lanes, fits.n_components))
    starts = make_starts(
        fits, x, weight, labels, key, n_active, constant(np.arange(n_lanes))
    )
    if at is not None:
        dtype = facts.pivot.dtype
        at = fits.options.as_start(jax.tree.map(lambda a: a.astype(dtype), at))
    family = Lanes(starts, n_active, n_restarts, facts, fits.options, at, race)
    checkpoint = checkpoint_of(folder, [family], data)
    n_passes = run_passes(data, facts, [family], fits.options, checkpoint, ticket)
    solutions = family.solutions()
    solutions = jax.tree.map(lambda leaf: buckets.cut(leaf, n_restarts), solutions)
    return Population(solutions, jnp.asarray(n_passes), n_lanes)


def begin_blocks(
    data: Blocks, key: Any, at: GaussianMixture | None, ticket: Ticket | None
) -> tuple[AnyFacts, Data, Weighting, Labels | None]:
    """What is known of all samples, and a draw of them for the starts: samples, weights
    and labels."""
    like = np.zeros(1, data.dtype)
    dtype = data.dtype if at is None else inputs.widest([at.means, like])
    # First, so that a NaN is named by its block.
    facts = facts_of(data, jnp.dtype(dtype), Pace.of(data, ticket))
    if data.is_observed:
        x, weight = as_complete(data.draw_observed(DRAWN, key), None)
        return facts, *inputs.as_data(x, weight, fits=True), None
    x, weight = data.draw(DRAWN, key)
    given = None if np.all(weight == 1) else weight
    labels = None if data.labels is None else labels_drawn(data.labels, key)
    return facts, *inputs.as_data(x, given, fits=True), labels


def make_starts(
    fits: RandomStarts,
    x: Data,
    weight: Weighting,
    labels: Labels | None,
    key: Any,
    n_active: Int[Array, " lanes"],
    turns: Int[Array, " lanes"],
) -> GaussianMixture:
    """Random starts from a draw, with a leading axis of lanes."""
    inputs.check_enough_samples(x, weight, fits.n_components)
    others = key, fits.initialiser, fits.options, fits.frozen_at
    x, weight = buckets.fill(x, weight, *others, n_lanes=turns.size)
    initialiser = fits.initialiser.prepared(x, weight, key)
    labels = None if labels is None else known_labels.fill(labels, len(x))
    fits = dataclasses.replace(fits, initialiser=initialiser, labels=labels)
    return starts_of_lanes(fits, x, weight, key, n_active, turns)


def checkpoint_of(
    folder: str | Path | None, families: list[Lanes], data: Blocks
) -> Checkpoint | None:
    """That of the fits of some families, if it is wanted."""
    if folder is None:
        return None
    starts = [family.starts for family in families]
    identities = [family.identity for family in families]
    return Checkpoint(Path(folder), starts, data, identities)
