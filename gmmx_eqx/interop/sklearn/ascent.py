"""The variational fit of scikit-learn's `BayesianGaussianMixture`: the same steps, and
the same end."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.aliases import (
    Count,
    Data,
    Flag,
    Means,
    PerDatumComponent,
    Scalar,
    Weighting,
    Weights,
)
from ..._core.axes import Axis
from ..._core.linalg import diagonal_of, LOG_2PI, safe_divide, transpose
from ..._core.programs import program
from ..._core.results import RESULTS
from ..._covariances import AbstractCovariances, AbstractWhitening, conjugate, Wishart
from ..._em import Complete, Expectation, MStep, packed_length
from ..._em.noise import Noise
from ..._em.solver import settles
from ..._em.step import Attempt
from ..._fit.solution import moved
from ..._mixture import GaussianMixture
from ..._mixture.estimate import moments_of
from ..._priors import AbstractRidge, Dirichlet, PseudoSamples, StickBreaking
from ..._sources import AbstractFacts, chunk_size, InMemory
from ..._variational.step import VariationalStep
from ..._variational.weights import DirichletPosterior, StickPosterior


class WarmStart(NamedTuple):
    """Where a warm start goes on: a posterior, in the units of the data, with the
    constants of its densities as logarithms, and how many samples it was made of."""

    mixture: GaussianMixture
    constants: Weights
    counts: Weights


class Ascent(eqx.Module):
    """What a fit needs beside the data and where it begins.

    **Attributes:**

    - `family`: the covariance family.
    - `mean`, `shrinkage`, `degrees`, `root`: the normal-inverse-Wishart prior in the
        family's own form; `root` is lower triangular, and the scale matrix is
        `root @ root.T`.
    - `multiple`: the family's own degrees of freedom over scikit-learn's.
    - `weights`: the prior of the weights.
    - `reg_covar`: a ridge.
    - `tol`: in nats, of all samples. With zero, all `max_steps` are taken.
    - `max_steps`, `history_size`: how many steps to take at most, and how many bounds
        have room.
    """

    family: type[AbstractCovariances] = eqx.field(static=True)
    mean: Float[Array, " features"]
    shrinkage: Scalar
    degrees: Scalar
    root: Float[Array, "features features"]
    multiple: float = eqx.field(static=True)
    weights: Dirichlet | StickBreaking
    reg_covar: AbstractRidge
    tol: Scalar
    max_steps: Count
    history_size: int = eqx.field(static=True)

    def pseudo(
        self, covariances: AbstractCovariances, facts: AbstractFacts
    ) -> PseudoSamples:
        """The prior of the components."""
        dtype = facts.pivot.dtype
        root, degrees = self.root[None, None].astype(dtype), self.degrees.astype(dtype)
        return PseudoSamples(
            mean=self.mean.astype(dtype).reshape(facts.pivot.shape) - facts.pivot,
            shrinkage=self.shrinkage.astype(dtype),
            root=root,
            density=conjugate(covariances, degrees, root),
            divided=False,
        )


class Summit(eqx.Module):
    """Where a fit ended.

    **Attributes:**

    - `weights`, `shares`: the posterior of the weights, and their expectations.
    - `means`, `covariances`: expected means, inverses of expected precisions.
    - `shrinkage`, `degrees`: the latter as scikit-learn counts them.
    - `bound`, `bounds`: scikit-learn's lower bound after the last and after each step;
        beyond, the last one is repeated.
    - `evidence`: the lower bound of the log evidence.
    - `n_steps`, `result`: how many steps were taken, and how the fit ended.
    """

    weights: DirichletPosterior | StickPosterior
    shares: Weights
    means: Means
    covariances: AbstractCovariances
    shrinkage: Weights
    degrees: Float[Array, "1 _ 1 1"]
    bound: Scalar
    bounds: Float[Array, " history"]
    evidence: Scalar
    n_steps: Count
    result: RESULTS


class _Climb(eqx.Module):
    mixture: GaussianMixture
    counts: Weights
    bound: Scalar
    bounds: Float[Array, " history"]
    evidence: Scalar
    n_steps: Count
    # All steps are taken, and one more turn finds the bound of the evidence.
    is_last: Flag
    stop: Flag
    result: RESULTS
    noise: Noise


def _size(ascent: Ascent, x: Data, weight: Weighting, start: Any, previous: Any) -> int:
    del ascent, weight, previous
    n_components = start.shape[1] if eqx.is_array(start) else start.counts.size
    return n_components * x.size


@program(_size)
def climb(
    ascent: Ascent,
    x: Data,
    weight: Weighting,
    start: PerDatumComponent | WarmStart,
    previous: Scalar,
) -> Summit:
    """The fit from responsibilities, or from a posterior.

    **Arguments:**

    - `previous`: the bound that the first one is compared with.
    """
    n_features = x.shape[1]
    n_packed = packed_length(ascent.family.create(1, n_features), n_features)
    source = InMemory.from_data(x, weight, chunk_size(x, n_packed))
    theirs = _Theirs.create(ascent, source)
    if isinstance(start, WarmStart):
        mixture, counts = moved(start.mixture, -source.pivot), start.counts
        logs = start.constants
    else:
        mixture, counts = theirs.begin(source, start)
        logs = theirs.constants(mixture, counts)
    is_last = ascent.max_steps == 0
    logs = jnp.where(is_last, theirs.step.constants(mixture, counts), logs)
    unknown = jnp.full((), -jnp.inf, x.dtype)

    def turn(climb: _Climb) -> _Climb:
        old, is_last = climb.mixture, climb.is_last
        end = theirs.step.attempt(old)
        counts = end.expectation.moments.count
        bound = theirs.bound(old, end)
        # Infinite where there is no density.
        nonfinite = ~jnp.isfinite(end.expectation.log_likelihood)
        nonfinite = nonfinite | (~is_last & ~jnp.isfinite(bound))
        one = jnp.ones((), bound.dtype)
        settled, noise = settles(ascent.tol, climb.noise, bound, climb.bound, one)
        n_steps = climb.n_steps + 1
        logs = jnp.where(
            settled | (n_steps >= ascent.max_steps),
            theirs.step.constants(old, counts),
            theirs.constants(old, counts),
        )
        new = _with_constants(end.mixture, logs)
        stop = is_last | nonfinite
        keep = lambda old, new: jnp.where(stop, old, new)
        result = RESULTS.where(settled, RESULTS.successful, RESULTS.max_steps_reached)
        result = RESULTS.where(is_last, climb.result, result)
        evidence = theirs.evidence(old, climb.counts, end)
        history = climb.bounds.at[climb.n_steps]
        return _Climb(
            jax.tree.map(keep, old, new),
            keep(climb.counts, counts),
            keep(climb.bound, bound),
            keep(climb.bounds, history.set(bound, mode="drop")),
            jnp.where(is_last, evidence, climb.evidence),
            keep(climb.n_steps, n_steps),
            settled | (n_steps >= ascent.max_steps),
            stop,
            RESULTS.where(nonfinite, RESULTS.nonfinite, result),
            noise,
        )

    begin = _Climb(
        mixture=_with_constants(mixture, logs),
        counts=counts,
        bound=previous.astype(x.dtype),
        bounds=jnp.full((ascent.history_size,), unknown),
        evidence=unknown,
        n_steps=jnp.array(0),
        is_last=is_last,
        stop=jnp.array(False),
        result=RESULTS.max_steps_reached,
        noise=Noise.none(unknown),
    )
    end = jax.lax.while_loop(lambda climb: ~climb.stop, turn, begin)
    weights, shrinkage, degrees = theirs.step.parts(end.mixture, end.counts)
    beyond = jnp.arange(ascent.history_size) >= end.n_steps
    return Summit(
        weights=weights,
        shares=weights.mean,
        means=end.mixture.means + source.pivot,
        covariances=end.mixture.covariances,
        shrinkage=shrinkage,
        degrees=degrees / ascent.multiple,
        bound=end.bound,
        bounds=jnp.where(beyond, end.bound, end.bounds),
        evidence=end.evidence,
        n_steps=end.n_steps,
        result=end.result,
    )


class _Theirs(eqx.Module):
    """scikit-learn's form of a step. Its M-step is that of the family's own form with
    `multiple` times the degrees of freedom. In its E-step every component has a
    precision of its own, of a Wishart distribution of matrices, whatever the family."""

    step: VariationalStep
    multiple: float = eqx.field(static=True)
    template: AbstractCovariances

    @classmethod
    def create(cls, ascent: Ascent, source: InMemory) -> "_Theirs":
        template = ascent.family.create(1, source.n_features)
        template = jax.tree.map(lambda leaf: leaf.astype(source.total.dtype), template)
        e_step = Complete.create(source, template)
        no_ridge = jnp.zeros_like(source.variances)
        m_step = MStep(source, e_step.is_exact, no_ridge, None, False, None)
        pseudo = ascent.pseudo(template, source)
        ridge = ascent.reg_covar.resolve(source.variances)
        step = VariationalStep(e_step, m_step, pseudo, ascent.weights, ridge)
        return cls(step, ascent.multiple, template)

    def begin(
        self, source: InMemory, resp: PerDatumComponent
    ) -> tuple[GaussianMixture, Weights]:
        """The posterior of responsibilities, and how many samples components have."""
        expand = lambda chunk, rows: rows[..., None, None]
        family, rows = type(self.template), source.split(resp)
        covariances, pivot, moments = moments_of(family, source, expand, rows)
        counts = moments.count
        of_no_weight = GaussianMixture(counts, pivot, covariances)
        expectation = Expectation(moments, jnp.zeros_like(source.total))
        every = jnp.ones_like(counts, bool)
        return self.step.maximise(of_no_weight, pivot, every, expectation), counts

    def constants(self, mixture: GaussianMixture, counts: Weights) -> Weights:
        """As those of `VariationalStep`."""
        d = mixture.n_features
        weights, shrinkage, degrees = self.step.parts(mixture, counts)
        logs = Wishart(d, d, True).log_ratio(degrees / self.multiple)
        return weights.expected_logs + 0.5 * (logs - d / shrinkage)

    def bound(self, mixture: GaussianMixture, end: Attempt) -> Scalar:
        """scikit-learn's lower bound: the entropy of the responsibilities before the
        step, and of the parameters after it what is not constant.

        **Arguments:**

        - `mixture`: that before the step.
        """
        d, counts = mixture.n_features, end.expectation.moments.count
        weights, shrinkage, degrees = self.step.parts(mixture, counts)
        log_det = end.whitening.log_det
        kind = Wishart(d, d, True)
        own = kind.log_normaliser(degrees / self.multiple, log_det)
        # Its normalisers leave this out.
        own = jnp.broadcast_to(own, counts.shape) + d * (d - 1) / 4 * math.log(math.pi)
        own = jnp.sum(own + 0.5 * d * jnp.log(shrinkage))
        return self._entropy(mixture, end) - own - weights.log_normaliser

    def _entropy(self, mixture: GaussianMixture, end: Attempt) -> Scalar:
        """Of the responsibilities: the log-normaliser less the expected log-density,
        which the moments tell."""
        whitening, moments = end.whitening_before, end.expectation.moments
        counts, prior = moments.count, self.step.components
        d = mixture.n_features
        # Of samples about the mean of their component, and that mean about the one
        # before the step. What the moments are about is not known any more.
        constant = 2 * mixture.log_weights - d * LOG_2PI - whitening.log_det
        scatter = mixture.covariances.statistic(moments.shift, -counts)
        scatter = jax.tree.map(jnp.add, moments.second, scatter)
        first = (prior.shrinkage + counts) * (end.mixture.means - mixture.means)
        first = first - prior.shrinkage * (prior.mean - mixture.means)
        squares = jnp.sum(whitening.whiten(first) ** 2, axis=Axis.features)
        # Where no sample is, it is rounding.
        eps = float(jnp.finfo(counts.dtype).eps)
        occupied = jnp.where(counts > eps, counts, 0)
        distance = safe_divide(squares[..., None, :], occupied)
        expected = jnp.sum(counts * constant - distance) - _trace(whitening, scatter)
        return end.expectation.log_likelihood - 0.5 * expected

    def evidence(
        self, mixture: GaussianMixture, counts: Weights, end: Attempt
    ) -> Scalar:
        """The bound of the log evidence.

        **Arguments:**

        - `mixture`: before the step, with the constants of the family's own form, whose
            largest one was left out of the normaliser.
        - `counts`: of the samples that it was made of.
        """
        constant = jnp.max(self.step.constants(mixture, counts))
        constant = constant * self.step.m_step.facts.total
        divergence = self.step.divergence(mixture, end.whitening_before, counts)
        return end.expectation.log_likelihood + constant - divergence


def _with_constants(mixture: GaussianMixture, logs: Weights) -> GaussianMixture:
    """With the constants in its weights, but for a factor: of many features they may be
    too small for numbers."""
    shares = jnp.exp(logs - jnp.max(logs))
    least = 4 * float(jnp.finfo(logs.dtype).tiny)
    weights = jnp.maximum(shares, least)
    return GaussianMixture(weights, mixture.means, mixture.covariances)


def _trace(whitening: AbstractWhitening, scatter: Any) -> Scalar:
    r"""$\sum_k \operatorname{tr}(Σ_k^{-1} S_k)$ of the four families."""
    if scatter.shape[-1] == 1:
        return jnp.sum(whitening.precision_diagonal * scatter)
    half = whitening.whiten(scatter)
    return jnp.sum(diagonal_of(whitening.whiten(transpose(half))))
