"""Divergences and overlaps between single Gaussians, in closed form."""

import math

import jax.numpy as jnp

from .._core import linalg
from .._core.axes import Axis
from .._core.programs import program
from .._mixture import AbstractGaussianMixture
from . import gaussians
from .arguments import check_pair
from .gaussians import Gaussians, Pairs, PairsTable


def kl_pairwise(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> PairsTable:
    r"""The Kullback-Leibler divergence $D(p_a \| q_b)$, in nats, of every component of
    `first` from every one of `second`; shape `(components, other_components)`.

    Holds a matrix for every pair, unless both families are diagonal.
    """
    first, second = check_pair(first, second)
    return _pairwise_kl(first, second)


@program()
def _pairwise_kl(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> PairsTable:
    shape = (first.n_components, second.n_components)
    return gaussians.table(kl(*gaussians.pair(first, second)), shape)


def kl(p: Gaussians, q: Gaussians) -> Pairs:
    whitening = q.whitening
    distance = gaussians.squared_norm(whitening.whiten(p.means - q.means))
    if p.diagonal:
        # t - 1 - log t, whose digits are not lost at t = 1.
        excess = (p.values - q.values) * whitening.precision_diagonal
        near = jnp.abs(excess) < 0.5
        log_ratio = jnp.where(
            near,
            jnp.log1p(jnp.where(near, excess, 0)),
            jnp.log(p.values) - jnp.log(q.values),
        )
        spread = jnp.sum(excess - log_ratio, axis=Axis.features, keepdims=True)
    else:
        ratio = p.whitening.log_det - whitening.log_det
        trace = gaussians.squared_norm(whitening.whiten(p.lower))
        spread = trace - p.n_features - ratio
    return 0.5 * (spread + distance)


def entropy(p: Gaussians) -> Pairs:
    r"""$\frac{1}{2} \log |2 π e Σ|$, in nats."""
    return 0.5 * (p.n_features * (linalg.LOG_2PI + 1) + p.whitening.log_det)


def log_overlap(p: Gaussians, q: Gaussians) -> Pairs:
    r"""$\log \int p_a q_b = \log N(μ_a | μ_b, Σ_a + Σ_b)$."""
    distance, log_det = _of_sum(p, q)
    return -0.5 * (log_det + distance + p.n_features * linalg.LOG_2PI)


def bhattacharyya(p: Gaussians, q: Gaussians) -> Pairs:
    r"""$-\log \int \sqrt{p_a q_b}$."""
    distance, log_det = _of_sum(p, q)
    own = 0.5 * (p.whitening.log_det + q.whitening.log_det)
    ratio = log_det - own - p.n_features * math.log(2)
    return 0.25 * distance + 0.5 * ratio


def _of_sum(p: Gaussians, q: Gaussians) -> tuple[Pairs, Pairs]:
    r"""The squared Mahalanobis distance for the sum of the covariances, and
    log-determinant of that sum."""
    residuals = p.means - q.means
    whitening = Gaussians(residuals, p.values + q.values, p.diagonal).whitening
    distance = gaussians.squared_norm(whitening.whiten(residuals))
    return distance, whitening.log_det
