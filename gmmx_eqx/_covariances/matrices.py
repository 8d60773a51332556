"""What the families of full matrices share, as functions of 4-D arrays."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import PerSample, Residuals, Samples, SquareValues
from .._core.axes import as_columns, Axis
from .._core.cholesky import cholesky, inverse_cholesky


def transpose(x: Float[Array, "b k i j"]) -> Float[Array, "b k j i"]:
    return jnp.swapaxes(x, Axis.features, Axis.features_covar)


def inverse(values: SquareValues) -> SquareValues:
    u = inverse_cholesky(values)
    return linalg.matmul(u, transpose(u))


def scatter(residuals: Residuals, resp: PerSample) -> SquareValues:
    """One product per component, (features, batch) by (batch, features)."""
    columns = as_columns(residuals)
    return linalg.matmul(as_columns(resp) * columns, transpose(columns))


def colour(values: SquareValues, noise: Samples) -> Float[Array, "n k d 1"]:
    """Standard normal samples, given the covariance of every component."""
    return as_columns(linalg.matmul(cholesky(values), as_columns(noise)))
