"""A mixture of fewer components."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

from .._core import inputs, linalg
from .._core.aliases import Labels
from .._core.programs import program
from .._covariances import (
    AbstractValues,
    as_values,
    between,
    unshared,
    with_values,
)
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from . import merging


PerLane = Float[Array, "components lanes"]
PairCosts = Float[Array, "components components lanes"]
Member = Bool[Array, "components lanes"]


def reduce(mixture: AbstractGaussianMixture, n_components: int) -> GaussianMixture:
    r"""The mixture with pairs of components merged, the least different first, until
    `n_components` are left.

    The difference of two is Runnalls' upper bound (eq. 21) on the Kullback-Leibler
    divergence that merging them costs,

    $$
    B = \tfrac{1}{2} ((w_i + w_j) \log |Σ_{ij}| - w_i \log |Σ_i| - w_j \log |Σ_j|) .
    $$

    Merging is as in [`gmmx_eqx.merge`][]: tied covariances become full. Derivatives are
    those of merging the components that were chosen.

    **Arguments:**

    - `n_components`: how many to keep; a Python integer.

    **Raises:**

    `ValueError` if there are fewer.

    ??? cite "Reference"

        Runnalls (2007), Kullback-Leibler Approach to Gaussian Mixture Reduction. IEEE
        Trans. Aerospace and Electronic Systems 43(3), 989-999.
    """
    check_mixture(mixture)
    n_components = inputs.check_count(n_components, "n_components")
    if n_components > mixture.n_components:
        raise ValueError(
            f"`n_components` must be at most {mixture.n_components}, as many as the "
            f"mixture has; got {n_components}."
        )
    return _reduce(mixture, n_components)


@program()
def _reduce(mixture: AbstractGaussianMixture, n_components: int) -> GaussianMixture:
    groups = _groups(jax.lax.stop_gradient(mixture), n_components)
    return merging.merged(mixture, groups, n_components)


# What the matrices of the pairs whose costs are found side by side may hold.
_BATCH_BYTES = 2**20


def _groups(mixture: AbstractGaussianMixture, n_components: int) -> Labels:
    """The group of every component, numbered in the order of their first members."""
    covariances = unshared(mixture.covariances, mixture.n_components)
    rule = _Rule(type(covariances), n_components)

    # Lanes go last, where they fill the vector units of a CPU: first, as `vmap` has
    # them, they leave it with a few numbers at a time.
    @custom_vmap
    def find(weights: Array, means: Array, values: Array) -> Array:
        last = (x[..., None] for x in (weights, means, values))
        return rule(*last)[..., 0]

    @find.def_vmap
    def _(axis_size: int, in_batched: Any, *args: Array) -> tuple[Array, bool]:
        spread = lambda x: jnp.broadcast_to(x[None], (axis_size, *x.shape))
        lanes = (
            jnp.moveaxis(x if is_batched else spread(x), 0, -1)
            for x, is_batched in zip(args, in_batched, strict=True)
        )
        return jnp.moveaxis(rule(*lanes), -1, 0), True

    return find(
        mixture.weights[0, :, 0, 0],
        mixture.means[0, :, :, 0],
        as_values(covariances)[0],
    )


class _State(NamedTuple):
    weights: PerLane
    means: Float[Array, "components features lanes"]
    values: Float[Array, "components _ _ lanes"]
    # Of pairs in order: infinite elsewhere, and where one of the two is gone.
    costs: PairCosts
    # The component that each of the first ones is part of by now.
    part_of: Int[Array, "components lanes"]
    # Of the covariances.
    log_dets: PerLane


class _Rule(NamedTuple):
    """Which components are merged. Components are read and written by masks, since with
    many lanes an index is a gather or a scatter, which a CPU does one by one."""

    family: type[AbstractValues]
    n_components: int

    def __call__(self, weights: Array, means: Array, values: Array) -> Array:
        n, n_lanes = weights.shape
        every = jnp.arange(n)
        start = _State(
            weights,
            means,
            values,
            costs=jnp.zeros((n, n, n_lanes), means.dtype),
            part_of=jnp.broadcast_to(every[:, None], (n, n_lanes)),
            log_dets=self.log_dets(values, means.shape[1]),
        )
        one = lambda i: jnp.broadcast_to((every == i)[:, None], (n, n_lanes))
        size = max(1, min(n, _BATCH_BYTES // values.nbytes))
        costs_of = lambda i: self.costs(start, one(i))[0]
        costs = jax.lax.map(costs_of, every, batch_size=size)
        in_order = (every[:, None] < every[None])[..., None]
        start = start._replace(costs=jnp.where(in_order, costs, jnp.inf))
        step = lambda _, state: self.merge(state)
        end = jax.lax.fori_loop(0, n - self.n_components, step, start)
        is_first = end.part_of == every[:, None]
        number = jnp.cumsum(is_first, axis=0) - 1
        return jnp.take_along_axis(number, end.part_of, axis=0)

    def merge(self, state: _State) -> _State:
        """The pair that costs least, as one component in the place of its first."""
        n = state.weights.shape[0]
        every = jnp.arange(n)[:, None]
        flat = state.costs.reshape(n * n, -1)
        index = jnp.arange(n * n)[:, None]
        smallest = jnp.min(flat, axis=0)[None]
        first = jnp.min(jnp.where(flat == smallest, index, n * n - 1), axis=0)[None]
        i, j = jnp.divmod(first, n)
        is_i, is_j = every == i, every == j
        merged = self.merged_with(state, is_i)
        put = lambda new, old: jnp.where(_like(is_i, old), _pick(new, is_j), old)
        weights, means, values = map(put, merged, state[:3])
        state = state._replace(
            weights=jnp.where(is_j, 0, weights),
            means=means,
            values=values,
            part_of=jnp.where(state.part_of == j, i, state.part_of),
        )
        costs, log_det = self.costs(state, is_i)
        costs = jnp.where(state.part_of == every, costs, jnp.inf)
        row = jnp.where(every > i, costs, jnp.inf)
        column = jnp.where(every < i, costs, jnp.inf)
        costs = jnp.where(is_i[:, None], row[None], state.costs)
        costs = jnp.where(is_i[None], column[:, None], costs)
        gone = is_j[:, None] | is_j[None]
        return state._replace(
            costs=jnp.where(gone, jnp.inf, costs),
            log_dets=jnp.where(is_i, log_det, state.log_dets),
        )

    def merged_with(self, state: _State, is_one: Member) -> tuple[Array, Array, Array]:
        """One component merged with each of all."""
        own_weight, own_mean, own_values = (_pick(x, is_one) for x in state[:3])
        weights = own_weight + state.weights
        share = jnp.where(weights > 0, linalg.safe_divide(state.weights, weights), 0.5)
        residuals = state.means - own_mean
        means = own_mean + share[:, None] * residuals
        outer = _in_lanes(self.outer)(residuals)
        share = share[:, None, None]
        values = (1 - share) * own_values + share * state.values
        return weights, means, values + share * (1 - share) * outer

    def costs(
        self, state: _State, is_one: Member
    ) -> tuple[PerLane, Float[Array, "one=1 lanes"]]:
        """Runnalls' bound for one component with every other one; and the
        log-determinant of its own covariance, which merging it with itself leaves."""
        *_, values = self.merged_with(state, is_one)
        both = self.log_dets(values, state.means.shape[1])
        own = _pick(both, is_one)
        others = jnp.where(is_one, own, state.log_dets)
        # Differences before products: the unit of the data cancels in them.
        cost = _pick(state.weights, is_one) * (both - own)
        cost = cost + state.weights * (both - others)
        # What overflows or is no number is merged last, but before what is gone.
        largest = jnp.finfo(cost.dtype).max
        return 0.5 * jnp.where(cost < largest, cost, largest), own

    def outer(self, residuals: Array) -> Array:
        ones = jnp.ones((1, residuals.shape[0], 1, 1), residuals.dtype)
        return between(self.family, residuals[None, ..., None], ones)[0]

    def log_dets(self, values: Array, n_features: int) -> PerLane:
        def of_lane(values: Array) -> Array:
            covariances = with_values(self.family, values[None])
            return covariances.whitening(n_features).log_det[0, :, 0, 0]

        return _in_lanes(of_lane)(values)


def _in_lanes(fn: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return jax.vmap(fn, in_axes=-1, out_axes=-1)


def _like(mask: Member, x: Array) -> Array:
    return jnp.expand_dims(mask, tuple(range(1, x.ndim - 1)))


def _pick(x: Array, mask: Member) -> Array:
    """The one component that the mask selects."""
    return jnp.sum(jnp.where(_like(mask, x), x, 0), axis=0, keepdims=True)
