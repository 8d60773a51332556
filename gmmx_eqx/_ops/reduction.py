"""A mixture of fewer components."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._core import inputs, linalg
from .._core.aliases import Count, Labels, Means, Values, Weights
from .._core.axes import Axis
from .._covariances import AbstractCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from . import merging


Costs = Float[Array, "components components"]
Row = Float[Array, " components"]


def reduce(mixture: AbstractGaussianMixture, n_components: int) -> GaussianMixture:
    r"""The mixture with pairs of components merged, the least different first, until
    `n_components` are left.

    The difference of two is Runnalls' upper bound (eq. 21) on the Kullback-Leibler
    divergence that merging them costs,
    $B = \frac{1}{2} ((w_i + w_j) \log |Σ_{ij}| - w_i \log |Σ_i| - w_j \log |Σ_j|)$.
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


@eqx.filter_jit
def _reduce(mixture: AbstractGaussianMixture, n_components: int) -> GaussianMixture:
    groups = _groups(jax.lax.stop_gradient(mixture), n_components)
    return merging.merged(mixture, groups, n_components)


class _State(NamedTuple):
    weights: Weights
    means: Means
    values: Values
    # Of pairs in order: infinite elsewhere, and where one of the two is gone.
    costs: Costs
    # The component that each of the first ones is part of by now.
    part_of: Labels


def _groups(mixture: AbstractGaussianMixture, n_components: int) -> Labels:
    """The group of every component, numbered in the order of their first members."""
    covariances = merging.unshared(mixture.covariances, mixture.n_components)
    family = type(covariances)
    every = jnp.arange(mixture.n_components)
    start = _State(
        weights=mixture.weights,
        means=mixture.means,
        values=covariances.values,
        costs=jnp.zeros((every.size, every.size), mixture.means.dtype),
        part_of=every,
    )
    in_order = every[:, None] < every[None]
    costs = jax.lax.map(lambda i: _costs(family, start, i), every)
    start = start._replace(costs=jnp.where(in_order, costs, jnp.inf))

    def step(_: Count, state: _State) -> _State:
        i, j = jnp.divmod(jnp.argmin(state.costs), every.size)
        weights, means, values = (x[:, j] for x in _with_all(family, state, i))
        state = state._replace(
            weights=state.weights.at[:, i].set(weights).at[:, j].set(0),
            means=state.means.at[:, i].set(means),
            values=state.values.at[:, i].set(values),
            part_of=jnp.where(state.part_of == j, i, state.part_of),
        )
        costs = _costs(family, state, i)
        row, column = (
            jnp.where(_is_left(state) & after, costs, jnp.inf)
            for after in (every > i, every < i)
        )
        costs = state.costs.at[i, :].set(row).at[:, i].set(column)
        return state._replace(costs=costs.at[j, :].set(jnp.inf).at[:, j].set(jnp.inf))

    n_merges = every.size - n_components
    part_of = jax.lax.fori_loop(0, n_merges, step, start).part_of
    number = jnp.cumsum(part_of == every) - 1
    return number[part_of]


def _is_left(state: _State) -> Bool[Array, " components"]:
    return state.part_of == jnp.arange(state.part_of.size)


def _costs(family: type[AbstractCovariances], state: _State, i: Count) -> Row:
    """Runnalls' bound for component `i` with every other one."""
    log_det = lambda values: _log_det(family, values, state.means.shape[Axis.features])
    own = log_det(state.values)
    _, _, values = _with_all(family, state, i)
    mass = jnp.take(state.weights, i[None], axis=int(Axis.components))
    other = jnp.take(own, i[None], axis=int(Axis.components))
    both = log_det(values)
    # Differences before products: the unit of the data cancels in them.
    cost = mass * (both - other) + state.weights * (both - own)
    # What overflows or is no number is merged last, but before what is gone.
    most = jnp.finfo(cost.dtype).max
    return 0.5 * jnp.where(cost < most, cost, most)[0, :, 0, 0]


def _log_det(
    family: type[AbstractCovariances], values: Values, n_features: int
) -> Weights:
    covariances = family(values=values)  # pyright: ignore[reportCallIssue]  # the field is abstract here
    log_det = -2 * covariances.log_det_cholesky
    return n_features * log_det if Axis.features in family.shared_axes else log_det


def _with_all(
    family: type[AbstractCovariances], state: _State, i: Count
) -> tuple[Weights, Means, Values]:
    """Component `i` merged with each of all."""
    take = lambda x: jnp.take(x, i[None], axis=int(Axis.components))
    weights = take(state.weights) + state.weights
    share = jnp.where(weights > 0, linalg.safe_divide(state.weights, weights), 0.5)
    residuals = state.means - take(state.means)
    means = take(state.means) + share * residuals
    outer = merging.between(family, residuals, jnp.ones_like(share))
    values = (1 - share) * take(state.values) + share * state.values
    return weights, means, values + share * (1 - share) * outer
