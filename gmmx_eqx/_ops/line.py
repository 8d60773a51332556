"""Cumulative probabilities of a mixture of one feature, to all digits in both tails."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from .._core import inputs, linalg
from .._core.aliases import PerSample, PerSampleTotal, Samples, Weights
from .._core.axes import Axis
from .._core.likes import PointsLike
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture
from .normal import log_ndtr


Points = Float[Array, "..."]


class Line(eqx.Module):
    """The parameters of a mixture of one feature, all `(1, components, 1, 1)`. The
    weights sum to one."""

    weights: Weights
    means: Weights
    scales: Weights

    def standardise(self, x: Samples) -> PerSample:
        return (x - self.means) / self.scales

    def mix(self, values: PerSample) -> PerSampleTotal:
        return jnp.sum(self.weights * values, axis=Axis.components, keepdims=True)

    def log_density(self, x: Samples) -> PerSample:
        z = self.standardise(x)
        return -0.5 * (z**2 + linalg.LOG_2PI) - jnp.log(self.scales)

    def log_prob(self, x: Samples) -> PerSampleTotal:
        return linalg.log_mix(self.log_density(x), self.weights)

    def cumulative(self, x: Samples, *, upper: bool) -> PerSampleTotal:
        """The probability below `x`, or above it."""
        return self.mix(ndtr(self._signed(x, upper)))

    def log_cumulative(self, x: Samples, *, upper: bool) -> PerSampleTotal:
        """To all digits of the logarithm where that is not close to zero."""
        return linalg.log_mix(log_ndtr(self._signed(x, upper)), self.weights)

    def _signed(self, x: Samples, upper: bool) -> PerSample:
        z = self.standardise(x)
        return -z if upper else z


def as_line(mixture: AbstractGaussianMixture, x: Points) -> Line:
    """In the type of `x`."""
    scales = jnp.sqrt(mixture.covariances.variances)
    return Line(
        weights=(mixture.weights / jnp.sum(mixture.weights)).astype(x.dtype),
        means=mixture.means.astype(x.dtype),
        scales=jnp.broadcast_to(scales, mixture.means.shape).astype(x.dtype),
    )


def as_line_samples(x: Points) -> Samples:
    return x.reshape(-1, 1, 1, 1)


def check_line(mixture: AbstractGaussianMixture) -> None:
    check_mixture(mixture)
    if mixture.n_features != 1:
        raise ValueError(
            "`mixture` must have one feature for a cumulative probability; it has "
            f"{mixture.n_features}. Take a marginal of it."
        )


def as_points(x: Any, mixture: AbstractGaussianMixture, name: str) -> Points:
    """Numbers in the wider of their type and the mixture's; a Python number in the
    mixture's."""
    x = inputs.as_float(x, name, like=mixture)
    if x.ndim > 1:
        raise ValueError(
            f"`{name}` must be a number or have shape (n,); got shape {x.shape}."
        )
    return x.astype(inputs.widest([x, mixture.means]))


def cdf(mixture: AbstractGaussianMixture, x: PointsLike) -> Points:
    r"""The cumulative probability $F(x) = \sum_k w_k Φ((x - μ_k) / σ_k)$ of a mixture
    of one feature.

    **Arguments:**

    - `x`: numbers in the units of the data, shape `(n,)` or `()`; infinities too.

    **Returns:** an array of the same shape. Its relative error is small however far out
    on the left `x` is. On the right use [`gmmx_eqx.univariate.survival`][].
    """
    return _cumulative(mixture, x, upper=False, log=False)


def survival(mixture: AbstractGaussianMixture, x: PointsLike) -> Points:
    r"""$1 - F(x)$ of a mixture of one feature, of small relative error however far out
    on the right `x` is; see [`gmmx_eqx.univariate.cdf`][]."""
    return _cumulative(mixture, x, upper=True, log=False)


def log_cdf(mixture: AbstractGaussianMixture, x: PointsLike) -> Points:
    r"""$\log F(x)$ of a mixture of one feature, finite where $F(x)$ underflows; see
    [`gmmx_eqx.univariate.cdf`][]."""
    return _cumulative(mixture, x, upper=False, log=True)


def log_survival(mixture: AbstractGaussianMixture, x: PointsLike) -> Points:
    r"""$\log(1 - F(x))$ of a mixture of one feature; see
    [`gmmx_eqx.univariate.log_cdf`][]."""
    return _cumulative(mixture, x, upper=True, log=True)


def _cumulative(
    mixture: AbstractGaussianMixture, x: Any, *, upper: bool, log: bool
) -> Points:
    check_line(mixture)
    x = as_points(x, mixture, "x")
    return _of_points(mixture, x, upper, log)


@program()
def _of_points(
    mixture: AbstractGaussianMixture, x: Points, upper: bool, log: bool
) -> Points:
    line = as_line(mixture, x)
    # Infinite points have derivatives of zero, not of zero times infinity.
    infinite = jnp.isinf(x)
    samples = as_line_samples(jnp.where(infinite, 0, x))
    values = line.cumulative(samples, upper=upper)
    zero, one = 0, 1
    if log:
        zero, one = -jnp.inf, 0
        rest = line.cumulative(samples, upper=not upper)
        small = line.log_cumulative(samples, upper=upper)
        is_large = rest < 0.5
        values = jnp.where(is_large, jnp.log1p(-jnp.where(is_large, rest, 0)), small)
    values = values.reshape(x.shape)
    return jnp.where(infinite, jnp.where((x > 0) == upper, zero, one), values)
