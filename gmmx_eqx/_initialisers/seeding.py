"""Random choices among samples, without ever choosing one of weight zero."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .._core.aliases import Count, Scalar


Points: TypeAlias = Float[Array, "chunks features batch"]
Mass: TypeAlias = Float[Array, "chunks batch"]
Point: TypeAlias = Float[Array, " features"]
Uniforms: TypeAlias = Float[Array, "2"]
Centres: TypeAlias = Float[Array, "components features"]

# So many features at once in the loop of distances.
_UNROLLED = 4


def choose(points: Points, mass: Mass, uniforms: Uniforms) -> Point:
    """A sample, chosen with probability proportional to its mass: first its chunk, then
    within the chunk."""
    chunk = _pick(jnp.sum(mass, axis=1), uniforms[0])
    column = _pick(mass[chunk], uniforms[1])
    return points[chunk, :, column]


def _pick(mass: Float[Array, " n"], uniform: Scalar) -> Count:
    """An index, by inversion of the cumulative sum: one random number for each choice,
    where the Gumbel trick needs one for each sample."""
    cumulative = jnp.cumsum(mass)
    # Rounding can make the sum grow where the mass is zero; such an index must not be
    # chosen. At least the last one of positive mass is.
    top = jnp.max(jnp.where(mass > 0, cumulative, 0))
    return jnp.argmax((cumulative >= uniform * top) & (mass > 0))


def squared_distances(
    points: Float[Array, "*chunks features batch"], centres: Centres
) -> Float[Array, "*chunks components batch"]:
    """From every centre to every point."""

    # The difference first: expanding the square would lose the structure within
    # clusters that are far from each other. One feature at a time: as one sum over an
    # axis, a CPU takes twice as long.
    def add(feature, total):
        feature_of = lambda array, axis: jax.lax.dynamic_index_in_dim(
            array, feature, axis
        )
        column = feature_of(centres, 1).reshape(*(1,) * (points.ndim - 2), -1, 1)
        return total + (feature_of(points, -2) - column) ** 2

    *chunks, n_features, size = points.shape
    zeros = jnp.zeros((*chunks, centres.shape[0], size), points.dtype)
    distances = jax.lax.fori_loop(0, n_features, add, zeros, unroll=_UNROLLED)
    if n_features > _UNROLLED:
        return distances
    # No loop is left, and XLA may compute the distances once for each use and round
    # them differently: none would be equal to the smallest one.
    return jax.lax.optimization_barrier(distances)


def greedy_trials(n_active: Count) -> Count:
    """How many candidates greedy k-means++ takes for each centre."""
    return 2 + jnp.log(n_active).astype(int)


def max_trials(n_components: int) -> int:
    """The same, of all components."""
    return 2 + int(math.log(n_components))


def seed(
    points: Points,
    weights: Mass,
    n_components: int,
    n_active: Count,
    n_trials: int,
    mass_of: Callable[[Mass], Mass],
    key: Any,
    n_used: Count | None = None,
) -> Centres:
    """Samples chosen one after the other.

    Each is the best of `n_trials` chosen with probability `mass_of(d)` times its
    weight, where d is the squared distance to the nearest sample chosen so far; best
    is the one that leaves the smallest sum of squared distances. Distinct as long as
    the data has enough distinct samples and `mass_of(0) == 0`. Those from number
    `n_active` on are at infinity. With `n_used`, only so many of the trials count.
    """
    # All random numbers at once, along one axis: each generator in a program takes long
    # to compile, and several times as long if its result has more axes. More of them
    # than are used, so that components that are not active do not change the others.
    n_columns = max(8, 2 ** (n_trials - 1).bit_length())
    uniforms = jr.uniform(key, (n_components * n_columns * 2,), points.dtype)
    uniforms = uniforms.reshape(n_components, n_columns, 2)[:, :n_trials]
    first = choose(points, weights, uniforms[0, 0])
    stop = n_trials if n_used is None else n_used

    def add(nearest, uniforms):
        mass = weights * mass_of(nearest)

        def attempt(number, best):
            candidate = choose(points, mass, uniforms[number])
            distances = squared_distances(points, candidate[None])[:, 0]
            distances = jnp.minimum(distances, nearest)
            inertia = jnp.sum(weights * distances)
            better = inertia < best[0]
            pick = lambda new, old: jnp.where(better, new, old)
            return jax.tree.map(pick, (inertia, distances, candidate), best)

        infinite = jnp.full((), jnp.inf, points.dtype)
        best = infinite, nearest, jnp.zeros_like(first)
        _, nearest, candidate = jax.lax.fori_loop(0, stop, attempt, best)
        return nearest, candidate

    indices = jnp.arange(1, n_components)
    to_first = squared_distances(points, first[None])[:, 0]
    _, rest = jax.lax.scan(add, to_first, uniforms[1:])
    rest = jnp.where(indices[:, None] < n_active, rest, jnp.inf)
    return jnp.concatenate([first[None], rest])
