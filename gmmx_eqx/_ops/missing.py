"""Samples with missing values, which are NaN."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Data, PerDatum
from .._core.likes import DataLike
from .._mixture import AbstractGaussianMixture, check_mixture, densities
from .maps import DiagonalMap
from .posterior import Posterior, posterior


def impute(mixture: AbstractGaussianMixture, x: DataLike) -> Data:
    r"""Samples with their missing values filled in: the mean of what is missing, given
    what is there.

    **Arguments:**

    - `x`: the samples, shape `(n_samples, n_features)`; NaN marks a missing value. A
        sample without any value becomes the mean of the mixture.

    **Returns:**

    The samples, shape `(n_samples, n_features)`. What is there is not changed.
    """
    return _per_row(mixture, _as_data(mixture, x), _fill)


def log_prob_observed(mixture: AbstractGaussianMixture, x: DataLike) -> PerDatum:
    r"""The log-density of what is there of every sample, in nats: that of the marginal
    over its features.

    **Arguments:**

    - `x`: the samples, shape `(n_samples, n_features)`; NaN marks a missing value. A
        sample without any value has log-density zero.

    **Returns:**

    Shape `(n_samples,)`. The same as `mixture.log_prob(x)` where nothing is missing.
    """
    return _per_row(mixture, _as_data(mixture, x), _log_prob)


def _as_data(mixture: AbstractGaussianMixture, x: DataLike) -> Data:
    check_mixture(mixture)
    # A NaN is no fault here, though JAX may have been told to raise for each.
    with jax.debug_nans(False):
        x = inputs.as_float(x, "x")
    present = jnp.where(jnp.isnan(x), 0, x)
    inputs.as_data(present, n_features=mixture.n_features)
    return x


def _fill(row: Float[Array, " features"], posterior: Posterior) -> Array:
    return jnp.where(jnp.isnan(row), posterior.mean[0], row)


def _log_prob(row: Float[Array, " features"], posterior: Posterior) -> Array:
    del row
    return posterior.log_evidence[0, 0, 0, 0]


@eqx.filter_jit
def _per_row(
    mixture: AbstractGaussianMixture, x: Data, fn: Callable[..., Any]
) -> Array:
    mixture, x = inputs.common_dtype(mixture, x)

    def of_row(row: Float[Array, " features"]) -> Array:
        # A missing value is multiplied by zero, and what is seen of it is a standard
        # normal's zero: rows with other gaps have the same shape.
        present = ~jnp.isnan(row)
        mask = present.astype(row.dtype)[None, None, :, None]
        seen = jnp.where(present, row, 0)[None, None, :, None]
        return fn(
            row,
            posterior(
                mixture.weights,
                mixture.means,
                mixture.covariances,
                DiagonalMap(mask),
                1 - mask,
                seen,
                n_observed=jnp.sum(mask),
            ),
        )

    # A matrix per sample and component.
    n_columns = mixture.n_components * mixture.n_features
    return densities.map_chunks(jax.vmap(of_row), x, n_columns, smallest=1)
