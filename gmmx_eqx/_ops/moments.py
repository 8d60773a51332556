"""The mean and the covariance of a mixture as a whole."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means
from .._core.axes import Axis
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture


def mean(mixture: AbstractGaussianMixture) -> Float[Array, " features"]:
    r"""The mean $\bar μ = \sum_k w_k μ_k$ of a mixture, shape `(n_features,)`."""
    check_mixture(mixture)
    return _mean(mixture)


def covariance(mixture: AbstractGaussianMixture) -> Float[Array, "features features"]:
    r"""The covariance of a mixture as a whole, within components and between them:
    $\sum_k w_k (Σ_k + (μ_k - \bar μ)(μ_k - \bar μ)^T)$, shape
    `(n_features, n_features)`, in squared data units."""
    check_mixture(mixture)
    return _covariance(mixture)


@program()
def _mean(mixture: AbstractGaussianMixture) -> Float[Array, " features"]:
    return (mixture.means - _about_mean(mixture))[0, 0, :, 0]


@program()
def _covariance(
    mixture: AbstractGaussianMixture,
) -> Float[Array, "features features"]:
    offsets = _about_mean(mixture)
    between = linalg.matmul(mixture.weights * offsets, linalg.transpose(offsets))
    within = mixture.weights * mixture.covariances.dense(mixture.n_features)
    return linalg.symmetrise(jnp.sum(within + between, axis=Axis.components)[0])


def _about_mean(mixture: AbstractGaussianMixture) -> Means:
    r"""$μ_k - \bar μ$."""
    # About a mean, since the sum of the weights is one only to within rounding, which
    # would matter for means far from the origin.
    total = lambda x: jnp.sum(mixture.weights * x, axis=Axis.components, keepdims=True)
    offsets = mixture.means - mixture.means[:, :1]
    return offsets - total(offsets)
