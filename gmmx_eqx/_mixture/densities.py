"""The mathematics of a mixture, as functions of its parameters and 4-D samples."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

from .._core import chunks, linalg
from .._core.aliases import (
    Data,
    Labels,
    PerColumn,
    PerDatum,
    PerDatumComponent,
    PerSample,
    Scalar,
    Weights,
)
from .._core.axes import as_columns, Axis
from .._core.programs import program


_PerDatum = TypeVar("_PerDatum", bound=PyTree)

# What one chunk of residuals, (components, features, chunk), may hold, and the part of
# one component. Measured on a CPU with 1 MiB of cache per core: with twice as much, 64
# features take twice as long, and in float64 several times as long.
_CHUNK_BYTES, _COMPONENT_BYTES = 2 * 2**20, 128 * 2**10
_SMALLEST, _LARGEST = 128, 2**13


# What follows from log-densities and weights, in the layouts that users get.
def joint(log_density: PerColumn, weights: Weights) -> PerSample:
    return as_columns(log_density + linalg.safe_log(weights))


def log_prob(log_density: PerColumn, weights: Weights) -> PerDatum:
    return linalg.log_mix(log_density, weights)[0, 0, 0]


def log_prob_completed(
    log_density: PerColumn, weights: Weights, labels: Labels | None = None
) -> PerDatum:
    joint = log_density + linalg.safe_log(weights)
    if labels is not None:
        numbers = jnp.arange(joint.shape[Axis.components], dtype=labels.dtype)
        other = (labels[None] >= 0) & (labels[None] != numbers[:, None])
        joint = jnp.where(other[None, :, None], -jnp.inf, joint)
    return linalg.largest(joint, Axis.components)[0, 0, 0]


def predict(log_density: PerColumn, weights: Weights) -> Labels:
    joint = log_density + linalg.safe_log(weights)
    return linalg.index_of_max(joint, Axis.components)[0, 0]


def predict_proba(log_density: PerColumn, weights: Weights) -> PerDatumComponent:
    return linalg.responsibilities(log_density, weights)[0, :, 0].T


def map_chunks(
    fn: Callable[..., _PerDatum],
    x: Data,
    n_components: int,
    smallest: int = _SMALLEST,
    rows: tuple[Shaped[Array, "batch ..."], ...] = (),
) -> _PerDatum:
    """As `chunks.map_chunks`, for an `fn` that makes residuals of all components.

    **Arguments:**

    - `rows`: what else `fn` gets, with a row for each sample.
    """
    most = min(_CHUNK_BYTES // n_components, _COMPONENT_BYTES)
    bytes_per_sample = x.shape[1] * x.dtype.itemsize
    size = chunks.length(bytes_per_sample, most, smallest, _LARGEST)
    return chunks.map_chunks(lambda parts: fn(*parts), (x, *rows), size)


@program()
def bayesian(
    total: Scalar, n_samples: Scalar, n_parameters: Scalar, log_unit: Scalar
) -> Scalar:
    return -2 * total + n_parameters * (jnp.log(n_samples) + log_unit)
