"""Posteriors of the weights of a mixture."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import betaln, digamma, gammaln
from jaxtyping import Array, Float

from .._core.aliases import Scalar, Weights
from .._core.axes import Axis
from .._priors import Dirichlet, StickBreaking


class AbstractWeightPosterior(eqx.Module):
    """The distribution of the weights, given how many samples each component has."""

    @property
    @abc.abstractmethod
    def expected_logs(self) -> Weights:
        r"""$\operatorname{E} \log w_k$."""

    @property
    @abc.abstractmethod
    def mean(self) -> Weights:
        """The expected weights; their sum is one."""

    @property
    @abc.abstractmethod
    def log_normaliser(self) -> Scalar:
        """The logarithm of the constant of the density."""

    @abc.abstractmethod
    def divergence(self) -> Scalar:
        """The Kullback-Leibler divergence from the prior, in nats."""

    @abc.abstractmethod
    def sample(self, key: Any) -> Weights:
        """Random weights; their sum is one."""


class DirichletPosterior(AbstractWeightPosterior):
    """A Dirichlet distribution.

    **Attributes:**

    - `concentration`: of each component, shape `(1, components, 1, 1)`.
    - `prior`: that of every component.
    """

    concentration: Weights
    prior: Scalar

    @property
    def expected_logs(self) -> Weights:
        return digamma(self.concentration) - digamma(_sum(self.concentration))

    @property
    def mean(self) -> Weights:
        return self.concentration / _sum(self.concentration)

    @property
    def log_normaliser(self) -> Scalar:
        own = self.concentration
        return gammaln(jnp.sum(own)) - jnp.sum(gammaln(own))

    def divergence(self) -> Scalar:
        own, prior = self.concentration, self.prior
        number = own.shape[Axis.components]
        before = gammaln(number * prior) - number * gammaln(prior)
        change = jnp.sum((own - prior) * self.expected_logs)
        return self.log_normaliser - before + change

    def sample(self, key: Any) -> Weights:
        shape = self.concentration
        # Logarithms, since a gamma variable of small shape is often zero.
        logs = jr.loggamma(key, shape, dtype=shape.dtype)
        drawn = jnp.exp(logs - jnp.max(jax.lax.stop_gradient(logs)))
        return drawn / _sum(drawn)


class StickPosterior(AbstractWeightPosterior):
    """Beta distributions of the parts that components break off.

    **Attributes:**

    - `kept`, `left`: parameters of each, shape `(1, components, 1, 1)`.
    - `prior`: the second parameter of the prior, of which the first is one.
    """

    kept: Weights
    left: Weights
    prior: Scalar

    @property
    def expected_logs(self) -> Weights:
        both = digamma(self.kept + self.left)
        rest = digamma(self.left) - both
        return digamma(self.kept) - both + _before(rest)

    @property
    def mean(self) -> Weights:
        both = self.kept + self.left
        share = jnp.exp(_before(jnp.log(self.left / both)))
        return _normalised(self.kept / both * share)

    @property
    def log_normaliser(self) -> Scalar:
        return -jnp.sum(betaln(self.kept, self.left))

    def divergence(self) -> Scalar:
        both = digamma(self.kept + self.left)
        own = (self.kept - 1) * (digamma(self.kept) - both)
        own = own + (self.left - self.prior) * (digamma(self.left) - both)
        before = -betaln(jnp.ones_like(self.prior), self.prior)
        return self.log_normaliser + jnp.sum(own - before)

    def sample(self, key: Any) -> Weights:
        parts = jr.beta(key, self.kept, self.left, dtype=self.kept.dtype)
        least = float(jnp.finfo(parts.dtype).tiny)
        rest = jnp.log(jnp.maximum(1 - parts, least))
        return _normalised(parts * jnp.exp(_before(rest)))


def posterior_of_weights(
    prior: Dirichlet | StickBreaking, counts: Weights
) -> DirichletPosterior | StickPosterior:
    """That of so many samples of each component."""
    concentration = prior.concentration.astype(counts.dtype)
    if isinstance(prior, Dirichlet):
        return DirichletPosterior(concentration + counts, concentration)
    after = jnp.flip(_before(jnp.flip(counts, Axis.components)), Axis.components)
    return StickPosterior(1 + counts, concentration + after, concentration)


def _before(values: Weights) -> Weights:
    """The sums over all earlier components."""
    return jnp.cumsum(values, axis=Axis.components) - values


def _sum(values: Weights) -> Float[Array, "1 1 1 1"]:
    return jnp.sum(values, axis=Axis.components, keepdims=True)


def _normalised(values: Weights) -> Weights:
    return values / _sum(values)
