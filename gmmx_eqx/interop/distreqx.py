"""A mixture as a distribution of distreqx."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.aliases import Scalar
from .._mixture import AbstractGaussianMixture, check_mixture
from .._ops.line import cdf, log_cdf, log_survival, survival
from .._ops.moments import covariance, mean
from .._ops.quantiles import quantile
from . import points
from .points import Point


try:
    from distreqx.distributions import (
        AbstractProbDistribution,
        AbstractSampleLogProbDistribution,
        AbstractSTDDistribution,
    )
except ImportError as _error:
    raise ImportError(
        "This needs distreqx, which is an optional extra: "
        '`pip install "gmmx_eqx[distreqx]"`.'
    ) from _error


class MixtureDistribution(
    AbstractSTDDistribution,
    AbstractSampleLogProbDistribution,
    AbstractProbDistribution,
    strict=True,
):
    """A `distreqx.distributions.AbstractDistribution` of the points of a mixture.

    As everywhere in distreqx methods are for one event, here a point of shape
    `(n_features,)`; `jax.vmap` them for many. A mixture of one feature has cumulative
    probabilities and quantiles, too.

    What has no closed form raises a `NotImplementedError` that names what there is.

    **Attributes:**

    - `mixture`: the mixture, of any kind.
    """

    mixture: AbstractGaussianMixture

    def __check_init__(self) -> None:
        check_mixture(self.mixture)

    @property
    def event_shape(self) -> tuple[int]:
        """`(n_features,)`."""
        return (self.mixture.n_features,)

    def sample(self, key: Any) -> Point:
        """One point. Its derivatives are those of `mixture.sample`."""
        return points.sample(self.mixture, key)

    def log_prob(self, value: Any) -> Scalar:
        """The log-density of one point, in nats."""
        return points.log_prob(self.mixture, value)

    def mean(self) -> Point:
        """Shape `(n_features,)`."""
        return mean(self.mixture)

    def variance(self) -> Point:
        """Of every feature, shape `(n_features,)`."""
        return jnp.diagonal(self.covariance())

    def covariance(self) -> Float[Array, "features features"]:
        """Shape `(n_features, n_features)`, in squared data units."""
        return covariance(self.mixture)

    def cdf(self, value: Any) -> Scalar:
        """The probability below `value`, of a mixture of one feature."""
        return cdf(self._line("cdf"), value)[0]

    def log_cdf(self, value: Any) -> Scalar:
        """The logarithm of `cdf`, finite where that underflows."""
        return log_cdf(self._line("log_cdf"), value)[0]

    def survival_function(self, value: Any) -> Scalar:
        """The probability above `value`, of a mixture of one feature."""
        return survival(self._line("survival_function"), value)[0]

    def log_survival_function(self, value: Any) -> Scalar:
        """The logarithm of `survival_function`, finite where that underflows."""
        return log_survival(self._line("log_survival_function"), value)[0]

    def icdf(self, value: Any) -> Point:
        """The quantile of a probability, of a mixture of one feature; shape `(1,)`."""
        return quantile(self._line("icdf"), value)[None]

    def median(self) -> Point:
        """Of a mixture of one feature; shape `(1,)`."""
        return quantile(self._line("median"), 0.5)[None]

    def mode(self) -> Point:
        """Not in closed form: raises."""
        raise NotImplementedError("A mixture's mode has no closed form.")

    def entropy(self) -> Scalar:
        """Not in closed form: raises."""
        raise NotImplementedError(
            "A mixture's entropy has no closed form. Use "
            "`gmmx_eqx.divergences.entropy_bounds` or "
            "`gmmx_eqx.divergences.entropy_monte_carlo`."
        )

    def kl_divergence(self, other_dist: Any, **kwargs: Any) -> Scalar:
        """Not in closed form: raises."""
        del other_dist, kwargs
        raise NotImplementedError(
            "The Kullback-Leibler divergence between mixtures has no closed form. Use "
            "`kl_bounds`, `kl_variational` or `kl_monte_carlo` of "
            "`gmmx_eqx.divergences`."
        )

    def _line(self, method: str) -> AbstractGaussianMixture:
        if self.mixture.n_features > 1:
            raise NotImplementedError(
                f"`{method}` is for a mixture of one feature; this one has "
                f"{self.mixture.n_features}. Take a `gmmx_eqx.marginal`."
            )
        return self.mixture
