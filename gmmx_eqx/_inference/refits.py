"""The fit of a mixture again, from where it ended, to many variations of its data."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int

from .._core.aliases import Count, Data, SampleWeight
from .._core.programs import program
from .._fit import Solution
from .._fit.driver import drive_lanes, pinned
from .._fit.fit_many import numbers_of_lanes
from .._fit.options import Options
from .._fit.progress import Ticket
from .._fit.solution import ending, moved
from .._mixture import GaussianMixture, sampling
from .._sources import InMemory


Lanes: TypeAlias = Int[Array, " lanes"]
# From a key, the weights of all samples and which one is left out to the weights of a
# lane.
Reweight: TypeAlias = Callable[[Any, SampleWeight, Count], SampleWeight]


def exponential(key: Any, weight: SampleWeight, left_out: Count) -> SampleWeight:
    """Dirichlet's: those of a sample of weight two are the sum of those of two."""
    del left_out
    is_one = jnp.all((weight == 1) | (weight == 0))
    shape = jnp.where(weight > 0, weight, 1)
    drawn = jax.lax.cond(
        is_one,
        lambda: weight * jr.exponential(key, weight.shape, weight.dtype),
        lambda: jnp.where(weight > 0, jr.gamma(key, shape, dtype=weight.dtype), 0),
    )
    return _with_total_of(drawn, weight)


def multinomial(key: Any, weight: SampleWeight, left_out: Count) -> SampleWeight:
    """How often each sample is drawn, with replacement; of weights other than one, as
    often as in a Poisson process."""
    del left_out
    is_one = jnp.all((weight == 1) | (weight == 0))

    def of_ones() -> SampleWeight:
        # The samples that count come first, wherever they are.
        order = jnp.argsort(weight == 0, stable=True)
        n_samples = jnp.sum(weight > 0)
        drawn = order[jr.randint(key, weight.shape, 0, n_samples)]
        is_draw = (jnp.arange(weight.size) < n_samples).astype(weight.dtype)
        return jnp.zeros_like(weight).at[drawn].add(is_draw)

    def of_others() -> SampleWeight:
        counts = jr.poisson(key, weight).astype(weight.dtype)
        return _with_total_of(counts, weight)

    return jax.lax.cond(is_one, of_ones, of_others)


def without_one(key: Any, weight: SampleWeight, left_out: Count) -> SampleWeight:
    """All but one."""
    del key
    return jnp.where(jnp.arange(weight.size) == left_out, 0, weight)


def _with_total_of(drawn: SampleWeight, weight: SampleWeight) -> SampleWeight:
    return drawn * (jnp.sum(weight) / jnp.sum(drawn))


def _size(start: GaussianMixture, x: Data, *rest: Any) -> int:
    _, keys, *_ = rest
    return start.n_components * numbers_of_lanes(x.size, keys.shape[0])


@program(_size)
def fit_reweighted(
    start: GaussianMixture,
    x: Data,
    weight: SampleWeight,
    keys: Any,
    left_out: Lanes,
    n_lanes: Count,
    options: Options,
    reweight: Reweight,
    width: int,
    ticket: Ticket | None = None,
) -> Solution:
    """Fits to samples with other weights, of which the first `n_lanes` count."""
    source = options.source(x, weight, start.covariances, of_lanes=True)
    assert isinstance(source, InMemory)
    step = options.step(source, start.covariances)
    weights = jax.vmap(lambda key, i: reweight(key, weight, i))(keys, left_out)

    def of_lane(lane: Count) -> tuple[InMemory, SampleWeight]:
        own = weights[lane]
        parts = source.split(own), jnp.sum(own)
        return eqx.tree_at(lambda s: (s.weights, s.total), source, parts), own

    def step_of(lane: Count) -> Any:
        own, _ = of_lane(lane)
        return eqx.tree_at(lambda s: s.e_step.source, step, own)

    return _fit(start, options, step_of, of_lane, n_lanes, width, keys, ticket)


@program(_size)
def fit_drawn(
    start: GaussianMixture,
    x: Data,
    weight: SampleWeight,
    keys: Any,
    n_draws: int,
    n_lanes: Count,
    options: Options,
    width: int,
    ticket: Ticket | None = None,
) -> Solution:
    """Fits to samples of the mixture itself, with the ridge of the data's own fit."""
    known = options.source(x, weight, start.covariances, of_lanes=True)
    step = options.step(known, start.covariances)
    parts = start.weights, start.means, start.covariances

    def source_of(key: Any) -> InMemory:
        drawn, _ = sampling.sample(*parts, key, n_draws)
        source = options.source(drawn, None, start.covariances, of_lanes=True)
        assert isinstance(source, InMemory)
        return source

    sources = jax.vmap(source_of)(keys)

    def of_lane(lane: Count) -> tuple[InMemory, None]:
        return jax.tree.map(lambda leaf: leaf[lane], sources), None

    def step_of(lane: Count) -> Any:
        own, _ = of_lane(lane)
        of_own = eqx.tree_at(lambda s: s.e_step.source, step, own)
        if options.prior is None:
            return of_own
        # About the pivot of these samples.
        prior = options.prior.resolve(start.covariances, own)
        return eqx.tree_at(lambda s: s.prior, of_own, prior)

    return _fit(start, options, step_of, of_lane, n_lanes, width, keys, ticket)


def _fit(
    start: GaussianMixture,
    options: Options,
    step_of: Callable[[Count], Any],
    of_lane: Callable[[Count], tuple[InMemory, SampleWeight | None]],
    n_lanes: Count,
    width: int,
    keys: Any,
    ticket: Ticket | None,
) -> Solution:
    lanes = jnp.arange(keys.shape[0])
    n_components = jnp.asarray(start.n_components)
    about = lambda lane: moved(start, -of_lane(lane)[0].pivot)

    def finish(mixture: GaussianMixture, state: Any, lane: Count) -> Solution:
        source, weight = of_lane(lane)
        resolved = options.is_resolved(mixture)
        result = ending(state, source, weight, n_components, resolved)
        solution = Solution.from_state(mixture, state, step_of(lane).m_step, result)
        return solution.pinned(options.frozen, start)

    mixtures, states, _ = drive_lanes(
        lambda lane: pinned(step_of(lane), about(lane)),
        options.solver,
        jax.vmap(about)(lanes),
        width,
        ticket,
        n_lanes,
    )
    return jax.vmap(finish)(mixtures, states, lanes)
