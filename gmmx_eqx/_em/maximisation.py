import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Flag, PerFeature, Pivot, Scalar, Weights
from .._core.axes import Axis
from .._covariances import AbstractWhitening, at_least, where_components
from .._mixture import GaussianMixture
from .._moments import Moments
from .._priors import LogPrior
from .frozen import column, Frozen


def maximise(
    moments: Moments,
    previous: GaussianMixture,
    pivot: Pivot,
    reg_covar: PerFeature,
    frozen: Frozen | None = None,
    equal_weights: bool = False,
    prior: LogPrior | None = None,
    counted: Scalar | None = None,
    slack: PerFeature | None = None,
) -> GaussianMixture:
    """The M-step: the most likely mixture given its moments or, with a prior, the most
    probable one. It never sees data.

    **Arguments:**

    - `moments`: about `pivot`.
    - `previous`: a component that no sample belongs to keeps its mean and covariance
        from here, with a weight of zero.
    - `pivot`: shape `(1, components or 1, features, 1)`.
    - `reg_covar`: added to the diagonal, shape `(1, 1, features, 1)`, in squared data
        units.
    - `frozen`: what to keep from `previous`. The rest is the most likely given that.
    - `equal_weights`: whether all components that samples belong to get the same
        weight.
    - `prior`: of components that have a weight in `previous`.
    - `counted`: the weight of all samples, where some belong to a background. What
        the weights of components leave is its weight; a prior and frozen weights are of
        the components' shares.
    - `slack`: variances that covariances are at least, without their ridge.
    """
    count, active = moments.count, previous.weights > 0
    pseudo = None if prior is None else prior.components
    if pseudo is not None:
        moments = pseudo.at_mean(moments, previous.covariances, active, pivot)
    occupied = moments.count > 0
    if frozen is not None:
        # A second moment about the frozen mean is that about the samples' own, and that
        # of a sample at the latter with the weight of all.
        gap = moments.shift - (previous.means - pivot)
        gap = jnp.where(column(frozen.means) & occupied, gap, 0)
        more = previous.covariances.statistic(gap, moments.count)
        second = jax.tree.map(jnp.add, moments.second, more)
        moments = Moments(moments.count, moments.first, second)
    shift = moments.shift
    if pseudo is not None:
        moments = pseudo.about_mean(moments, previous.covariances, active)
    covariances = previous.covariances.estimate(moments, reg_covar)
    if slack is not None:
        covariances = at_least(covariances, slack + reg_covar)
    covariances = where_components(occupied, covariances, previous.covariances)
    mixture = GaussianMixture(
        weights=_shares(count, counted)
        if prior is None
        else prior.weights(count, active),
        means=jnp.where(occupied, pivot + shift, previous.means),
        covariances=covariances,
    )
    if frozen is not None:
        mixture = frozen.pin(mixture, previous, is_whole=counted is None)
    if equal_weights:
        mixture = with_equal_weights(mixture)
    if counted is None:
        return mixture
    # The complete-data likelihood is a product of a factor with the background's weight
    # and one with the shares of the components, so each has its own maximum.
    weights = mixture.weights * (_sum(count) / counted)
    return GaussianMixture(weights, mixture.means, mixture.covariances)


def _shares(count: Weights, counted: Scalar | None) -> Weights:
    total = _sum(count)
    # All samples may belong to a background.
    return count / total if counted is None else linalg.safe_divide(count, total)


def _sum(count: Weights) -> Float[Array, "1 1 1 1"]:
    return jnp.sum(count, axis=Axis.components, keepdims=True)


def with_equal_weights(mixture: GaussianMixture) -> GaussianMixture:
    """The mixture with the same weight for every component whose weight is not
    zero."""
    active = (mixture.weights > 0).astype(mixture.weights.dtype)
    weights = active / jnp.sum(active, axis=Axis.components, keepdims=True)
    return GaussianMixture(weights, mixture.means, mixture.covariances)


def has_collapsed(
    mixture: GaussianMixture,
    whitening: AbstractWhitening,
    previous: GaussianMixture,
    resolution: PerFeature,
    frozen: Frozen | None = None,
    prior: LogPrior | None = None,
) -> Flag:
    """Whether a component that had samples is left with none, or with a covariance that
    is singular to working precision.

    **Arguments:**

    - `whitening`: the mixture's factorised covariances.
    - `resolution`: the variance of each feature below which samples cannot be told
        apart, shape `(1, 1, features, 1)`.
    - `frozen`: a frozen covariance is as it was meant to be.
    - `prior`: with one, a component of weight zero has been dropped.
    """
    covariances = mixture.covariances
    active = previous.weights > 0
    if prior is not None:
        active = active & (mixture.weights > 0)
    variances = covariances.variances
    precisions = whitening.precision_diagonal
    # The share of a feature's variance that the other features do not explain is
    # 1 / (precision * variance). NaN must fail, so the tests are of what is sound.
    eps = float(jnp.finfo(variances.dtype).eps)
    independent = variances * precisions * eps < 1
    resolved = (variances > resolution) & independent
    sound = jnp.all(resolved, axis=Axis.features, keepdims=True)
    if frozen is not None:
        sound = sound | column(frozen.covariances)
    return jnp.any(active & ~(sound & (mixture.weights > 0)))
