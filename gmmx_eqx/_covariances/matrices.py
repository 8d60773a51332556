"""What the families of full matrices share, as functions of 4-D arrays."""

from jaxtyping import Array, Float

from .._core import chunks, linalg
from .._core.aliases import (
    FullValues,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    SquareValues,
)
from .._core.axes import as_columns
from .._core.cholesky import inverse_cholesky


# What the factors of one chunk of samples may hold, and fewest samples of a chunk.
_CHUNK_BYTES, _SMALLEST = 2 * 2**20, 64


def inverse(values: SquareValues) -> SquareValues:
    u = inverse_cholesky(values)
    return linalg.matmul(u, linalg.transpose(u))


def scatter(residuals: Residuals, resp: PerSample) -> SquareValues:
    """One product per component, (features, batch) by (batch, features)."""
    columns = as_columns(residuals)
    return linalg.matmul(as_columns(resp) * columns, linalg.transpose(columns))


def colour(lower: SquareValues, noise: Samples) -> Float[Array, "n k d 1"]:
    """Standard normal samples, given the covariance of every component by its Cholesky
    factor."""
    return as_columns(linalg.matmul(lower, as_columns(noise)))


def colour_by_label(lower: FullValues, noise: Samples, labels: SampleLabels) -> Samples:
    """Standard normal samples, each given the covariance of its own component.

    A chunk at a time, so that one factor per sample is held for a chunk alone. Measured
    on a CPU, with 64 components and 32 features this is nine times faster than all
    samples multiplied by every factor, and its gradient fifteen times.
    """
    factors = lower[0]

    def of_chunk(chunk: tuple[Samples, SampleLabels]) -> Samples:
        noise, labels = chunk
        return linalg.matmul(factors[labels[:, 0, 0, 0]][:, None], noise)

    n_features = factors.shape[-1]
    bytes_per_sample = n_features**2 * factors.dtype.itemsize
    size = chunks.length(bytes_per_sample, _CHUNK_BYTES, _SMALLEST)
    return chunks.map_chunks(of_chunk, (noise, labels), size)
