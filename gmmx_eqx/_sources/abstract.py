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
        """The weights with the axes of [`gmmx_eqx.Axis`][]."""
        return inputs.as_sample_weights(self.weights)


class AbstractFacts(eqx.Module):
    """What is known of data as a whole.

    **Attributes:**

    - `pivot`: the point that the samples are taken about, in the units of the data.
    - `variances`: of each feature over all samples, in squared data units.
    - `resolution`: the variance below which numbers of the data's size cannot tell
        samples apart.
    - `total`: the weight of all samples.
    """

    pivot: eqx.AbstractVar[PerFeature]
    variances: eqx.AbstractVar[PerFeature]
    resolution: eqx.AbstractVar[PerFeature]
    total: eqx.AbstractVar[Scalar]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.pivot.shape[Axis.features]


class AbstractSource(AbstractFacts):
    """Where data comes from. Everything else that the library asks of data is `reduce`.

    **Attributes:**

    - `pivot`, `variances`, `resolution`, `total`: what is known of the data as a whole;
        see [`gmmx_eqx.extend.AbstractFacts`][].
    """

    @abc.abstractmethod
    def reduce(self, fn: Callable[..., _Monoid], *extras: Any) -> _Monoid:
        """The sum of `fn(chunk, *extra_chunks)` over all chunks.

        `extras` are pytrees of arrays that were split like the samples, with a leading
        axis of chunks. An `fn` that is a module, such as an `equinox.Partial`, and
        closes over nothing else is fastest where samples are spread over devices.
        """
