from typing import ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core import inputs, linalg
from .._core.aliases import (
    Count,
    Data,
    PerFeature,
    Scalar,
    Values,
    Weighting,
)
from .._core.axes import Axis
from .._core.hints import hinted
from .._core.likes import AmountLike, DataLike, KeyLike, SampleWeightLike
from .._core.programs import program
from .._core.results import RESULTS
from .._core.trees import where
from .._covariances import as_kept
from .._mixture import as_plain_mixture, GaussianMixture
from .._moments import Moments
from .._priors import AbstractRidge, as_ridge, RidgeLike
from .._sources import AbstractSource, chunk_size, InMemory
from .packings import packed_length
from .passes import AbstractPasses, as_order, as_passes, Words
from .running import expect_about_means, own_moments, per_weight, recentred, Running
from .solver import HINTS
from .step import MStep


_Tree = TypeVar("_Tree", bound=PyTree)

# Liang and Klein's: the first part counts for 2^-α, not for all there is.
_BEGIN = 2
# Of the data, at most, and at least: fewer samples leave components with hardly any.
_PARTS, _SMALLEST, _LARGEST = 100, 256, 2**15


class StepwiseState(eqx.Module):
    """State of [`gmmx_eqx.Stepwise`][].

    **Attributes:**

    - `running`: the mixture, and how it fares.
    - `moments`: running means of the moments of batches, about the means of the
        mixture: a [`gmmx_eqx.extend.Moments`][] per unit of weight.
    - `n_updates`: how many batches it has learnt from.
    - `n_parts`: how many batches one pass has; one if that is not known.
    """

    running: Running
    moments: Moments
    n_updates: Count
    n_parts: Count

    @property
    def mixture(self) -> GaussianMixture:
        """The current estimate."""
        return self.running.mixture

    @property
    def result(self) -> RESULTS:
        """`successful`, or why the last batch that was left out was: `nonfinite` or
        `component_collapsed`."""
        return self.running.result


class Stepwise(AbstractPasses):
    r"""Stepwise expectation-maximisation: an M-step after every small batch of samples,
    from running means of the moments of all batches before.

    After $t$ batches the next one counts for $γ = (t + 2)^{-α}$: the running means $s$
    become $(1 - γ) s + γ \hat s$, where $\hat s$ are the batch's means of moments, by
    the responsibilities of the current mixture. They begin as those of the mixture
    itself. Two passes in many updates come further than two steps of EM.

    It takes its passes and does not ask whether the log-likelihood settles: the status
    of a fit is `passes_taken`. [`gmmx_eqx.InTurn`][] ends it by another solver. A batch
    from which no mixture would result, since it holds a NaN or a component collapses,
    is left out, and the status says so.

    Beside `gmmx_eqx.fit`, `init` and `update` learn from a stream of batches, inside
    `jit`, `vmap` or a training loop.

    A family of low rank is kept as square matrices, one per component.

    **Attributes:**

    - `exponent`: $α$, above 0.5 for convergence as batches go on, and at most one.
    - `passes`: how many passes a fit takes over its data.
    - `samples_per_update`: how many samples a batch of a fit has; a hundredth of the
        data, and 256 to 32768, if `None`.
    - `key`: the numbers of the key that orders batches.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (4000, 2)).at[::2].add(5.0)
    start = gx.GaussianMixture.from_k_means(x[:100], 2, key=jr.key(1))
    solver = gx.Stepwise()
    state = solver.init(start)
    for batch in x.reshape(20, 200, 2):
        state = solver.update(state, batch)
    print(state.mixture.score(x) > start.score(x), int(state.n_updates))
    ```

    ```text
    True 20
    ```

    ??? cite "Reference"

        Cappé, Moulines (2009), On-line Expectation-Maximization Algorithm for Latent
        Data Models. JRSS B 71(3), 593-613.

        Liang, Klein (2009), Online EM for Unsupervised Models. Proceedings of NAACL
        HLT, 611-619.
    """

    exponent: Scalar
    passes: int = eqx.field(static=True)
    samples_per_update: int | None = eqx.field(static=True)
    key: Words
    keeps_parts: ClassVar[bool] = False

    @hinted(HINTS)
    def __init__(
        self,
        exponent: AmountLike = 0.6,
        passes: int = 2,
        *,
        samples_per_update: int | None = None,
        key: KeyLike | None = None,
    ):
        """**Arguments:**

        - `exponent`: a number from zero, with which only the last batch counts, to one.
        - `passes`: at least one.
        - `samples_per_update`: at least one.
        - `key`: a `jax.random` key; always the same order if not given.

        **Raises:**

        `ValueError` for other values.
        """
        self.exponent = inputs.as_nonnegative(exponent, "exponent")
        known = inputs.concrete(self.exponent)
        if known is not None and known > 1:
            raise ValueError(f"`exponent` must be at most one; got {exponent!r}.")
        self.passes, self.samples_per_update = as_passes(passes, samples_per_update)
        self.key = as_order(key)

    def init(self, mixture: GaussianMixture) -> StepwiseState:
        """State before the first batch.

        **Arguments:**

        - `mixture`: where to start; it also says which family to fit.
        """
        return self.begin(as_plain_mixture(mixture), 1)

    def update(
        self,
        state: StepwiseState,
        x: DataLike,
        sample_weight: SampleWeightLike | None = None,
        *,
        reg_covar: RidgeLike = None,
    ) -> StepwiseState:
        """State after a batch.

        **Arguments:**

        - `x`: the batch, shape `(n_samples, n_features)`.
        - `sample_weight`: shape `(n_samples,)`. A batch without weight changes nothing.
        - `reg_covar`: as of [`gmmx_eqx.fit`][]; a fraction is of the variances of the
            mixture.

        **Raises:**

        `ValueError` for data that cannot be right.
        """
        n_features = state.mixture.n_features
        x, weight = inputs.as_data(
            x, sample_weight, n_features=n_features, like=state.mixture
        )
        ridge = as_ridge(reg_covar)
        x = x.astype(state.mixture.means.dtype)
        if weight is not None:
            weight = weight.astype(x.dtype)
        return _update(self, state, x, weight, ridge)

    def begin(self, mixture: GaussianMixture, n_parts: int) -> StepwiseState:
        return StepwiseState(
            running=Running.of(mixture),
            moments=own_moments(mixture),
            n_updates=jnp.array(0),
            n_parts=jnp.array(n_parts),
        )

    def visit(
        self,
        state: StepwiseState,
        number: Count,
        source: AbstractSource,
        m_step: MStep,
    ) -> StepwiseState:
        del number
        before = state.mixture
        expectation = expect_about_means(before, source)
        value, batch = expectation.log_likelihood, per_weight(expectation.moments)
        dtype = before.means.dtype
        rate = (state.n_updates + _BEGIN).astype(dtype) ** -self.exponent.astype(dtype)
        # What is left over at the end of a block counts for less.
        weight = jnp.sum(expectation.moments.count)
        usual = m_step.facts.total / state.n_parts.astype(dtype)
        rate = rate * jnp.minimum(linalg.safe_divide(weight, usual), 1)
        mix = lambda old, new: (1 - rate) * old + rate * new
        moments = jax.tree.map(mix, state.moments, batch)
        learnt, failed = state.running.count(value).learn(moments, value, m_step)
        by = learnt.mixture.means - before.means
        moments = recentred(moments, as_kept(before.covariances), by)
        moments = where(failed, state.moments, moments)
        more = (~failed).astype(state.n_updates.dtype)
        new = StepwiseState(learnt, moments, state.n_updates + more, state.n_parts)
        # Without weight there is nothing to learn from.
        return where(weight != 0, new, state)

    def finish(self, state: StepwiseState, m_step: MStep) -> StepwiseState:
        del m_step
        return eqx.tree_at(lambda s: s.running, state, state.running.begin_pass())

    def running(self, state: StepwiseState) -> Running:
        return state.running

    def default_size(self, n_samples: int) -> int:
        return min(max(n_samples // _PARTS, _SMALLEST), _LARGEST, n_samples)


@program(lambda solver, state, x, *_: state.mixture.n_components * x.size)
def _update(
    solver: Stepwise,
    state: StepwiseState,
    x: Data,
    weight: Weighting,
    ridge: AbstractRidge,
) -> StepwiseState:
    mixture = state.mixture
    n_packed = packed_length(mixture.covariances, x.shape[1])
    source = InMemory.from_data(x, weight, chunk_size(x, n_packed))
    centre = _total(mixture.weights * mixture.means)
    around = mixture.covariances.variances + (mixture.means - centre) ** 2
    spread = _total(mixture.weights * around)
    m_step = MStep(source, False, ridge.resolve(spread), None, False, None)
    # Without any weight there is no mean, and what is NaN must not spread.
    there = (source.total > 0) & jnp.all(jnp.isfinite(source.pivot))
    pivot = jnp.where(there, source.pivot, 0)
    new = solver.visit(_moved(state, -pivot), jnp.array(0), source, m_step)
    return _moved(new, pivot)


def _moved(state: StepwiseState, by: PerFeature) -> StepwiseState:
    means = lambda state: state.running.mixture.means
    return eqx.tree_at(means, state, means(state) + by)


def _total(values: Values) -> Values:
    return jnp.sum(values, axis=Axis.components, keepdims=True)
