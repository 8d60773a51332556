"""What the families of full matrices share, as functions of 4-D arrays."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import PerSample, Residuals, Samples, SquareValues
from .._core.axes import Axis
from .._core.cholesky import inverse_cholesky


def as_columns(x: Float[Array, "n k d m"]) -> Float[Array, "m k d n"]:
    """Samples as the columns of one right-hand side per component, and back."""
    return jnp.swapaxes(x, Axis.batch, Axis.features_covar)


def transpose(x: Float[Array, "b k i j"]) -> Float[Array, "b k j i"]:
    return jnp.swapaxes(x, Axis.features, Axis.features_covar)


def inverse(values: SquareValues) -> SquareValues:
    u = inverse_cholesky(values)
    return linalg.matmul(u, transpose(u))


def scatter(residuals: Residuals, resp: PerSample) -> SquareValues:
    """One product per component, (features, batch) by (batch, features)."""
    return linalg.matmul(as_columns(residuals * resp), transpose(as_columns(residuals)))


def colour(values: SquareValues, noise: Samples) -> Float[Array, "n k d 1"]:
    """Standard normal samples, given the covariance of every component."""
    return as_columns(linalg.matmul(jnp.linalg.cholesky(values), as_columns(noise)))
