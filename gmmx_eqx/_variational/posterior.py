import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float

from .._core import inputs, linalg
from .._core.aliases import Count, Data, Means, PerDatum, Scalar, Weights
from .._core.axes import as_columns, Axis
from .._core.describe import as_key
from .._core.likes import DataLike, KeyLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._core.results import is_any, RESULTS
from .._covariances import AbstractCovariances, draw, wishart
from .._mixture import GaussianMixture
from .._mixture.densities import map_chunks
from .weights import DirichletPosterior, StickPosterior


class Posterior(Pickled, eqx.Module):
    r"""What is known of a mixture after the data: the best approximation of the
    posterior of its parameters in which weights and components are independent.

    $μ_k | Σ_k \sim N(m_k, Σ_k / κ_k)$, and the precision $Σ_k^{-1}$ has a Wishart
    distribution of $ν_k$ degrees of freedom; gamma distributions, where features are
    independent.

    **Attributes:**

    - `weights`: the distribution of the weights, with their `mean`, their
        `expected_logs`, `sample(key)` and the `divergence()` from their prior.
    - `means`: $m_k$, shape `(1, components, features, 1)`.
    - `covariances`: inverses of the expected precisions.
    - `shrinkage`: $κ_k$, shape `(1, components, 1, 1)`.
    - `degrees_of_freedom`: $ν_k$, of the same shape; `(1, 1, 1, 1)` if one covariance
        serves all components.
    - `bound`: a lower bound of the log evidence, in nats.
    - `bounds`: after 1, 2, … steps; beyond `n_steps`, the last one is repeated.
    - `n_steps`: how many steps were taken.
    - `result`: how the fit ended, a [`gmmx_eqx.RESULTS`][].
    """

    weights: DirichletPosterior | StickPosterior
    means: Means
    covariances: AbstractCovariances
    shrinkage: Weights
    degrees_of_freedom: Float[Array, "1 _ 1 1"]
    bound: Scalar
    bounds: Float[Array, " history"]
    n_steps: Count
    result: RESULTS

    @property
    def converged(self) -> Bool[Array, "..."]:
        """Whether `result` is `successful`."""
        return is_any(self.result, RESULTS.successful)

    @property
    def mixture(self) -> GaussianMixture:
        """The mixture of the expected weights, means and precisions."""
        return GaussianMixture(self.weights.mean, self.means, self.covariances)

    def log_prob(self, x: DataLike) -> PerDatum:
        """The log-density of a new sample, parameters integrated out: a mixture of
        Student's t distributions, shape `(n_samples,)`."""
        x, _ = inputs.as_data(x, n_features=self.means.shape[Axis.features])
        return _log_prob(self, x)

    def sample(self, key: KeyLike) -> GaussianMixture:
        """A whole mixture from the posterior."""
        return _sample(self, as_key(key))


@program()
def _log_prob(posterior: Posterior, x: Data) -> PerDatum:
    posterior, x = inputs.common_dtype(posterior, x)
    means = posterior.means
    d = means.shape[Axis.features]
    whitening = posterior.covariances.whitening(d, tolerant=True)
    kind = wishart(posterior.covariances, d)
    kappa, nu = posterior.shrinkage, posterior.degrees_of_freedom
    degrees = nu - d + 1 if kind.is_matrix else nu
    # The squares that are added before the logarithm: of every feature on its own, if
    # each has a variance of its own.
    each = kind.n_own == d and not kind.is_matrix
    size = 1 if each else d
    spread = (kappa + 1) / kappa * (nu / degrees)
    constant = gammaln(0.5 * (degrees + size)) - gammaln(0.5 * degrees)
    constant = constant - 0.5 * size * jnp.log(math.pi * degrees * spread)
    constant = (d // size) * constant - 0.5 * whitening.log_det

    def of_chunk(rows: Data) -> PerDatum:
        columns = as_columns(inputs.as_samples(rows))
        squares = whitening.whiten(linalg.residuals(columns, means)) ** 2
        if not each:
            squares = jnp.sum(squares, axis=Axis.features, keepdims=True)
        logs = jnp.log1p(squares / (degrees * spread))
        logs = jnp.sum(logs, axis=Axis.features, keepdims=True)
        log_density = constant - 0.5 * (degrees + size) * logs
        return linalg.log_mix(log_density, posterior.weights.mean)[0, 0, 0]

    return map_chunks(of_chunk, x, means.shape[Axis.components])


@program()
def _sample(posterior: Posterior, key: Any) -> GaussianMixture:
    keys = jr.split(key, 3)
    means = posterior.means
    _, n_components, _, _ = means.shape
    covariances = draw(posterior.covariances, keys[0], posterior.degrees_of_freedom)
    noise = jr.normal(keys[1], means.shape, means.dtype)
    # Each component's noise as a sample of its own.
    batch = jnp.swapaxes(noise, Axis.batch, Axis.components)
    labels = jnp.arange(n_components).reshape(-1, 1, 1, 1)
    gap = jnp.swapaxes(covariances.colour(batch, labels), Axis.batch, Axis.components)
    return GaussianMixture(
        posterior.weights.sample(keys[2]),
        means + gap / jnp.sqrt(posterior.shrinkage),
        covariances,
    )
