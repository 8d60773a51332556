"""Samples of a mixture, as functions of its parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from .._core.aliases import Data, Labels, Means, Weights
from .._core.axes import Axis
from .._core.programs import program
from .._covariances import AbstractCovariances


def sample_labels(weights: Weights, key: Any, n_samples: int) -> Labels:
    """Independent components. One of weight zero is never drawn."""
    weights = weights[0, :, 0, 0]
    n_components = weights.shape[0]
    labels = jr.choice(key, n_components, (n_samples,), p=weights)
    # `choice` finds a random number among the cumulative sums of the weights, whose
    # rounding may give a weight of zero a share.
    index = jnp.where(weights > 0, jnp.arange(n_components), jnp.argmax(weights > 0))
    return jax.lax.cummax(index)[labels]


def sample(
    weights: Weights,
    means: Means,
    covariances: AbstractCovariances,
    key: Any,
    n_samples: int,
) -> tuple[Data, Labels]:
    key_labels, key_noise = jr.split(key)
    labels = sample_labels(weights, key_labels, n_samples)
    shape = (n_samples, 1, means.shape[Axis.features], 1)
    noise = jr.normal(key_noise, shape, means.dtype)
    centres = means[0, labels][:, None]
    samples = centres + covariances.colour(noise, labels[:, None, None, None])
    return samples[:, 0, :, 0], labels


@program()
def of_mixture(mixture: Any, key: Any, n_samples: int) -> tuple[Data, Labels]:
    """As `sample`.

    **Arguments:**

    - `mixture`: an `AbstractGaussianMixture`.
    """
    parts = (mixture.weights, mixture.means, mixture.covariances)
    return sample(*parts, key, n_samples)
