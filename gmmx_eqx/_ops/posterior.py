r"""Bayes' rule for a mixture: what $y = H x + ε$ says about $x$."""

from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    Means,
    PerSample,
    PerSampleTotal,
    Scalar,
    Weights,
)
from .._core.axes import as_columns, Axis
from .._covariances import (
    AbstractCovariances,
    DiagCovariances,
    is_tied,
    TiedDiagCovariances,
)
from .families import is_independent
from .features import Features
from .gaussian import log_density_of, update
from .maps import AbstractMap, DiagonalMap, Observations


MeanColumns: TypeAlias = Float[Array, "one=1 components dimensions samples"]


class Posterior(eqx.Module):
    r"""The parameters of many posteriors, whose covariances are the same.

    **Attributes:**

    - `weights`: shape `(samples, components, 1, 1)`.
    - `means`: shape `(1, components, features, samples)`.
    - `covariances`: of all samples.
    - `log_evidence`: $\log p(y)$, in nats, shape `(samples, 1, 1, 1)`.
    """

    weights: PerSample
    means: MeanColumns
    covariances: AbstractCovariances
    log_evidence: PerSampleTotal

    @property
    def mean(self) -> Float[Array, "samples features"]:
        """Of each mixture as a whole."""
        mean = jnp.sum(as_columns(self.weights) * self.means, axis=Axis.components)
        return mean[0].T


def posterior(
    weights: Weights,
    means: Means,
    covariances: AbstractCovariances,
    operator: AbstractMap,
    noise: AbstractCovariances,
    y: Observations,
    n_observed: Scalar | None = None,
) -> Posterior:
    r"""**Arguments:**

    - `noise`: $R$, for each component or one for all.
    - `y`: shape `(samples, 1 or components, outputs, 1)`.
    - `n_observed`: how many outputs are there; all if not given. The others must be
        those of a standard normal at zero.
    """
    n_components, n_features = means.shape[1:3]
    n_outputs = y.shape[Axis.features]
    count = jnp.asarray(n_outputs, y.dtype) if n_observed is None else n_observed
    if isinstance(operator, Features) and is_independent(noise):
        if is_independent(covariances):
            operator, noise, y = _lift(operator, noise, y, n_features)
    new = update(covariances, operator, noise, n_components, n_features)
    residuals = as_columns(y) - operator(means)
    log_density = log_density_of(new.whitening, residuals, count)
    return Posterior(
        weights=linalg.responsibilities(log_density, weights),
        means=means + new.gain(residuals),
        covariances=new.covariances,
        log_evidence=linalg.log_mix(log_density, weights),
    )


def _lift(
    features: Features, noise: AbstractCovariances, y: Observations, n_features: int
) -> tuple[DiagonalMap, AbstractCovariances, Array]:
    """An observation of some features as one of all: the others are multiplied by zero,
    and what is seen of them is a standard normal's zero."""
    index = jnp.asarray(features.indices)
    shape = (y.shape[0], y.shape[1], n_features, 1)
    mask = jnp.zeros((1, 1, n_features, 1), y.dtype).at[:, :, index].set(1)
    variances = noise.variances
    ones = jnp.ones((1, noise.n_components, n_features, 1), y.dtype)
    family = TiedDiagCovariances if is_tied(noise) else DiagCovariances
    return (
        DiagonalMap(mask),
        family(ones.at[:, :, index].set(variances)),
        jnp.zeros(shape, y.dtype).at[:, :, index].set(y),
    )
