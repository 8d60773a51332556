"""Random choices among samples, without ever choosing one of weight zero."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Count


Points: TypeAlias = Float[Array, "chunks features batch"]
Mass: TypeAlias = Float[Array, "chunks batch"]
Point: TypeAlias = Float[Array, " features"]
Centres: TypeAlias = Float[Array, "components features"]


def choose(key: Any, points: Points, mass: Mass) -> Point:
    """A sample, chosen with probability proportional to its mass.

    First its chunk, then within the chunk: fewer random numbers than samples, and no
    cumulative sum, whose rounding could choose a sample of mass zero.
    """
    key_chunk, key_column = jr.split(key)
    chunk = jr.categorical(key_chunk, linalg.safe_log(jnp.sum(mass, axis=1)))
    column = jr.categorical(key_column, linalg.safe_log(mass[chunk]))
    return points[chunk, :, column]


def distances_to(points: Points, point: Point) -> Mass:
    return jnp.sum((points - point[None, :, None]) ** 2, axis=1)


def seed(
    points: Points,
    weights: Mass,
    n_components: int,
    n_active: Count,
    n_trials: int,
    mass_of: Callable[[Mass], Mass],
    key: Any,
) -> Centres:
    """Samples chosen one after the other.

    Each is the best of `n_trials` chosen with probability `mass_of(d)` times its
    weight, where d is the squared distance to the nearest sample chosen so far; best
    is the one that leaves the smallest sum of squared distances. Distinct as long as
    the data has enough distinct samples and `mass_of(0) == 0`. Those from number
    `n_active` on are at infinity.
    """
    key_first, key_rest = jr.split(key)
    first = choose(key_first, points, weights)

    def add(nearest, key):
        mass = weights * mass_of(nearest)
        candidates = jax.vmap(choose, (0, None, None))(
            jr.split(key, n_trials), points, mass
        )
        distances = jax.vmap(distances_to, (None, 0))(points, candidates)
        distances = jnp.minimum(distances, nearest[None])
        best = jnp.argmin(jnp.sum(weights[None] * distances, axis=(1, 2)))
        return distances[best], candidates[best]

    keys = jr.split(key_rest, n_components - 1)
    indices = jnp.arange(1, n_components)
    _, rest = jax.lax.scan(add, distances_to(points, first), keys)
    rest = jnp.where(indices[:, None] < n_active, rest, jnp.inf)
    return jnp.concatenate([first[None], rest])
