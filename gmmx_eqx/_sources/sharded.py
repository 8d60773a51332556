import functools as ft
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from .._core.aliases import Data, PerFeature, SampleWeight, Scalar, Weighting
from .._core.axes import Axis
from .._core.spread import Spread
from .abstract import AbstractSource
from .memory import (
    chunked,
    fold,
    InMemory,
    reduce_chunks,
    size_of_chunks,
    split,
    weighted,
)


_Monoid = TypeVar("_Monoid")


class Sharded(AbstractSource):
    """Samples spread over devices, each of which holds its own in chunks of columns.

    A sum over samples is one message between devices, of as many numbers as the sum
    has.

    **Attributes:**

    - `columns`: the samples about `pivot`, shape `(chunks, features, batch)`, with the
        chunks of each shard one after the other.
    - `weights`: shape `(chunks, batch)`, zero for the padding of the last chunk of each
        shard.
    - `spread`: how samples are spread over devices.
    """

    columns: Float[Array, "chunks features batch"]
    weights: Float[Array, "chunks batch"]
    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar
    spread: Spread = eqx.field(static=True)

    @classmethod
    def from_data(
        cls, x: Data, sample_weight: SampleWeight | None, size: int, spread: Spread
    ) -> "Sharded":
        """As [`gmmx_eqx.extend.InMemory`][], which has the reasons."""
        if sample_weight is None:
            weight = jnp.ones(x.shape[0], x.dtype)
        else:
            weight = sample_weight.astype(x.dtype)
            weight = jnp.where(weight < 0, jnp.nan, weight)

        def over(fn: Callable[..., Array], by: Callable[..., Array] = jnp.sum) -> Array:
            of_shard = lambda x, weight: fold(by, fn, x, weight)
            return spread.reduce(of_shard, x, weight, by=by)

        # In the midst of the data: the mean of one sample of each shard that has any.
        n_any, anchor = spread.reduce(_some_sample, x, weight)
        anchor = (anchor / n_any)[None]
        total = spread.reduce(jnp.sum, weight)
        sum_of = lambda fn: over(lambda x, column: weighted(fn(x), column))
        pivot = jax.lax.stop_gradient(anchor + sum_of(lambda x: x - anchor) / total)
        variances = sum_of(lambda x: (x - pivot) ** 2) / total
        distance = lambda x, column: jnp.where(column > 0, jnp.abs(x - pivot), 0)
        largest = jnp.abs(pivot) + over(distance, jnp.max)
        resolution = (0.5 * jnp.finfo(x.dtype).eps * largest) ** 2
        lay_out = lambda x, weight: chunked(x, weight, pivot, size)
        columns, weights = spread.map(lay_out, x, weight)
        per_feature = lambda row: jnp.expand_dims(row.T, (Axis.batch, Axis.components))
        return cls(
            columns=columns,
            weights=weights,
            pivot=per_feature(pivot),
            variances=per_feature(variances),
            resolution=per_feature(resolution),
            total=total,
            spread=spread,
        )

    def split(self, x: Real[Array, "n ..."]) -> Real[Array, "chunks batch ..."]:
        """An array with one row per sample, padded and split like the samples."""
        size = self.weights.shape[1]
        return self.spread.map(lambda rows: split(rows, size), x)

    def reduce(self, fn: Callable[..., _Monoid], *extras: Any) -> _Monoid:
        own = self.columns, self.weights, *extras
        if isinstance(fn, eqx.Module):
            return self.spread.reduce_module(eqx.Partial(reduce_chunks, fn), *own)
        return self.spread.reduce(ft.partial(reduce_chunks, fn), *own)


def _some_sample(
    x: Data, weight: SampleWeight
) -> tuple[Scalar, Float[Array, " features"]]:
    """One, and the first sample that counts; zero where there is none."""
    present = weight > 0
    sample = x[jnp.argmax(present)]
    any_present = jnp.any(present)
    return any_present.astype(x.dtype), jnp.where(any_present, sample, 0)


def source_of(
    x: Data,
    weight: Weighting,
    spread: Spread | None,
    size: int | None = None,
    n_packed: int | None = None,
    largest: int | None = None,
) -> InMemory | Sharded:
    """The source of data in memory, on one device or several.

    **Arguments:**

    - `size`: how many samples a chunk has; as many as are quick, but no more than
        `largest`, if not given.
    - `n_packed`: as for `chunk_size`.
    """
    n_shards = 1 if spread is None else spread.n_shards
    if size is None:
        n_samples, n_features = x.shape
        limit = {} if largest is None else {"largest": largest}
        n_own = n_samples // n_shards
        itemsize = x.dtype.itemsize
        size = size_of_chunks(n_own, n_features, itemsize, n_packed, **limit)
    if spread is None:
        return InMemory.from_data(x, weight, size)
    return Sharded.from_data(x, weight, size, spread)
