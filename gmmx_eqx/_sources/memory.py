from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Real

from .._core import buckets, chunks, sums
from .._core.aliases import Data, PerFeature, Scalar, Weighting
from .._core.axes import Axis
from .abstract import AbstractSource, Chunk


_Monoid = TypeVar("_Monoid")

# Of packed features. Measured on two cores with 1 MiB of cache each: longer rows make
# up for leaving it. Rows are long enough to fill vector units.
_CHUNK_BYTES = 8 * 2**20
_SMALLEST, _LARGEST = 128, 4096
# Data of which copies are a matter of memory.
_LARGE_BYTES = 64 * 2**20


class InMemory(AbstractSource):
    """Samples held in memory, split into chunks of columns.

    **Attributes:**

    - `columns`: the samples about `pivot`, shape `(chunks, features, batch)`.
    - `weights`: shape `(chunks, batch)`, zero for the padding of the last chunk.
    """

    columns: Float[Array, "chunks features batch"]
    weights: Float[Array, "chunks batch"]
    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar

    @classmethod
    def from_data(cls, x: Data, sample_weight: Weighting, size: int) -> "InMemory":
        """Centres, pads and splits `x` into chunks of `size` samples."""
        n_samples = x.shape[0]
        # About one of the samples: a plain sum of numbers far from zero would lose the
        # digits that tell them apart.
        if sample_weight is None:
            weight = jnp.ones(n_samples, x.dtype)
            total = jnp.asarray(n_samples, x.dtype)
            anchor = x[:1]
            present = lambda values, column: values
        else:
            if sample_weight.ndim == 0:
                weight = buckets.weights_of(sample_weight, n_samples, x.dtype)
                total = sample_weight.astype(x.dtype)
                anchor = x[:1]
            else:
                weight = sample_weight.astype(x.dtype)
                # Found while tracing, a negative weight can only become a status.
                weight = jnp.where(weight < 0, jnp.nan, weight)
                total = jnp.sum(weight)
                anchor = x[jnp.argmax(weight > 0)][None]
            # A sample of weight zero must not show, even if it is NaN.
            present = weighted
        if x.size * x.dtype.itemsize > _LARGE_BYTES:
            present = weighted
        sum_of = lambda fn: fold(
            jnp.sum, lambda x, column: present(fn(x), column), x, weight
        )
        pivot = jax.lax.stop_gradient(anchor + sum_of(lambda x: x - anchor) / total)
        variances = sum_of(lambda x: (x - pivot) ** 2) / total
        distance = lambda x, column: jnp.where(column > 0, jnp.abs(x - pivot), 0)
        still = jax.lax.stop_gradient(x)
        largest = jnp.abs(pivot) + fold(jnp.max, distance, still, weight)
        resolution = (0.5 * jnp.finfo(x.dtype).eps * largest) ** 2
        columns, weights = chunked(x, weight, pivot, size)
        per_feature = lambda row: jnp.expand_dims(row.T, (Axis.batch, Axis.components))
        return cls(
            columns=columns,
            weights=weights,
            pivot=per_feature(pivot),
            variances=per_feature(variances),
            resolution=per_feature(resolution),
            total=total,
        )

    def split(self, x: Real[Array, "n ..."]) -> Real[Array, "chunks batch ..."]:
        """An array with one row per sample, padded and split like the samples."""
        return split(x, self.weights.shape[1])

    def reduce(self, fn: Callable[..., _Monoid], *extras: Any) -> _Monoid:
        return reduce_chunks(fn, self.columns, self.weights, *extras)


def split(x: Real[Array, "n ..."], size: int) -> Real[Array, "chunks batch ..."]:
    """Rows in chunks of equal size, the last one padded with zeros."""
    padding = [(0, -x.shape[0] % size)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding).reshape(-1, size, *x.shape[1:])


def chunked(
    x: Data,
    weight: Float[Array, " batch"],
    pivot: Float[Array, "one=1 features"],
    size: int,
) -> tuple[Float[Array, "chunks features size"], Float[Array, "chunks size"]]:
    """Samples about the pivot as columns, and their weights, in chunks. Samples of
    weight zero, and those of the padding, are zero."""
    weights = split(weight, size)[:, None]
    columns = jnp.swapaxes(split(x, size), 1, 2) - pivot.T[None]
    return jnp.where(weights > 0, columns, 0), weights[:, 0]


def weighted(
    values: Float[Array, "n features"], column: Float[Array, "n one=1"]
) -> Float[Array, "n features"]:
    return jnp.where(column > 0, column * values, 0)


def fold(
    reduction: Callable[..., Array],
    fn: Callable[[Array, Array], Array],
    x: Data,
    weight: Float[Array, " batch"],
) -> Float[Array, "one=1 features"]:
    """A reduction over samples of `fn(x, weights)`, a block of them at a time where the
    data is large: XLA makes arrays of what it reduces, and would hold several as large
    as the data at once. A sample of weight zero must not count."""
    n_samples, n_features = x.shape
    if x.size * x.dtype.itemsize <= _LARGE_BYTES:
        return reduction(fn(x, weight[:, None]), axis=0, keepdims=True)
    size = max(_LARGE_BYTES // (8 * n_features * x.dtype.itemsize), 1)

    def reduce_block(i: Int[Array, ""]) -> Float[Array, " features"]:
        # The last block overlaps the one before it, so that all have the same size.
        start = jnp.minimum(i * size, n_samples - size)
        is_new = start + jnp.arange(size) >= i * size
        take = lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size)
        own = jnp.where(is_new, take(weight), 0)
        return reduction(fn(take(x), own[:, None]), axis=0)

    numbers = jnp.arange(-(-n_samples // size))
    parts = jax.lax.map(jax.checkpoint(reduce_block), numbers)
    return reduction(parts, axis=0, keepdims=True)


def reduce_parts(fn: Callable[[Chunk], _Monoid], chunk: Chunk, size: int) -> _Monoid:
    """The sum of `fn(part)` over parts of `size` samples; the last one is padded."""
    n_features, n_samples = chunk.columns.shape
    if n_samples <= size:
        return fn(chunk)
    padding = -n_samples % size
    columns = jnp.pad(chunk.columns, ((0, 0), (0, padding)))
    columns = jnp.swapaxes(columns.reshape(n_features, -1, size), 0, 1)
    weights = jnp.pad(chunk.weights, (0, padding)).reshape(-1, size)
    return reduce_chunks(fn, columns, weights)


def reduce_chunks(
    fn: Callable[..., _Monoid],
    columns: Float[Array, "chunks features batch"],
    weights: Float[Array, "chunks batch"],
    *extras: Any,
) -> _Monoid:
    """The sum of `fn(chunk, *extra_chunks)` over chunks."""
    chunks = (Chunk(columns[0], weights[0]), *_take(extras, 0))
    if columns.shape[0] == 1:
        return fn(*chunks)
    shapes = jax.eval_shape(fn, *chunks)
    # Without `checkpoint`, reverse mode would keep every chunk's residuals. It needs a
    # hash, which a module of arrays has not.
    of_chunk = jax.checkpoint(lambda *chunks: fn(*chunks))

    def add(total, chunk):
        columns, weights, *rest = chunk
        return total.add(of_chunk(Chunk(columns, weights), *rest)), None

    zero = sums.Total.zero(shapes, n_terms=columns.shape[0])
    total, _ = jax.lax.scan(add, zero, (columns, weights, *extras))
    return total.result


def _take(tree: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def chunk_size(x: Data, n_packed: int | None = None) -> int:
    """How many samples to take at once: a power of two, or all of a small data set.

    **Arguments:**

    - `n_packed`: how many numbers a kernel makes of each sample; as many as the packed
        features of full covariances if not given.
    """
    n_samples, n_features = x.shape
    return size_of_chunks(n_samples, n_features, x.dtype.itemsize, n_packed)


def size_of_chunks(
    n_samples: int,
    n_features: int,
    itemsize: int,
    n_packed: int | None = None,
    largest: int = _LARGEST,
) -> int:
    """The same, of data of that size."""
    if n_packed is None:
        n_packed = n_features * (n_features + 1) // 2 + n_features + 1
    bytes_per_sample = n_packed * itemsize
    size = chunks.length(bytes_per_sample, _CHUNK_BYTES, _SMALLEST, largest)
    # One chunk is cheapest: up to twice the size, do not split.
    return n_samples if n_samples <= 2 * size else size
