"""Moments of parts of the data, each about the means of the mixture at that time."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Flag, Means, PerSample, Residuals, Scalar
from .._core.axes import Axis
from .._core.cholesky import cholesky
from .._core.results import RESULTS
from .._covariances import AbstractCovariances, as_kept, is_tied, statistic_of_kept
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource
from .complete import Complete
from .e_step import Expectation
from .guard import Amplification
from .maximisation import has_collapsed
from .step import MStep


class Running(eqx.Module):
    """A mixture that learns from parts of the data, and how it fares.

    **Attributes:**

    - `mixture`: the current estimate.
    - `log_likelihood`: of the parts since the pass began, in nats: each of the mixture
        before it was learnt from.
    - `result`: `successful`, or why a part was left out: what it led to was no mixture.
    """

    mixture: GaussianMixture
    log_likelihood: Scalar
    result: RESULTS

    @classmethod
    def of(cls, mixture: GaussianMixture) -> "Running":
        """Before the first part."""
        zero = jnp.zeros((), mixture.means.dtype)
        return cls(mixture, zero, RESULTS.successful)

    def learn(
        self, moments: Moments, log_likelihood: Scalar, m_step: MStep
    ) -> tuple["Running", Flag]:
        """After an M-step, unless that leads to no mixture; and whether it failed.

        **Arguments:**

        - `moments`: about the means of the mixture, by the family that `as_kept` gives,
            in any unit of weight.
        - `log_likelihood`: of the samples that they were changed by.
        """
        mixture = self.mixture
        # As many as the data has: a part stands for all of it.
        unit = linalg.safe_divide(m_step.facts.total, moments.total)
        whole = jax.tree.map(lambda leaf: leaf * unit, moments)
        second = statistic_of_kept(mixture.covariances, whole.second)
        expectation = Expectation(
            Moments(whole.count, whole.first, second), log_likelihood
        )
        everywhere = jnp.full(mixture.weights.shape, True)
        new = m_step.maximise(mixture, mixture.means, everywhere, expectation)
        whitening = new.covariances.whitening(new.n_features)
        resolution = m_step.facts.resolution
        collapsed = has_collapsed(
            new, whitening, mixture, resolution, m_step.frozen, m_step.prior
        )
        finite = jnp.isfinite(log_likelihood)
        failed = collapsed | ~finite
        why = RESULTS.where(finite, RESULTS.component_collapsed, RESULTS.nonfinite)
        learnt = Running(
            mixture=jax.tree.map(
                lambda old, new: jnp.where(failed, old, new), mixture, new
            ),
            log_likelihood=self.log_likelihood,
            result=RESULTS.where(failed, why, self.result),
        )
        return learnt, failed

    def count(self, log_likelihood: Scalar) -> "Running":
        """With the log-likelihood of another part."""
        value = self.log_likelihood + log_likelihood
        return eqx.tree_at(lambda running: running.log_likelihood, self, value)

    def begin_pass(self) -> "Running":
        """Before the next pass."""
        none = jnp.zeros_like(self.log_likelihood)
        return eqx.tree_at(lambda running: running.log_likelihood, self, none)


def own_moments(mixture: GaussianMixture) -> Moments:
    """The moments that a mixture itself has, about its means, per unit of weight."""
    kept = as_kept(mixture.covariances)
    _, n_components, n_features, _ = mixture.means.shape
    shape = (1, n_components, n_features, n_features)
    root = jnp.broadcast_to(cholesky(kept.dense(n_features)), shape)
    # As many samples as features, whose scatter matrix is the covariance.
    residuals: Residuals = jnp.moveaxis(root, -1, 0)[:, 0, ..., None]
    resp: PerSample = jnp.broadcast_to(
        mixture.weights, (n_features, n_components, 1, 1)
    )
    return Moments(
        count=mixture.weights,
        first=jnp.zeros_like(mixture.means),
        second=kept.statistic(residuals, resp),
    )


def expect_about_means(mixture: GaussianMixture, source: AbstractSource) -> Expectation:
    """Moments of samples about the means of the mixture, by the family that `as_kept`
    gives.

    **Arguments:**

    - `mixture`: about the source's pivot.
    """
    kept = as_kept(mixture.covariances)
    mixture = GaussianMixture(mixture.weights, mixture.means, kept)
    whitening = kept.whitening(mixture.n_features)
    e_step = Complete.create(source, kept)
    errors = Amplification.of(mixture, whitening, mixture.means)
    is_near = ~errors.is_far_accurate | e_step.is_exact
    if is_tied(kept):
        worst = jnp.any(is_near, axis=Axis.components, keepdims=True)
        is_near = jnp.broadcast_to(worst, is_near.shape)
    expectation = e_step.expect(mixture, whitening, mixture.means, is_near)
    by = jnp.where(is_near, 0, mixture.means)
    moments = recentred(expectation.moments, kept, by)
    return Expectation(moments, expectation.log_likelihood)


def recentred(moments: Moments, kept: AbstractCovariances, by: Means) -> Moments:
    """The moments about another pivot of each component, further on by `by`.

    **Arguments:**

    - `kept`: covariances of the family that the moments are for.
    """
    shift = moments.shift
    # The second moment about a point is that about the samples' own mean, and that of
    # a sample there with the weight of all.
    before = kept.statistic(shift, moments.count)
    after = kept.statistic(shift - by, moments.count)
    return Moments(
        count=moments.count,
        first=moments.first - moments.count * by,
        second=jax.tree.map(
            lambda second, before, after: second - before + after,
            moments.second,
            before,
            after,
        ),
    )


def per_weight(moments: Moments) -> Moments:
    """Sums as means; zero where there is no weight at all."""
    total = moments.total
    return jax.tree.map(lambda leaf: linalg.safe_divide(leaf, total), moments)
