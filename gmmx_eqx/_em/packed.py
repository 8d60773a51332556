"""Moments of samples whose responsibilities are known, by packed features."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Means, PerSample, Statistic
from .._core.axes import Axis
from .._core.batching import rows_product
from .._covariances import AbstractCovariances
from .._mixture.estimate import rows_of
from .._moments import Moments
from .._sources import Chunk, InMemory
from .packings import AbstractPacking, moments, Statistics


# How many roundings of the squares about the pivot are added to those about the means.
_ROUNDINGS = 64


def packed_moments(
    rule: AbstractPacking,
    template: AbstractCovariances,
    source: InMemory,
    responsibilities: Callable[..., PerSample],
    *extras: Any,
) -> tuple[Means, Moments]:
    """The mean of each component's samples about the source's pivot, and the moments
    about that, in one pass over the data. Every sample must belong to some component.

    Many sets of responsibilities of the same data share a matrix product. A variance
    has an error of a few roundings of the mean square about the pivot, of which 64 are
    added so that rounding makes no matrix indefinite. That is enough for a start, from
    which EM's own steps go on.

    **Arguments:**

    - `rule`, `template`: of the family. Statistics have one number for each feature or
        for all, or are square matrices.
    - `responsibilities`, `extras`: as for `estimate`.
    """

    def sums_of(chunk: Chunk, *extra: Any) -> Statistics:
        resp = rows_of(responsibilities, chunk, *extra)
        return rows_product(rule.features(chunk.columns), resp)

    found = moments(rule, source.reduce(sums_of, *extras), source.n_features)
    between = template.statistic(found.shift, found.count)
    second = found.second - between + _rounding(found.second)
    return found.shift, Moments(found.count, jnp.zeros_like(found.first), second)


def _rounding(second: Statistic) -> Statistic:
    """What sums of squares may be wrong by."""
    share = _ROUNDINGS * float(jnp.finfo(second.dtype).eps)
    if second.shape[Axis.features_covar] == 1:
        return share * second
    return linalg.diagonal(share * linalg.diagonal_of(second))
