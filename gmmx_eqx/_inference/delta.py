"""The delta method: standard errors of functions of a mixture."""

from statistics import NormalDist
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._core import linalg
from .._core.aliases import Arrays
from .._core.describe import describe
from .._core.likes import AmountLike
from .._core.pickling import Pickled
from .._mixture import GaussianMixture
from .coordinates import Coordinates
from .information import Square


class Uncertain(Pickled, eqx.Module):
    """A number, or a PyTree of arrays of them, with standard errors.

    **Attributes:**

    - `value`: what it is at the fitted mixture.
    - `standard_error`: of every number, in its place.
    """

    value: Arrays
    standard_error: Arrays

    def interval(self, level: AmountLike = 0.95) -> tuple[Arrays, Arrays]:
        """The lower and upper ends of intervals about each number, which hold it with
        probability `level` if it is normally distributed."""
        width = NormalDist().inv_cdf(0.5 + check_level(level) / 2)
        ends = (
            jax.tree.map(
                lambda value, error, sign=sign: value + sign * width * error,
                self.value,
                self.standard_error,
            )
            for sign in (-1, 1)
        )
        lower, upper = ends
        return lower, upper


def check_level(level: Any, name: str = "level") -> float:
    """A share strictly between zero and one, or a `ValueError`."""
    is_number = np.ndim(level) == 0 and np.asarray(level).dtype.kind in "iuf"
    if not is_number or not 0 < float(level) < 1:
        raise ValueError(
            f"`{name}` must be a number between 0 and 1, such as 0.95; got "
            f"{describe(level)}."
        )
    return float(level)


def moves_of(coordinates: Coordinates) -> GaussianMixture:
    """By how much every number of the mixture moves with each coordinate, on a leading
    axis."""
    chart = coordinates.chart()
    along = lambda direction: jax.jvp(chart, (coordinates.origin,), (direction,))[1]
    return jax.vmap(along)(jnp.eye(coordinates.size, dtype=coordinates.origin.dtype))


def deviations(moves: Arrays, covariance: Square) -> Arrays:
    """Standard errors of numbers that move so with each coordinate."""

    def of_leaf(leaf: Array) -> Array:
        rows = leaf.reshape(leaf.shape[0], -1).astype(covariance.dtype)
        squares = jnp.sum(rows * linalg.matmul(covariance, rows), axis=0)
        # Rounding of what does not depend on the parameters may be below zero.
        return jnp.sqrt(jnp.where(squares < 0, 0, squares)).reshape(leaf.shape[1:])

    return jax.tree.map(of_leaf, moves)
