"""Starts of fits in which the component of some samples is known."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

from .._core import linalg
from .._core.aliases import Count, PerSample
from .._core.likes import KeyLike
from .._sources import Chunk, InMemory
from .abstract import AbstractPartition, Partition
from .scaling import ScalingMatrix
from .seeding import Centres, choose


ChunkLabels = Int[Array, "chunks batch"]


class SeededPartition(AbstractPartition):
    """A rule that gives samples whose component is known to that, and divides the
    others by their distance to centres.

    **Attributes:**

    - `partition`: of the others.
    - `labels`: shape `(chunks, batch)`, -1 where the component is not known.
    """

    partition: Partition
    labels: ChunkLabels
    pools_few_only: ClassVar[bool] = False

    @property
    def extras(self) -> tuple[ChunkLabels]:
        return (self.labels,)

    def __call__(self, chunk: Chunk, *extras: Any) -> PerSample:
        (labels,) = extras
        resp = self.partition(chunk)
        own = _one_hot(labels, resp.shape[1]).T[..., None, None]
        is_known = (labels >= 0)[:, None, None, None]
        return jnp.where(is_known, own.astype(resp.dtype), resp)


def seeded(
    partition: AbstractPartition,
    source: InMemory,
    labels: ChunkLabels,
    key: KeyLike,
    turn: Count,
) -> SeededPartition:
    """A random partition with its centres in the places that labels say.

    The centre of a component that has labelled samples is their mean in the first turn,
    and one of them in the others. Of the partition's own centres the nearest to these
    are left out.

    ??? cite "Reference"

        Basu, Banerjee, Mooney (2002), Semi-supervised Clustering by Seeding. ICML,
        27-34.
    """
    own = partition.by_centres(source)
    count, seeds = _seeds(source, labels, own.scaling, len(own.centres), key, turn)
    is_known = count > 0
    distances = jnp.sum((own.centres[:, None] - seeds[None]) ** 2, axis=2)
    others = own.centres[in_place(distances, is_known)]
    centres = jnp.where(is_known[:, None], seeds, others)
    moved = Partition(own.scaling, centres, own.softness)
    return SeededPartition(moved, labels)


def _seeds(
    source: InMemory,
    labels: ChunkLabels,
    scaling: ScalingMatrix,
    n_components: int,
    key: KeyLike,
    turn: Count,
) -> tuple[Float[Array, " components"], Centres]:
    """The weight of the labelled samples of every component, and its centre, after
    scaling."""

    def totals(chunk: Chunk, labels: Int[Array, " batch"]):
        own = _one_hot(labels, n_components)
        weighted = jnp.where(own, chunk.weights[None], 0)
        return jnp.sum(weighted, axis=1), linalg.matmul(chunk.columns, weighted.T)

    count, first = source.reduce(totals, labels)
    means = linalg.safe_divide(first, count[None]).T
    uniforms = jr.uniform(jr.fold_in(key, 1), (n_components, 2), means.dtype)

    def one_of(args):
        number, uniforms = args
        mass = jnp.where(labels == number, source.weights, 0)
        return choose(source.columns, mass, uniforms)

    # One after the other: all masses at once would be as large as responsibilities.
    numbers = jnp.arange(n_components, dtype=labels.dtype)
    chosen = jax.lax.map(one_of, (numbers, uniforms))
    seeds = jnp.where(turn == 0, means, chosen)
    return count, linalg.matmul(seeds, scaling.T)


def _one_hot(
    labels: Int[Array, " batch"], n_components: int
) -> Bool[Array, "components batch"]:
    return labels[None] == jnp.arange(n_components, dtype=labels.dtype)[:, None]


def in_place(
    distances: Float[Array, "components components"],
    held: Bool[Array, " components"],
    stays: Bool[Array, " components"] | None = None,
) -> Int[Array, " components"]:
    """An order of components in which those in held places are the nearest to what is
    held there, one place after the other.

    **Arguments:**

    - `distances`: from each component to what is held in each place.
    - `held`: in which places something is held.
    - `stays`: which components are in their places already.
    """
    numbers = jnp.arange(len(distances))
    fixed = jnp.zeros_like(held) if stays is None else stays

    def swap(k, order):
        # Those that were chosen before stay in their places.
        taken = fixed | (held & (numbers < k))
        nearest = jnp.argmin(jnp.where(taken, jnp.inf, distances[order, k]))
        nearest = jnp.where(held[k] & ~fixed[k], nearest, k)
        return order.at[k].set(order[nearest]).at[nearest].set(order[k])

    return jax.lax.fori_loop(0, len(distances), swap, numbers)
