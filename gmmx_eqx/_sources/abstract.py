import abc
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx

from .._core import inputs
from .._core.aliases import (
    Columns,
    ColumnWeights,
    PerFeature,
    PerSampleTotal,
    Samples,
    Scalar,
)
from .._core.axes import as_columns, Axis


_Monoid = TypeVar("_Monoid")


class Chunk(eqx.Module):
    """Some of the samples, about the pivot, in the layout of the matrix multiply.

    **Attributes:**

    - `columns`: shape `(features, batch)`, in the units of the data.
    - `weights`: the weight of each sample, shape `(batch,)`. Padding has weight zero.
    """

    columns: Columns
    weights: ColumnWeights

    @property
    def samples(self) -> Samples:
        """The same numbers with the axes of [`gmmx_eqx.Axis`][]."""
        return as_columns(self.columns[None, None])

    @property
    def sample_weights(self) -> PerSampleTotal:
        return inputs.as_sample_weights(self.weights)


class AbstractSource(eqx.Module):
    """Where data comes from. Everything the library asks of data is `reduce`."""

    # The point that the samples are taken about, in the units of the data.
    pivot: eqx.AbstractVar[PerFeature]
    # The variance of each feature over all samples, in squared data units.
    variances: eqx.AbstractVar[PerFeature]
    # The variance below which numbers of the data's size cannot tell samples apart.
    resolution: eqx.AbstractVar[PerFeature]
    # The weight of all samples.
    total: eqx.AbstractVar[Scalar]

    @property
    def n_features(self) -> int:
        return self.pivot.shape[Axis.features]

    @abc.abstractmethod
    def reduce(self, fn: Callable[..., _Monoid], *extras: Any) -> _Monoid:
        """The sum of `fn(chunk, *extra_chunks)` over all chunks.

        `extras` are pytrees of arrays that were split like the samples, with a leading
        axis of chunks.
        """
