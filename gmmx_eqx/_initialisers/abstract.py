import abc
from typing import Any, ClassVar, TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from .._core import lapack, linalg
from .._core.aliases import Count, Data, PerSample, Rows, Scalar, Weighting
from .._core.axes import as_columns
from .._core.batching import rows_product
from .._core.likes import KeyLike
from .._sources import Chunk, InMemory
from .scaling import (
    correlation,
    Scaling,
    scaling_matrix,
    ScalingMatrix,
    whitening_matrix,
)
from .seeding import squared_distances


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


class AbstractPartition(eqx.Module):
    """A rule that divides samples among components.

    **Attributes:**

    - `pools_few_only`: whether only components with few samples begin with a part of
        the covariance within all.
    """

    pools_few_only: AbstractClassVar[bool]

    @property
    @abc.abstractmethod
    def extras(self) -> tuple[Real[Array, "chunks batch *_"], ...]:
        """What the rule needs beside a chunk of samples, split like the samples."""

    @abc.abstractmethod
    def __call__(self, chunk: Chunk, *extras: Any) -> PerSample:
        """Responsibilities of one chunk, shape `(batch, components, 1, 1)`."""

    def by_centres(self, source: InMemory) -> "Partition":
        """A partition by distances, after standardising, to the means of the
        components of this one."""

        def totals(chunk: Chunk, *extras: Any):
            resp = as_columns(self(chunk, *extras))[0, :, 0] * chunk.weights[None]
            return jnp.sum(resp, axis=1), linalg.matmul(chunk.columns, resp.T)

        count, first = source.reduce(totals, *self.extras)
        scaling = scaling_matrix(source, Scaling.standard)
        means = linalg.matmul(linalg.safe_divide(first, count[None]).T, scaling)
        return Partition(scaling, jnp.where(count[:, None] > 0, means, jnp.inf))


class Partition(AbstractPartition):
    """A rule that divides samples among components by their distance to centres.

    **Attributes:**

    - `scaling`: what distances are measured after, shape `(features, features)`, in
        inverse units of the data.
    - `centres`: scaled and about the source's pivot, shape `(components, features)`.
    - `softness`: the variance of the Gaussian weights around each centre, in scaled
        units; zero, or none, gives each sample to its nearest centre alone.
    - `pools_few_only`: no: every component begins with a part of the covariance within
        all.
    """

    scaling: ScalingMatrix
    centres: Float[Array, "components features"]
    softness: Scalar | None = None
    pools_few_only: ClassVar[bool] = False

    @property
    def extras(self) -> tuple[()]:
        """Nothing."""
        return ()

    def __call__(self, chunk: Chunk, *extras: Any) -> PerSample:
        """Responsibilities of one chunk, shape `(batch, components, 1, 1)`."""
        del extras
        points = linalg.matmul(self.scaling, chunk.columns)
        distances = squared_distances(points, self.centres)
        resp = nearest(distances)
        if self.softness is not None:
            is_soft = self.softness > 0
            variance = jnp.where(is_soft, self.softness, 1)
            shared = jax.nn.softmax(-distances / (2 * variance), axis=0)
            resp = jnp.where(is_soft, shared, resp)
        return resp.T[..., None, None]

    def by_centres(self, source: InMemory) -> "Partition":
        """This one."""
        del source
        return self


class AbstractInitialiser(eqx.Module):
    """A way to divide data among components before the first step of EM.

    **Attributes:**

    - `scaling`: what distances are measured after, a [`gmmx_eqx.Scaling`][].
    """

    scaling: eqx.AbstractVar[Scaling]

    def prepared(
        self, x: Data, weight: Weighting, key: KeyLike
    ) -> "AbstractInitialiser":
        """The initialiser with what all starts of one data set have in common. It is
        asked for once, and is the initialiser itself if there is nothing."""
        del x, weight, key
        return self

    @abc.abstractmethod
    def partition_scaled(
        self,
        source: InMemory,
        scaling: ScalingMatrix,
        n_components: int,
        n_active: Count,
        key: KeyLike,
    ) -> AbstractPartition:
        """A random partition by distances after `scaling`. The centres from number
        `n_active` on are at infinity, so that no sample is near them."""

    def partition(
        self,
        source: InMemory,
        n_components: int,
        *,
        key: KeyLike,
        n_active: Count | None = None,
    ) -> AbstractPartition:
        """A random partition, the same for the same `key`.

        **Arguments:**

        - `n_components`: how many centres.
        - `n_active`: to how many of them samples can belong; all if not given. Unlike
            `n_components` it can be traced.
        """
        active = jnp.asarray(n_components) if n_active is None else n_active

        def divide(matrix):
            return self.partition_scaled(source, matrix, n_components, active, key)

        if self.scaling != Scaling.auto:
            return divide(scaling_matrix(source, self.scaling))
        standard = scaling_matrix(source, Scaling.standard)
        total = correlation(source, standard)
        whiten = whitening_matrix(standard, total)

        def attempt(matrix):
            partition = divide(matrix)
            return partition, _log_det_within(partition, source, standard, total)

        # One after the other: a `vmap` here would add an axis to those of callers, and
        # jaxlib 0.10.2 crashes on a CPU where float32 arrays have seven (jax-ml/jax
        # issue 39257), which is three `vmap`s around our four axes.
        attempts, found = jax.lax.map(attempt, jnp.stack([standard, whiten]))
        scores, errors = found
        # Where both are the same partition, rounding must not choose.
        least = float(jnp.finfo(scores.dtype).eps) ** 0.5 * len(standard)
        least = least + jnp.max(errors)
        best = (scores[1] < scores[0] - least).astype(int)
        return jax.tree.map(lambda leaf: leaf[best], attempts)


def _log_det_within(
    partition: AbstractPartition,
    source: InMemory,
    standard: ScalingMatrix,
    total: Float[Array, "features features"],
) -> tuple[Scalar, Scalar]:
    """The log-determinant of the covariance within components, of standardised
    features; and what rounding may add to it.

    **Arguments:**

    - `total`: their covariance within and between components.
    """

    def totals(chunk: Chunk, *extras: Any):
        resp = as_columns(partition(chunk, *extras))[0, :, 0]
        weighted = resp * chunk.weights[None]
        return jnp.sum(weighted, axis=1), rows_product(chunk.columns, weighted)

    count, first = source.reduce(totals, *partition.extras)
    means = linalg.matmul(standard, linalg.safe_divide(first, count[None]))
    between = linalg.matmul(means * (count / source.total)[None], means.T)
    eigenvalues, _ = lapack.eigh(linalg.symmetrise(total - between))
    # Rounding may leave them near zero or below: of features without variance, or of
    # components far apart.
    rounding = 8 * eigenvalues.size * float(jnp.finfo(eigenvalues.dtype).eps)
    eigenvalues = jnp.maximum(eigenvalues, rounding)
    return jnp.sum(jnp.log(eigenvalues)), jnp.sum(rounding / eigenvalues)


def nearest(distances: Rows) -> Rows:
    """One for the smallest number of each column, the first of equal ones, and zero
    elsewhere."""
    # Plain reductions use the vector units of a CPU, `argmin` does not.
    size = distances.shape[0]
    if size == 2:
        first, second = distances[:1], distances[1:]
        is_first = first <= second
        return jnp.concatenate([is_first, ~is_first]).astype(distances.dtype)
    index = jnp.arange(size, dtype=jnp.int32)[:, None]
    smallest = jnp.min(distances, axis=0)[None]
    first = jnp.min(jnp.where(distances == smallest, index, size), axis=0)[None]
    return (first == index).astype(distances.dtype)
