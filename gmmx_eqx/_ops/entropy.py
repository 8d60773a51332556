"""Bounds of a mixture's entropy, in closed form."""

import equinox as eqx
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Scalar
from .._core.axes import Axis
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture
from . import gaussians, pairwise
from .gaussians import Gaussians


class Bounds(eqx.Module):
    """What a number lies between, in nats.

    **Attributes:**

    - `lower`, `upper`: scalars.
    """

    lower: Scalar
    upper: Scalar


def entropy_bounds(mixture: AbstractGaussianMixture) -> Bounds:
    r"""Bounds of the differential entropy $H(p) = -\int p \log p$, in nats.

    Below, the larger of two: Jensen's (Huber et al., theorem 2) and the one from
    pairwise Bhattacharyya distances (Kolchinsky & Tracey). Above, the smaller of two:
    the one from pairwise Kullback-Leibler divergences (Kolchinsky & Tracey), which is
    never above Huber's, and the entropy of the Gaussian with the mixture's mean and
    covariance.

    Components far apart or all alike make the bounds meet.

    ??? cite "Reference"

        Huber, Bailey, Durrant-Whyte, Hanebeck (2008), On Entropy Approximation for
        Gaussian Mixture Random Vectors. IEEE MFI.

        Kolchinsky, Tracey (2017), Estimating Mixture Entropy with Pairwise Distances.
        Entropy 19(7), 361.
    """
    check_mixture(mixture)
    return _entropy_bounds(mixture)


@program()
def _entropy_bounds(mixture: AbstractGaussianMixture) -> Bounds:
    return bounds(mixture)


def bounds(mixture: AbstractGaussianMixture) -> Bounds:
    p, q = gaussians.pair(mixture, mixture)
    weights = mixture.weights
    mean_log = lambda log_kernel: gaussians.average(
        weights, linalg.log_mix(log_kernel, weights)
    )
    own = gaussians.average(weights, pairwise.entropy(p))
    jensen = -mean_log(pairwise.log_overlap(p, q))
    chernoff = own - mean_log(-pairwise.bhattacharyya(p, q))
    divergence = own - mean_log(-pairwise.kl(p, q))
    return Bounds(
        lower=jnp.maximum(jensen, chernoff),
        upper=jnp.minimum(divergence, _entropy_of_pooled(mixture, q)),
    )


def _entropy_of_pooled(mixture: AbstractGaussianMixture, q: Gaussians) -> Scalar:
    """Of the Gaussian with the same mean and covariance: none has more."""
    weights = mixture.weights / jnp.sum(mixture.weights)
    over = lambda x: jnp.sum(weights * x, axis=Axis.components, keepdims=True)
    # One product, (features, components) by (components, features).
    residuals = jnp.swapaxes(q.means - over(q.means), Axis.components, -1)
    scaled = jnp.swapaxes(weights, Axis.components, -1) * residuals
    between = linalg.matmul(scaled, linalg.transpose(residuals))
    within = over(q.values)
    if q.diagonal:
        within = linalg.diagonal(within)
    values = linalg.symmetrise(within + between)
    pooled = Gaussians(over(q.means), values, diagonal=False)
    return pairwise.entropy(pooled)[0, 0, 0, 0]
