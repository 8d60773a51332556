"""Samples with missing values, which are NaN."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import buckets, inputs
from .._core.aliases import Data, PerDatum
from .._core.likes import DataLike
from .._core.programs import program
from .._covariances import TiedDiagCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, densities
from .._mixture.latent import Latent
from .._sources import Observed
from .denoise import latent_means
from .maps import DiagonalMap
from .posterior import Posterior, posterior


def impute(mixture: AbstractGaussianMixture, x: DataLike | Observed) -> Data:
    r"""Samples with their missing values filled in: the mean of what is missing, given
    what is there.

    **Arguments:**

    - `x`: the samples, shape `(n_samples, n_features)`; NaN marks a missing value, and
        so does a mask or `NA`. A sample without any value becomes the mean of the
        mixture. Or a [`gmmx_eqx.Observed`][] of all features, whose noise counts.

    **Returns:**

    The samples, shape `(n_samples, n_features)`. What is there is not changed.
    """
    if isinstance(x, Observed):
        return _impute_observed(mixture, x)
    return _evaluate(mixture, x, _fill)


def log_prob_observed(mixture: AbstractGaussianMixture, x: DataLike) -> PerDatum:
    r"""The log-density of what is there of every sample, in nats: that of the marginal
    over its features.

    **Arguments:**

    - `x`: the samples, shape `(n_samples, n_features)`; NaN marks a missing value, and
        so does a mask or `NA`. A sample without any value has log-density zero.

    **Returns:**

    Shape `(n_samples,)`. The same as `mixture.log_prob(x)` where nothing is missing.
    """
    return _evaluate(mixture, x, _log_prob)


def _impute_observed(mixture: AbstractGaussianMixture, observed: Observed) -> Data:
    check_mixture(mixture)
    if observed.H is not None:
        raise ValueError(
            "`impute` fills in features, but `x` has an `H` of its own: use "
            "`gmmx_eqx.denoise`, which returns all features."
        )
    latent = Latent.of(observed, mixture.n_components, mixture.n_features)
    with jax.debug_nans(False):
        means = latent_means(mixture, latent)
        return jnp.where(jnp.isnan(observed.y), means, observed.y)


def _evaluate(
    mixture: AbstractGaussianMixture, x: DataLike, fn: Callable[..., Any]
) -> Array:
    check_mixture(mixture)
    # A NaN is no fault here, though JAX may have been told to raise for each.
    with jax.debug_nans(False):
        x = inputs.as_float(x, "x", like=mixture, missing=True)
        numbers = inputs.concrete(x)
        xp = jnp if numbers is None else np
        # In NumPy if they are known: JAX compiles a program for every number of
        # samples.
        given = x if numbers is None else numbers
        present = xp.where(xp.isnan(given), 0, given)
        inputs.as_data(present, n_features=mixture.n_features)
        filled, _ = buckets.fill(x, None, mixture)
    return buckets.cut(_per_row(mixture, filled, fn), x.shape[0])


def _fill(row: Float[Array, " features"], posterior: Posterior) -> Array:
    return jnp.where(jnp.isnan(row), posterior.mean[0], row)


def _log_prob(row: Float[Array, " features"], posterior: Posterior) -> Array:
    del row
    return posterior.log_evidence[0, 0, 0, 0]


@program()
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
                TiedDiagCovariances(1 - mask),
                seen,
                n_observed=jnp.sum(mask),
            ),
        )

    # A matrix per sample and component.
    n_columns = mixture.n_components * mixture.n_features
    return densities.map_chunks(jax.vmap(of_row), x, n_columns, smallest=1)
