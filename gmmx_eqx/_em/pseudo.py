"""Second moments of what was not seen, in the form that a family's M-step needs."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core.aliases import Statistic
from .._covariances import AbstractCovariances, AbstractMatrices, is_tied


# `singledispatch` for speed alone: the rule without a family is right for every one.
@ft.singledispatch
def statistic_of(
    covariances: AbstractCovariances, second: Float[Array, "k d d"]
) -> Statistic:
    r"""The family's statistic of samples with these second moments.

    A statistic is linear in $r r^T$, and a symmetric matrix is a sum of such products:
    $M = \sum_{i<j} M_{ij} (e_i + e_j)(e_i + e_j)^T + \sum_i (M_{ii} - \sum_{j \ne i}
    M_{ij}) e_i e_i^T$. So $d (d + 1) / 2$ residuals with weights, some of them
    negative, are as good as all samples.
    """
    k, d, _ = second.shape
    # In units of their own, so that no large feature's rounding meets a small one.
    diagonal = jnp.diagonal(second, axis1=1, axis2=2)
    unit = jax.lax.stop_gradient(jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)))
    scaled = second / (unit[:, :, None] * unit[:, None])
    rows, cols = np.triu_indices(d, 1)
    off = scaled[:, rows, cols]
    both = np.eye(d)[rows] + np.eye(d)[cols]
    own = 2 * jnp.diagonal(scaled, axis1=1, axis2=2) - jnp.sum(scaled, axis=2)
    vectors = jnp.asarray(np.concatenate([np.eye(d), both]), second.dtype)
    weights = jnp.concatenate([own, off], axis=1)
    residuals = vectors[:, None, :, None] * unit[None, :, :, None]
    return covariances.statistic(residuals, weights.T[:, :, None, None])


@statistic_of.register(AbstractMatrices)
def _(covariances, second):
    if is_tied(covariances):
        return jnp.sum(second, axis=0, keepdims=True)[None]
    return second[None]
