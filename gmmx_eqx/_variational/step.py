"""One step of variational inference: the E-step and the M-step of EM, with other
constants in the one and other divisors in the other."""

from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means, PerComponentFlag, PerFeature, Scalar, Weights
from .._core.axes import as_columns, Axis
from .._covariances import (
    AbstractCovariances,
    AbstractWhitening,
    is_tied,
    Wishart,
    wishart,
)
from .._em import AbstractEStep, Expectation, MStep
from .._em.step import accurate, Attempt
from .._mixture import GaussianMixture
from .._moments import Moments
from .._priors import Dirichlet, PseudoSamples, StickBreaking
from .weights import DirichletPosterior, posterior_of_weights, StickPosterior


# One number serves all components if one covariance does.
Degrees: TypeAlias = Float[Array, "1 _ 1 1"]


class Turn(NamedTuple):
    """What a step found.

    - `log_normaliser`: of the responsibilities before the step, over all samples.
    - `divergence`: of the parameters before the step from their prior.
    """

    mixture: GaussianMixture
    counts: Weights
    log_normaliser: Scalar
    divergence: Scalar


class VariationalStep(eqx.Module):
    r"""A step of coordinate ascent on the bound of the log evidence.

    $\operatorname{E} \log w_k N(x | μ_k, Σ_k)$ is the log-density of a Gaussian with
    the expected mean and precision, but for a constant. So a posterior is a mixture
    here, whose weights have these constants in them and do not add up to one, and what
    is computed of samples is what EM computes.

    **Attributes:**

    - `e_step`: a [`gmmx_eqx.extend.AbstractEStep`][].
    - `m_step`: a [`gmmx_eqx.extend.MStep`][], which says whether moments are accurate.
    - `components`: the prior of the components.
    - `weights`: that of the weights.
    - `ridge`: a variance that every sample has around itself, for each feature, in
        squared data units; or `None`.
    """

    e_step: AbstractEStep
    m_step: MStep
    components: PseudoSamples
    weights: Dirichlet | StickBreaking
    ridge: PerFeature | None = None

    def __call__(self, mixture: GaussianMixture, counts: Weights) -> Turn:
        """**Arguments:**

        - `mixture`: with the constants in its weights.
        - `counts`: of the samples that it was made of.
        """
        end = self.attempt(mixture)
        divergence = self.divergence(mixture, end.whitening_before, counts)
        expectation = end.expectation
        new = expectation.moments.count
        return Turn(end.mixture, new, expectation.log_likelihood, divergence)

    def attempt(self, mixture: GaussianMixture) -> Attempt:
        """The step from a mixture with the constants in its weights, with all that was
        found on the way."""
        return accurate(self.e_step, self.m_step, self.maximise, mixture)

    def parts(
        self, mixture: GaussianMixture, counts: Weights
    ) -> tuple[DirichletPosterior | StickPosterior, Weights, Degrees]:
        """The posterior of the weights, shrinkages and degrees of freedom."""
        density, each = self.components.density, counts
        if is_tied(mixture.covariances):
            each = jnp.sum(counts, axis=Axis.components, keepdims=True)
        degrees = density.degrees + self._kind(mixture).n_alike * each
        weights = posterior_of_weights(self.weights, counts)
        return weights, self.components.shrinkage + counts, degrees

    def _kind(self, mixture: GaussianMixture) -> Wishart:
        return wishart(mixture.covariances, mixture.n_features)

    def constants(self, mixture: GaussianMixture, counts: Weights) -> Weights:
        r"""$\operatorname{E} \log w_k N(x | μ_k, Σ_k)$ less the log-density of the
        Gaussian with the expected mean and precision."""
        weights, shrinkage, degrees = self.parts(mixture, counts)
        logs = weights.expected_logs + 0.5 * self._kind(mixture).log_ratio(degrees)
        return logs - 0.5 * mixture.n_features / shrinkage

    def maximise(
        self,
        mixture: GaussianMixture,
        pivot: Means,
        is_near: PerComponentFlag,
        expectation: Expectation,
    ) -> GaussianMixture:
        """The posterior of moments about `pivot` of near components, about the source's
        pivot of others."""
        moments, covariances = expectation.moments, mixture.covariances
        counts, every = moments.count, jnp.ones_like(is_near)
        about = jnp.where(is_near, pivot, 0)
        pseudo = self.components
        moments = pseudo.at_mean(moments, covariances, every, about)
        means = about + moments.shift
        moments = pseudo.about_mean(moments, covariances, every, expected=True)
        if self.ridge is not None:
            moments = self._widened(moments, covariances, counts)
        no_ridge = jnp.zeros_like(self.m_step.reg_covar)
        covariances = covariances.estimate(moments, no_ridge)
        logs = self.constants(mixture, counts)
        # Not zero, which would be no component.
        least = 4 * float(jnp.finfo(logs.dtype).tiny)
        return GaussianMixture(jnp.maximum(jnp.exp(logs), least), means, covariances)

    def divergence(
        self, mixture: GaussianMixture, whitening: AbstractWhitening, counts: Weights
    ) -> Scalar:
        """The Kullback-Leibler divergence of the posterior of all parameters from their
        prior."""
        weights, shrinkage, degrees = self.parts(mixture, counts)
        pseudo, density, d = self.components, self.components.density, whitening
        number = jnp.full((1, 1, 1, 1), mixture.n_components, mixture.means.dtype)
        log_divisor = pseudo.log_divisor(number)
        n_features = mixture.n_features
        distance = d.squared_distance(pseudo.mean, mixture.means)
        ratio = pseudo.shrinkage / shrinkage
        of_means = 0.5 * (
            n_features * (ratio - 1 - jnp.log(ratio)) + pseudo.shrinkage * distance
        )
        axes = (Axis.features, Axis.features_covar)
        trace = jnp.sum(d.whiten(pseudo.root) ** 2, axis=axes, keepdims=True)
        of_covariances = self._kind(mixture).divergence(
            degrees,
            d.log_det,
            density.degrees,
            density.log_normaliser - density.order * density.degrees * log_divisor,
            density.share * jnp.exp(-log_divisor) * trace,
        )
        total = jnp.sum(of_means) + jnp.sum(of_covariances)
        return total + weights.divergence()

    def _widened(
        self, moments: Moments, covariances: AbstractCovariances, counts: Weights
    ) -> Moments:
        """Moments of samples that have a variance of their own."""
        assert self.ridge is not None
        # As of so many residuals along each axis.
        columns = linalg.diagonal(jnp.sqrt(self.ridge))
        rows = jnp.broadcast_to(counts, (columns.shape[-1], *counts.shape[1:]))
        more = covariances.statistic(as_columns(columns), rows)
        second = jax.tree.map(jnp.add, moments.second, more)
        return Moments(moments.count, moments.first, second)
