"""Fits to samples of which parts are missing, noisy, or seen through a matrix; and
beside a background."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Count, PerDatum, Scalar
from .._core.describe import describe
from .._core.programs import program
from .._core.results import RESULTS
from .._core.weights import Unit
from .._covariances import AbstractCovariances
from .._em import AbstractEMState, EMStep, Incomplete
from .._em.implicit import with_derivatives
from .._em.incomplete import slack_for, with_slack, without_slack
from .._mixture import GaussianMixture
from .._mixture.latent import as_complete, check_no_weight, Latent
from .._sources import (
    Blocks,
    check_coverage,
    check_features,
    features_of,
    Layout,
    Observed,
    Records,
    Uniform,
)
from .driver import drive, pinned
from .options import Options
from .progress import Ticket
from .solution import (
    ending,
    log_prior_of,
    moved,
    or_singular,
    Solution,
    without,
)


class Gathered(eqx.Module):
    """Checked data of a fit, and in which order it is read.

    **Attributes:**

    - `log_background`: the log-density of the background at every sample, in nats, or
        `None`.
    - `n_features`: of the mixture.
    """

    observed: Observed
    layout: Layout
    log_background: Float[Array, " n"] | None
    n_features: int = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        observed: Observed,
        n_features: int,
        n_components: int,
        background: Callable[..., Any] | None = None,
    ) -> "Gathered":
        """**Raises:**

        `ValueError` for what cannot be right.
        """
        check_features(observed, n_features)
        check_coverage(observed, n_features, n_components)
        layout = Layout.of(observed, n_components)
        if background is None:
            return cls(observed, layout, None, n_features)
        row = _log_background(observed, background)
        return cls(observed, layout, row, n_features)

    def step(self, options: Options, covariances: AbstractCovariances) -> EMStep:
        """A step of EM; of `covariances` only the family and the type count."""
        source = Records.create(
            self.observed, self.layout, self.n_features, self.log_background
        )
        ridge = options.ridge_beside(source.variances, source.slack)
        prior = options.prior
        own = None if prior is None else prior.resolve(covariances, source)
        slack = options.slack_beside(slack_for(covariances, source.slack))
        e_step = Incomplete(source, slack)
        return EMStep(e_step, ridge, options.frozen, options.equal_weights, own)

    def start(self, step: EMStep, mixture: GaussianMixture) -> GaussianMixture:
        """What the step iterates, from a start in the units of the data."""
        start = with_slack(moved(mixture, -step.source.pivot), step.e_step.slack)
        if self.log_background is None:
            return start
        share = mixture.n_components / (mixture.n_components + 1)
        return eqx.tree_at(lambda m: m.weights, start, start.weights * share)

    def solution(
        self,
        step: EMStep,
        options: Options,
        end: GaussianMixture,
        state: AbstractEMState,
        n_active: Count,
        log_likelihood: Scalar | None = None,
    ) -> Solution:
        """What the iteration ended with.

        **Arguments:**

        - `log_likelihood`: with derivatives, if it has them.
        """
        source = step.source
        assert isinstance(source, Records)
        mixture, is_singular = without_slack(end, step.e_step.slack)
        weight = source.blocks.weights.reshape(-1)
        result = ending(state, source, weight, n_active, options.is_resolved(end))
        result = or_singular(result, is_singular)
        solution = Solution.from_state(
            mixture, state, step.m_step, result, log_likelihood
        )
        if self.log_background is None:
            return solution
        return _without_background(solution)

    def weighted_sum(
        self, mixture: GaussianMixture, fn: Callable[..., PerDatum]
    ) -> tuple[Scalar, Scalar]:
        """The sum of `fn` over the samples of which anything was seen, and the sum of
        their weights."""
        observed = self.observed
        latent = Latent.of(observed, mixture.n_components, self.n_features)
        density = latent.log_density(mixture.means, mixture.covariances)
        values = fn(density, mixture.weights)
        weight = observed.sample_weight
        seen = jnp.any(~jnp.isnan(observed.y), axis=1).astype(values.dtype)
        weight = seen if weight is None else seen * weight
        return jnp.sum(jnp.where(weight > 0, weight * values, 0)), jnp.sum(weight)


def gather(
    x: Any,
    sample_weight: Any,
    mixture: GaussianMixture,
    background: Callable[..., Any] | None,
    options: Options,
    checkpoint: Any,
) -> tuple[Gathered, Unit]:
    """What users handed in to `fit`, and the unit of the weights."""
    if checkpoint is not None:
        raise ValueError("`checkpoint` is for `gmmx_eqx.blocks`.")
    if isinstance(x, Blocks):
        raise ValueError("`background` is not for `gmmx_eqx.blocks`.")
    if not isinstance(x, Observed):
        x, sample_weight = inputs.as_data(
            x, sample_weight, n_features=mixture.n_features, like=mixture, fits=True
        )
        x = Observed(x, sample_weight=sample_weight)
    else:
        check_no_weight(sample_weight)
    weight, unit = inputs.balance(x.sample_weight)
    options.check_unit(unit)
    own = lambda o: o.sample_weight
    x = x if weight is None else eqx.tree_at(own, x, weight)
    n_features, n_components = mixture.n_features, mixture.n_components
    return Gathered.of(x, n_features, n_components, background), unit


def gather_many(
    x: Any, sample_weight: Any, n_components: int
) -> tuple[Gathered | None, Any, Any]:
    """Of `Observed`, what is fitted, and the samples and weights that random starts are
    made of; of anything else, that."""
    if not isinstance(x, Observed):
        return None, x, sample_weight
    n_features = features_of(x)
    _, unit = inputs.balance(x.sample_weight)
    if np.any(unit != 1):
        raise ValueError(
            "`sample_weight` of `gmmx_eqx.Observed` must count samples in many fits; "
            "some weights are too large or too small. Divide them by their mean."
        )
    gathered = Gathered.of(x, n_features, n_components)
    return gathered, *as_complete(x, sample_weight)


def _log_background(
    observed: Observed, background: Callable[..., Any]
) -> Float[Array, " n"]:
    if not callable(background):
        raise ValueError(
            "`background` must be a `gmmx_eqx.Uniform`, or a function from samples to "
            f"log-densities; got {describe(background)}."
        )
    if isinstance(background, Uniform):
        background.check(observed.y, observed.sample_weight)
    row = inputs.as_float(background(observed.y), "background(y)")
    if row.shape != observed.y.shape[:1]:
        raise ValueError(
            f"`background` must return one log-density for each sample, shape "
            f"{observed.y.shape[:1]}; it returned {row.shape}."
        )
    numbers = inputs.concrete(row)
    if numbers is not None and np.any(np.isnan(numbers) | (numbers == np.inf)):
        first = int(np.argmax(np.isnan(numbers) | (numbers == np.inf)))
        raise ValueError(
            f"`background` must return log-densities; it returned {numbers[first]} for "
            f"sample {first}."
        )
    return row.astype(observed.y.dtype)


@program(lambda mixture, gathered, *_: mixture.n_components * gathered.observed.y.size)
def fit_observed(
    mixture: GaussianMixture,
    gathered: Gathered,
    options: Options,
    n_active: Count,
    ticket: Ticket | None,
) -> Solution:
    """As `fit`, inside of a program."""
    mixture, gathered = inputs.common_dtype(mixture, gathered)
    mixture = options.as_start(mixture)
    step = gathered.step(options, mixture.covariances)
    start = gathered.start(step, mixture)
    constant_step, constant_start = jax.lax.stop_gradient((step, start))
    end, state = drive(
        pinned(constant_step, constant_start), options.solver, constant_start, ticket
    )
    record = state.record
    settled = record.result == RESULTS.successful
    log_prior = log_prior_of(constant_step.m_step, end)
    value, log_likelihood = with_derivatives(
        step, start, end, without(record.objective, log_prior), settled
    )
    solution = gathered.solution(step, options, value, state, n_active, log_likelihood)
    return solution.pinned(options.frozen, mixture)


def _without_background(solution: Solution) -> Solution:
    """With weights that sum to one: what they left is the background's."""
    weights = solution.mixture.weights
    share = jnp.sum(weights)
    own = lambda s: (s.mixture.weights, s.background_weight)
    is_none = lambda leaf: leaf is None
    return eqx.tree_at(own, solution, (weights / share, 1 - share), is_leaf=is_none)
