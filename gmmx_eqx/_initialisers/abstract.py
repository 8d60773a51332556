import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Columns, PerSample, Rows
from .._sources import Chunk, InMemory
from .scaling import ScalingMatrix


class Partition(eqx.Module):
    """A rule that divides samples among components by their distance to centres.

    **Attributes:**

    - `scaling`: what distances are measured after, shape `(features, features)`, in
        inverse units of the data.
    - `centres`: scaled and about the source's pivot, shape `(components, features)`.
    - `softness`: the variance of the Gaussian weights around each centre, in scaled
        units; zero gives each sample to its nearest centre alone.
    """

    scaling: ScalingMatrix
    centres: Float[Array, "components features"]
    softness: float = eqx.field(static=True, default=0.0)

    def __call__(self, chunk: Chunk) -> PerSample:
        """Responsibilities of one chunk, shape `(batch, components, 1, 1)`."""
        points = linalg.matmul(self.scaling, chunk.columns)
        distances = squared_distances(points, self.centres)
        if self.softness:
            resp = jax.nn.softmax(-distances / (2 * self.softness), axis=0)
        else:
            resp = nearest(distances)
        return resp.T[..., None, None]


class AbstractInitialiser(eqx.Module):
    """A way to divide data among components before the first step of EM."""

    @abc.abstractmethod
    def partition(
        self, source: InMemory, n_components: int, *, key: Any
    ) -> Partition:
        """A random partition, the same for the same `key`."""


def squared_distances(
    points: Columns, centres: Float[Array, "components features"]
) -> Rows:
    # The difference first: expanding the square would lose the structure within
    # clusters that are far from each other.
    return jnp.sum((points[None] - centres[:, :, None]) ** 2, axis=1)


def nearest(distances: Rows) -> Rows:
    """One for the smallest number of each column, zero elsewhere."""
    index = jnp.argmin(distances, axis=0)
    components = jnp.arange(distances.shape[0])
    return (index[None] == components[:, None]).astype(distances.dtype)
