from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._core import linalg
from .._core.aliases import (
    Count,
    Flag,
    Means,
    PerComponentFlag,
    PerFeature,
    Scalar,
)
from .._core.axes import Axis
from .._core.trees import where
from .._covariances import AbstractCovariances, AbstractWhitening, at_least, is_tied
from .._mixture import GaussianMixture
from .._priors import AbstractRidge, LogPrior, Prior
from .._sources import AbstractFacts, AbstractSource
from .complete import Complete
from .e_step import AbstractEStep, Expectation
from .frozen import Frozen
from .guard import Amplification
from .maximisation import has_collapsed, maximise


_Tree = TypeVar("_Tree", bound=PyTree)
_Carry: TypeAlias = tuple[Expectation, GaussianMixture, Flag]
Maximise: TypeAlias = Callable[
    [GaussianMixture, Means, PerComponentFlag, Expectation], GaussianMixture
]

# Packed features first, then residuals about means before the step, which can be far
# from the new ones; about those the next are within rounding.
_MAX_ATTEMPTS = 4


class StepInfo(eqx.Module):
    """What a step of EM found out beside the new mixture.

    **Attributes:**

    - `log_likelihood`: of the mixture before the step, in nats, summed over samples.
    - `total_weight`: of the samples.
    - `collapsed`: whether a component of the new mixture has collapsed.
    - `log_prior`: the log-density of the mixture before the step by the prior, in nats;
        `None` without one.
    """

    log_likelihood: Scalar
    total_weight: Scalar
    collapsed: Flag
    log_prior: Scalar | None = None

    @property
    def objective(self) -> Scalar:
        """What a step never lowers: the log-likelihood plus the log-prior."""
        if self.log_prior is None:
            return self.log_likelihood
        return self.log_likelihood + self.log_prior


class EMStep(eqx.Module):
    """One step of expectation-maximisation, as a function of the mixture.

    **Attributes:**

    - `e_step`: a [`gmmx_eqx.extend.AbstractEStep`][], which holds the data. Mixtures
        are about the pivot of its source.
    - `reg_covar`: added to the diagonal, shape `(1, 1, features, 1)`.
    - `frozen`: which parameters stay as they are, or `None`.
    - `equal_weights`: whether all components of the new mixture get the same weight,
        but for those that are empty. The likelihood never falls if the mixture before
        the step has equal weights, too.
    - `prior`: of the parameters, about the source's pivot, or `None`.
    """

    e_step: AbstractEStep
    reg_covar: PerFeature
    frozen: Frozen | None = None
    equal_weights: bool = eqx.field(static=True, default=False)
    prior: LogPrior | None = None

    def __check_init__(self) -> None:
        if self.equal_weights and self.frozen is not None:
            self.frozen.check_free_weights()

    @classmethod
    def create(
        cls,
        covariances: AbstractCovariances,
        source: AbstractSource,
        ridge: AbstractRidge,
        frozen: Frozen | None = None,
        equal_weights: bool = False,
        prior: Prior | None = None,
        labels: Int[Array, "chunks batch"] | None = None,
    ) -> "EMStep":
        """Step for a family and its data.

        **Arguments:**

        - `covariances`: only their family counts.
        - `source`: the data.
        - `ridge`: a [`gmmx_eqx.extend.AbstractRidge`][].
        - `frozen`: a [`gmmx_eqx.Frozen`][].
        - `equal_weights`: see the attribute.
        - `prior`: a [`gmmx_eqx.Prior`][].
        - `labels`: see [`gmmx_eqx.extend.Complete`][].
        """
        e_step = Complete.create(source, covariances, labels)
        reg_covar = ridge.resolve(source.variances)
        own = None if prior is None else prior.resolve(covariances, source)
        return cls(e_step, reg_covar, frozen, equal_weights, own)

    @property
    def source(self) -> AbstractFacts:
        """Where the data of the E-step comes from."""
        return self.e_step.source

    @property
    def m_step(self) -> "MStep":
        """The rest of the step, which never sees data."""
        return MStep(
            self.source,
            self.e_step.is_exact,
            self.reg_covar,
            self.frozen,
            self.equal_weights,
            self.prior,
            self.e_step.slack,
            self.e_step.counted,
        )

    def __call__(self, mixture: GaussianMixture) -> tuple[GaussianMixture, StepInfo]:
        """The mixture after one step.

        Moments of a component are about its own mean if rounding errors of others would
        not be small, which is known of the mixture before the step, and again of the
        one after it.
        """
        m_step = self.m_step
        mixture = m_step.raised(mixture)
        end = accurate(self.e_step, m_step, m_step.maximise, mixture)
        return end.mixture, m_step.info(mixture, end)


def accurate(
    e_step: AbstractEStep,
    m_step: "MStep",
    maximise: Maximise,
    mixture: GaussianMixture,
) -> "Attempt":
    """The attempt at a step whose moments were accurate enough.

    **Arguments:**

    - `m_step`: says whether they were.
    - `maximise`: from a mixture, a pivot, which components have moments about it, and
        the expectation, to the next mixture.
    """

    def run(carry: _Carry, args: tuple[Any, ...]) -> _Carry:
        # Tied to the carry: what does not change XLA computes before the loop, even if
        # the loop then runs zero times.
        _, tied = jax.lax.optimization_barrier((carry, args))
        previous, _, pivot, is_near = tied
        expectation = e_step.expect(*tied)
        new = maximise(previous, pivot, is_near, expectation)
        return expectation, new, jnp.array(False)

    def attempt(last: "Attempt") -> "Attempt":
        """Looks at the last attempt and, if it is not accurate, makes another one."""
        looked = m_step.look(mixture, last)
        args = (mixture, looked.whitening_before, looked.pivot, looked.is_near)
        # A loop that runs once or not at all stands for a condition: under `vmap` a
        # condition computes both of its branches, and copies the data, for every lane.
        expectation, new, _ = jax.lax.while_loop(
            lambda carry: carry[2],
            lambda carry: run(carry, args),
            (last.expectation, last.mixture, ~looked.done),
        )
        return looked.after(expectation, new)

    # Whether errors are small is asked at the start of a turn, and the first one is
    # about the mixture before the step: so E-step, M-step, factorisation and bound are
    # compiled once.
    return jax.lax.while_loop(
        lambda attempt: ~attempt.done, attempt, m_step.begin(mixture)
    )


class MStep(eqx.Module):
    """All of a step of EM but its E-step: the M-step, and whether the moments that it
    got were accurate enough.

    **Attributes:**

    - `facts`: what is known of the data as a whole.
    - `is_exact`: of the E-step; see [`gmmx_eqx.extend.AbstractEStep`][].
    - `reg_covar`, `frozen`, `equal_weights`, `prior`: as in
        [`gmmx_eqx.extend.EMStep`][].
    - `slack`, `counted`: of the E-step.
    """

    facts: AbstractFacts
    is_exact: bool = eqx.field(static=True)
    reg_covar: PerFeature
    frozen: Frozen | None
    equal_weights: bool = eqx.field(static=True)
    prior: LogPrior | None
    slack: PerFeature | None = None
    counted: Scalar | None = None

    def raised(self, mixture: GaussianMixture) -> GaussianMixture:
        """The mixture with covariances of at least the slack: solvers may go below."""
        if self.slack is None:
            return mixture
        covariances = at_least(mixture.covariances, self.slack)
        return eqx.tree_at(lambda m: m.covariances, mixture, covariances)

    def begin(self, mixture: GaussianMixture) -> "Attempt":
        """Before the first attempt of a step from `mixture`."""
        make = lambda: mixture.covariances.whitening(mixture.n_features)
        unknown = _zeros(eqx.filter_eval_shape(make))
        # Not the shapes of an E-step, which would be traced once more for them.
        moments = mixture.covariances.moments
        moments = eqx.filter_eval_shape(moments, mixture.means, mixture.weights)
        log_likelihood = jnp.zeros((), mixture.means.dtype)
        return Attempt(
            number=jnp.array(0),
            done=jnp.array(False),
            mixture=mixture,
            whitening=unknown,
            whitening_before=unknown,
            pivot=mixture.means,
            is_near=jnp.full(mixture.weights.shape, self.is_exact),
            expectation=Expectation(_zeros(moments), log_likelihood),
        )

    def look(self, mixture: GaussianMixture, last: "Attempt") -> "Attempt":
        """The last attempt, factorised: whether it is `done`, and what the next one is
        about otherwise."""
        is_first = last.number == 0
        new = last.mixture
        whitening = new.covariances.whitening(new.n_features)
        errors = Amplification.of(new, whitening, last.pivot)
        is_good = jnp.where(
            last.is_near, errors.is_near_accurate, errors.is_far_accurate
        )
        is_near = last.is_near | ~is_good
        if is_tied(mixture.covariances):
            worst = jnp.any(is_near, axis=Axis.components, keepdims=True)
            is_near = jnp.broadcast_to(worst, is_near.shape)
        # The new means are the best pivots there are.
        finite = jnp.all(jnp.isfinite(new.means))
        return Attempt(
            number=last.number + 1,
            done=~is_first & (jnp.all(is_good) | (last.number >= _MAX_ATTEMPTS)),
            mixture=new,
            whitening=whitening,
            whitening_before=where(is_first, whitening, last.whitening_before),
            pivot=jnp.where(finite, new.means, mixture.means),
            is_near=is_near,
            expectation=last.expectation,
        )

    def maximise(
        self,
        mixture: GaussianMixture,
        pivot: Means,
        is_near: PerComponentFlag,
        expectation: Expectation,
    ) -> GaussianMixture:
        """The M-step, of moments about `pivot` of near components."""
        about = jnp.where(is_near, pivot, 0)
        return maximise(
            expectation.moments,
            mixture,
            about,
            self.reg_covar,
            self.frozen,
            self.equal_weights,
            self.prior,
            self.counted,
            self.slack,
        )

    def info(self, mixture: GaussianMixture, end: "Attempt") -> StepInfo:
        """What the step from `mixture` found out."""
        total = self.facts.total
        collapsed = has_collapsed(
            end.mixture,
            end.whitening,
            mixture,
            self.facts.resolution,
            self.frozen,
            self.prior,
        )
        return StepInfo(
            # Of no samples at all nothing is known.
            log_likelihood=jnp.where(
                total != 0, end.expectation.log_likelihood, jnp.nan
            ),
            total_weight=total,
            collapsed=collapsed,
            log_prior=self.log_prior(mixture, end.whitening_before),
        )

    def log_prior(
        self, mixture: GaussianMixture, whitening: AbstractWhitening
    ) -> Scalar | None:
        """The log-density of a mixture by the prior, if there is one; beside a
        background, of its components' shares."""
        if self.prior is None:
            return None
        weights = mixture.weights
        if self.counted is not None:
            total = jnp.sum(weights, axis=Axis.components, keepdims=True)
            weights = linalg.safe_divide(weights, total)
        return self.prior.log_prob(
            weights, mixture.means, mixture.covariances, whitening
        )


class Attempt(eqx.Module):
    """An attempt at a step; see `EMStep`."""

    # How many attempts were made.
    number: Count
    done: Flag
    mixture: GaussianMixture
    # Of this mixture, once it has been looked at, and of the one before the step.
    whitening: AbstractWhitening
    whitening_before: AbstractWhitening
    # What the moments of near components are about.
    pivot: Means
    is_near: PerComponentFlag
    expectation: Expectation

    def after(self, expectation: Expectation, new: GaussianMixture) -> "Attempt":
        """With the outcome of an E-step and an M-step."""
        own = lambda attempt: (attempt.expectation, attempt.mixture)
        return eqx.tree_at(own, self, (expectation, new))


def _zeros(shapes: _Tree) -> _Tree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
