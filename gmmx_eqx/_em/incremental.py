from typing import ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.aliases import Count, Flag, Means, Scalar
from .._core.hints import hinted
from .._core.likes import KeyLike
from .._core.trees import where
from .._covariances import as_kept
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource
from .passes import AbstractPasses, as_order, as_passes, Words
from .running import expect_about_means, recentred, Running
from .solver import HINTS
from .step import MStep


_Tree = TypeVar("_Tree", bound=PyTree)

# Of the data, in memory.
_PARTS, _SMALLEST = 20, 256


class IncrementalState(eqx.Module):
    """State of [`gmmx_eqx.Incremental`][].

    **Attributes:**

    - `running`: the mixture, and how it fares.
    - `parts`: the moments of every part, with a leading axis of parts; see
        [`gmmx_eqx.extend.Moments`][].
    - `total`: their sum.
    - `pivot`: what all of these are about: the means at the start of the pass.
    - `is_first`: whether this is the first pass, in which nothing is replaced.
    """

    running: Running
    parts: Moments
    total: Moments
    pivot: Means
    is_first: Flag

    @property
    def mixture(self) -> GaussianMixture:
        """The current estimate."""
        return self.running.mixture


class Incremental(AbstractPasses):
    r"""Incremental expectation-maximisation: an M-step after every part of the data,
    from the moments of that part by the current mixture and those of all other parts as
    they were when they were visited last.

    The first pass is a step of EM, in which the moments of all parts are found. After
    it no M-step lowers the free energy

    $$\sum_{n} \sum_k r_{nk} (\log π_k N(x_n; μ_k, Σ_k) - \log r_{nk}),$$

    of which $r$ are the responsibilities that each part had; with one part it is EM. It
    needs as much memory as each part has moments: of full covariances `n_components *
    n_features**2` numbers per part.

    Parts are blocks, or in memory 20 of them. It takes its passes and does not ask
    whether the log-likelihood settles: the status of a fit is `passes_taken`.
    [`gmmx_eqx.InTurn`][] ends it by another solver. A family of low rank is kept as
    square matrices.

    **Attributes:**

    - `passes`: how many passes over the data.
    - `samples_per_update`: how many samples a part has; a block, or in memory a
        twentieth of the data and at least 256, if `None`.
    - `key`: the numbers of the key that chooses parts and orders them.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (4000, 2)).at[::2].add(5.0)
    start = gx.GaussianMixture.from_k_means(x[:100], 2, key=jr.key(1))
    solution = gx.fit(start, x, solver=gx.Incremental(passes=3))
    print(solution.status, int(solution.n_steps))
    ```

    ```text
    passes_taken 3
    ```

    ??? cite "Reference"

        Neal, Hinton (1998), A View of the EM Algorithm that Justifies Incremental,
        Sparse, and Other Variants. Learning in Graphical Models, 355-368.
    """

    passes: int = eqx.field(static=True)
    samples_per_update: int | None = eqx.field(static=True)
    key: Words
    keeps_parts: ClassVar[bool] = True

    @hinted(HINTS)
    def __init__(
        self,
        passes: int = 5,
        *,
        samples_per_update: int | None = None,
        key: KeyLike | None = None,
    ):
        """**Arguments** and **errors**: as for [`gmmx_eqx.Stepwise`][]."""
        self.passes, self.samples_per_update = as_passes(passes, samples_per_update)
        self.key = as_order(key)

    def begin(self, mixture: GaussianMixture, n_parts: int) -> IncrementalState:
        kept = as_kept(mixture.covariances)
        zeros = lambda *lead: jax.tree.map(
            lambda leaf: jnp.zeros((*lead, *leaf.shape), leaf.dtype),
            eqx.filter_eval_shape(kept.moments, mixture.means, mixture.weights),
        )
        running = Running.of(mixture)
        parts, total = zeros(n_parts), zeros()
        return IncrementalState(running, parts, total, mixture.means, jnp.array(True))

    def visit(
        self,
        state: IncrementalState,
        number: Count,
        source: AbstractSource,
        m_step: MStep,
    ) -> IncrementalState:
        before = state.mixture
        kept = as_kept(before.covariances)
        expectation = expect_about_means(before, source)
        part = recentred(expectation.moments, kept, state.pivot - before.means)
        total = jax.tree.map(
            lambda total, parts, part: total - parts[number] + part,
            state.total,
            state.parts,
            part,
        )
        value, first = expectation.log_likelihood, state.is_first
        running = state.running.count(value)
        learnt, failed = _learn(state, total, value, m_step)
        learnt = eqx.tree_at(lambda r: r.log_likelihood, learnt, running.log_likelihood)
        # Moments that lead to no mixture are not kept either.
        skip = failed & ~first
        put = lambda parts, part: parts.at[number].set(
            jnp.where(skip, parts[number], part)
        )
        return IncrementalState(
            running=where(first, running, learnt),
            parts=jax.tree.map(put, state.parts, part),
            total=where(skip, state.total, total),
            pivot=state.pivot,
            is_first=first,
        )

    def finish(self, state: IncrementalState, m_step: MStep) -> IncrementalState:
        # Summed anew: differences of many parts gather rounding errors.
        total = jax.tree.map(lambda parts: jnp.sum(parts, axis=0), state.parts)
        learnt, _ = _learn(state, total, state.running.log_likelihood, m_step)
        running = where(state.is_first, learnt, state.running)
        by = running.mixture.means - state.pivot
        kept = as_kept(running.mixture.covariances)
        return IncrementalState(
            running=running.begin_pass(),
            parts=jax.vmap(lambda part: recentred(part, kept, by))(state.parts),
            total=recentred(total, kept, by),
            pivot=running.mixture.means,
            is_first=jnp.array(False),
        )

    def running(self, state: IncrementalState) -> Running:
        return state.running

    def default_size(self, n_samples: int) -> int:
        return min(max(-(-n_samples // _PARTS), _SMALLEST), n_samples)


def _learn(
    state: IncrementalState, total: Moments, log_likelihood: Scalar, m_step: MStep
) -> tuple[Running, Flag]:
    """The M-step of sums over all parts."""
    before = state.mixture
    kept = as_kept(before.covariances)
    moments = recentred(total, kept, before.means - state.pivot)
    return state.running.learn(moments, log_likelihood, m_step)
