"""Divergences and overlaps between single Gaussians, in closed form."""

import math

import equinox as eqx
import jax.numpy as jnp

from .._core import linalg
from .._core.axes import Axis
from .._covariances import factor
from .._mixture import AbstractGaussianMixture
from . import gaussians
from .arguments import check_pair
from .gaussians import Gaussians, Pairs, PairsTable


def pairwise_kl(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> PairsTable:
    r"""The Kullback-Leibler divergence $D(p_a \| q_b)$, in nats, of every component of
    `first` from every one of `second`; shape `(components, other_components)`.

    Holds a matrix for every pair, unless both families are diagonal.
    """
    first, second = check_pair(first, second)
    return _pairwise_kl(first, second)


@eqx.filter_jit
def _pairwise_kl(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> PairsTable:
    shape = (first.n_components, second.n_components)
    return gaussians.table(kl(*gaussians.pair(first, second)), shape)


def kl(p: Gaussians, q: Gaussians) -> Pairs:
    u = q.u
    distance = gaussians.squared_norm(factor.whiten(u, p.means - q.means))
    if factor.is_diagonal(p.values):
        # t - 1 - log t, whose digits are not lost at t = 1.
        excess = (p.values - q.values) * u**2
        near = jnp.abs(excess) < 0.5
        log_ratio = jnp.where(
            near,
            jnp.log1p(jnp.where(near, excess, 0)),
            jnp.log(p.values) + 2 * jnp.log(u),
        )
        spread = jnp.sum(excess - log_ratio, axis=Axis.features, keepdims=True)
    else:
        ratio = 2 * (factor.log_det(u) - factor.log_det(p.u))
        trace = gaussians.squared_norm(factor.whiten(u, p.lower))
        spread = trace - p.n_features - ratio
    return 0.5 * (spread + distance)


def entropy(p: Gaussians) -> Pairs:
    r"""$\frac{1}{2} \log |2 π e Σ|$, in nats."""
    return 0.5 * p.n_features * (linalg.LOG_2PI + 1) - factor.log_det(p.u)


def log_overlap(p: Gaussians, q: Gaussians) -> Pairs:
    r"""$\log \int p_a q_b = \log N(μ_a | μ_b, Σ_a + Σ_b)$."""
    distance, log_det = _of_sum(p, q)
    return log_det - 0.5 * (distance + p.n_features * linalg.LOG_2PI)


def bhattacharyya(p: Gaussians, q: Gaussians) -> Pairs:
    r"""$-\log \int \sqrt{p_a q_b}$."""
    distance, log_det = _of_sum(p, q)
    own = factor.log_det(p.u) + factor.log_det(q.u)
    ratio = own - 2 * log_det - p.n_features * math.log(2)
    return 0.25 * distance + 0.5 * ratio


def _of_sum(p: Gaussians, q: Gaussians) -> tuple[Pairs, Pairs]:
    r"""The squared Mahalanobis distance for the sum of the covariances, and
    $\log |U|$ of the sum."""
    u = Gaussians(p.means - q.means, p.values + q.values).u
    distance = gaussians.squared_norm(factor.whiten(u, p.means - q.means))
    return distance, factor.log_det(u)
