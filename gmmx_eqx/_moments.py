import operator

import equinox as eqx
import jax
import jax.numpy as jnp

from ._core import linalg
from ._core.aliases import Means, Statistic, Weights
from ._core.axes import Axis


class Moments(eqx.Module):
    r"""Responsibility-weighted sums over samples; a commutative monoid under `+`.

    **Attributes:**

    - `count`: $N_k = \sum_n r_{nk}$, shape `(1, components, 1, 1)`.
    - `first`: $\sum_n r_{nk} (x_n - p)$, shape `(1, components, features, 1)`, in the
        units of the data.
    - `second`: $\sum_n r_{nk} (x_n - p)(x_n - p)^T$ in the shape that the covariance
        family needs (its `statistic`), in squared data units.

    The pivot $p$ is near the data, since about the origin $\sum x x^T / N - μ μ^T$
    cancels. It is the same for every chunk, and deliberately not stored here: every
    leaf is a plain sum, so that `+` and `jax.lax.psum` are both right leaf by leaf.
    """

    count: Weights
    first: Means
    second: Statistic

    def __add__(self, other: "Moments") -> "Moments":
        return jax.tree.map(operator.add, self, other)

    @property
    def shift(self) -> Means:
        """The mean of each component relative to the pivot; zero where it is empty."""
        return linalg.safe_divide(self.first, self.count)

    @property
    def total(self) -> Weights:
        """The weight of all samples, shape `(1, 1, 1, 1)`."""
        return jnp.sum(self.count, axis=Axis.components, keepdims=True)
