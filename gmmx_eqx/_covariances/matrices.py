"""What the families of full matrices share, as functions of 4-D arrays."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    FullValues,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    SquareValues,
)
from .._core.axes import as_columns
from .._core.cholesky import cholesky, inverse_cholesky


# What the factors of one chunk of samples may hold, and fewest samples of a chunk.
_CHUNK_BYTES, _SMALLEST = 2 * 2**20, 64


def inverse(values: SquareValues) -> SquareValues:
    u = inverse_cholesky(values)
    return linalg.matmul(u, linalg.transpose(u))


def scatter(residuals: Residuals, resp: PerSample) -> SquareValues:
    """One product per component, (features, batch) by (batch, features)."""
    columns = as_columns(residuals)
    return linalg.matmul(as_columns(resp) * columns, linalg.transpose(columns))


def colour(values: SquareValues, noise: Samples) -> Float[Array, "n k d 1"]:
    """Standard normal samples, given the covariance of every component."""
    return as_columns(linalg.matmul(cholesky(values), as_columns(noise)))


def colour_by_label(
    values: FullValues, noise: Samples, labels: SampleLabels
) -> Samples:
    """Standard normal samples, each given the covariance of its own component.

    A chunk at a time, so that one factor per sample is held for a chunk alone. Measured
    on a CPU, with 64 components and 32 features this is nine times faster than all
    samples multiplied by every factor, and its gradient fifteen times.
    """
    lower = cholesky(values)[0]

    def of_chunk(chunk: tuple[Samples, SampleLabels]) -> Samples:
        noise, labels = chunk
        return linalg.matmul(lower[labels[:, 0, 0, 0]][:, None], noise)

    n_samples, _, n_features, _ = noise.shape
    limit = _CHUNK_BYTES / (n_features**2 * noise.dtype.itemsize)
    size = max(2 ** int(math.log2(max(limit, 1))), _SMALLEST)
    if n_samples <= 2 * size:
        return of_chunk((noise, labels))
    n_whole = n_samples // size * size
    parts = (noise, labels)
    chunks = jax.tree.map(lambda x: x[:n_whole].reshape(-1, size, *x.shape[1:]), parts)
    # Without `checkpoint`, reverse mode would keep every chunk's factors.
    whole = jax.lax.map(jax.checkpoint(of_chunk), chunks)
    whole = whole.reshape(n_whole, *whole.shape[2:])
    rest = of_chunk(jax.tree.map(lambda x: x[n_whole:], parts))
    return jnp.concatenate([whole, rest])
