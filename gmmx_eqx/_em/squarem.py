from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core.aliases import Count, Flag, Scalar
from .._core.hints import hinted
from .._core.likes import AmountLike, CountLike
from .._core.results import RESULTS
from .._core.trees import where
from .._mixture import GaussianMixture
from .chart import Chart
from .solver import (
    AbstractEM,
    AbstractEMState,
    as_max_steps,
    as_tol,
    HINTS,
    judge,
    Record,
    Step,
)


_Tree = TypeVar("_Tree")

# By how much the longest extrapolation grows when it is used and helps (Varadhan,
# Roland).
_GROWTH = 4.0


class SQUAREMState(AbstractEMState):
    """State of [`gmmx_eqx.SQUAREM`][].

    **Attributes:**

    - `record`: a [`gmmx_eqx.extend.Record`][].
    - `phase`: of a cycle: 0, 1 before its two steps of EM, 2 at the extrapolation.
    - `before`: the mixture that the cycle began with.
    - `retreat`: where two steps of EM had led.
    - `longest`: the longest step length that is tried; zero if none is.
    - `start`: where to start again, without extrapolation, should a component collapse.
    - `leapt`: whether an extrapolation has been followed since.
    """

    record: Record
    phase: Count
    before: GaussianMixture
    retreat: GaussianMixture
    longest: Scalar
    start: GaussianMixture
    leapt: Flag


class SQUAREM(AbstractEM):
    r"""Expectation-maximisation with squared extrapolation: far fewer steps where EM
    crawls, which it does when components overlap.

    After two steps of EM, $θ_0 → θ_1 → θ_2$, it goes to $θ_0 - 2 α r + α^2 v$, with
    $r = θ_1 - θ_0$, $v = θ_2 - 2 θ_1 + θ_0$ and $α = -|r| / |v|$, and takes a step of
    EM from there. An extrapolation that is less likely than $θ_1$, or not a mixture, is
    dropped, and plain EM goes on from $θ_2$: the likelihood never falls. The
    coordinates are logarithms of weights, means in units of widths, and triangular
    factors of precisions with logarithms on the diagonal.

    Stops as [`gmmx_eqx.EM`][] does, by the change of a plain step. `n_steps` counts all
    steps, those that were dropped too.

    Where the likelihood has no bound, which is so without a ridge, an extrapolation can
    pass a weak maximum by and lead to a collapse where EM converges. So if a component
    collapses, all begins again at the start, without extrapolation: the history of
    log-likelihoods falls there, and what collapses in the end does so in plain EM.
    Where there are several maxima, it may also lead to another one than EM.

    **Attributes:**

    - `tol`: in nats per sample; with zero, all `max_steps` are taken.
    - `max_steps`: zero evaluates the start.
    - `history_size`: how many log-likelihoods are kept.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
    print(gx.fit(start, x, solver=gx.SQUAREM(tol=1e-5)).status)
    ```

    ```text
    successful
    ```

    ??? cite "Reference"

        Varadhan, Roland (2008), Simple and Globally Convergent Methods for Accelerating
        the Convergence of Any EM Algorithm. Scandinavian Journal of Statistics 35(2),
        335-353. Scheme S3, with their bound on the step length.
    """

    tol: Scalar
    max_steps: Count
    history_size: int = eqx.field(static=True)

    @hinted(HINTS)
    def __init__(self, tol: AmountLike = 1e-6, max_steps: CountLike = 1000):
        """**Arguments** and **errors**: as for [`gmmx_eqx.EM`][]."""
        self.tol = as_tol(tol)
        self.max_steps, self.history_size = as_max_steps(max_steps)

    def init(self, mixture: GaussianMixture) -> SQUAREMState:
        return SQUAREMState(
            record=Record.blank(self.history_size, mixture.means.dtype),
            phase=jnp.array(0),
            before=mixture,
            retreat=mixture,
            longest=jnp.ones((), mixture.means.dtype),
            start=mixture,
            leapt=jnp.array(False),
        )

    def step(
        self, fn: Step, mixture: GaussianMixture, state: SQUAREMState
    ) -> tuple[GaussianMixture, SQUAREMState]:
        record = state.record
        new, info = fn(mixture)
        tried = state.phase == 2
        # False for a NaN.
        helped = (info.objective >= record.objective) & ~info.collapsed
        dropped = tried & ~helped
        plain_stop, plain_result, noise = judge(self, record, info)
        # An extrapolation is no place to end: its change is not that of a plain step.
        stop = plain_stop & ~tried
        result = RESULTS.where(tried, record.result, plain_result)
        again = stop & state.leapt & (result == RESULTS.component_collapsed)
        stop = stop & ~again
        value = jnp.where(dropped, record.objective, info.objective)

        # The extrapolation needs a step to be judged and one to be followed or not.
        room = record.n_steps + 2 <= self.max_steps
        leap, length = _extrapolate(state.before, mixture, new, state.longest)
        leaps = (state.phase == 1) & room & (state.longest > 0) & ~again
        grown = jnp.where(
            length >= state.longest, _GROWTH * state.longest, state.longest
        )
        shrunk = jnp.maximum(state.longest / _GROWTH, 1)
        longest = jnp.where(dropped, shrunk, jnp.where(leaps, grown, state.longest))

        following = where(leaps, leap, where(dropped, state.retreat, new))
        following = where(again, state.start, following)
        noise = where(tried, record.noise, noise)
        record = record.after(value, stop, result, noise)
        # A fresh start has nothing to be compared with.
        value = jnp.where(again, -jnp.inf, value)
        record = eqx.tree_at(lambda r: r.objective, record, value)
        state = SQUAREMState(
            record=record,
            phase=jnp.where(leaps, 2, jnp.where((state.phase == 0) & ~again, 1, 0)),
            before=where(state.phase == 0, mixture, state.before),
            retreat=new,
            longest=jnp.where(again, 0, longest),
            start=state.start,
            leapt=(state.leapt | (tried & helped)) & ~again,
        )
        return where(stop, mixture, following), state


def _extrapolate(
    first: GaussianMixture,
    second: GaussianMixture,
    third: GaussianMixture,
    longest: Scalar,
) -> tuple[GaussianMixture, Scalar]:
    """From three mixtures, each a step of EM from the one before, to where they lead,
    and the length of that step."""
    scale = jax.lax.stop_gradient(jnp.sqrt(first.covariances.variances))
    a, b, c = (Chart.of(mixture, scale) for mixture in (first, second, third))
    r = jax.tree.map(lambda a, b: b - a, a, b)
    v = jax.tree.map(lambda a, b, c: c - 2 * b + a, a, b, c)
    norm = lambda tree: jnp.sqrt(
        sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))
    )
    length = norm(r) / norm(v)
    # With a length of one it is the third of the three.
    length = jnp.clip(jnp.where(jnp.isfinite(length), length, 1), 1, longest)
    leap = jax.tree.map(lambda a, r, v: a + 2 * length * r + length**2 * v, a, r, v)
    return leap.mixture(third, scale), length
