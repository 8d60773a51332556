"""Parameters from responsibilities: the M-step of samples that are at hand."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core import linalg
from .._core.aliases import Means, PerFeature, PerSample, Rows, Weights
from .._core.axes import as_columns, Axis
from .._covariances import (
    AbstractCovariances,
    Family,
    is_tied,
    moments_about,
    with_units,
)
from .._moments import Moments
from .._sources import AbstractSource, Chunk


def estimate(
    family: Family,
    source: AbstractSource,
    responsibilities: Callable[..., PerSample],
    *extras,
    reg_covar: PerFeature,
    n_pseudo: int = 0,
    pools_few_only: bool = False,
) -> tuple[Weights, Means, AbstractCovariances]:
    """The most likely weights, means and covariances, in two passes over the data.

    The first pass gives the means, the second the moments about them, so that no digits
    are lost to the distance between components.

    **Arguments:**

    - `responsibilities`: of one chunk, `(chunk, *extras) -> (batch, components, 1, 1)`.
    - `extras`: what it needs beside the chunk, split like the samples.
    - `reg_covar`: added to the diagonal, shape `(1, 1, features, 1)`, in squared data
        units.
    - `n_pseudo`: how many samples of the pooled covariance within components to add to
        each component's own. With as many as features, a component that begins with
        one or two samples is not singular.
    - `pools_few_only`: whether to do so only for components with no more samples than
        features.
    """
    found = moments_of(family, source, responsibilities, *extras)
    return from_moments(
        source,
        *found,
        reg_covar=reg_covar,
        n_pseudo=n_pseudo,
        pools_few_only=pools_few_only,
    )


def from_moments(
    source: AbstractSource,
    template: AbstractCovariances,
    shift: Means,
    moments: Moments,
    *,
    reg_covar: PerFeature,
    n_pseudo: int = 0,
    pools_few_only: bool = False,
) -> tuple[Weights, Means, AbstractCovariances]:
    """Weights, means and covariances from moments, as `estimate` gives them.

    **Arguments:** as for `estimate`, and

    - `template`: covariances of the family, whose numbers say nothing but the units.
    - `shift`: what the moments are about, relative to the source's pivot: near the
        means.
    """
    weights = moments.count / moments.total
    means = source.pivot + shift + moments.shift
    if not n_pseudo or moments.count.size == 1 or is_tied(template):
        return weights, means, template.estimate_first(moments, reg_covar)
    pooled = jnp.ones_like(moments.count, bool)
    if pools_few_only:
        pooled = moments.count <= source.n_features
    moments = _shrink(moments, jnp.where(pooled, n_pseudo, 0))
    return weights, means, template.estimate_first(moments, reg_covar)


def moments_of(
    family: Family,
    source: AbstractSource,
    responsibilities: Callable[..., PerSample],
    *extras,
) -> tuple[AbstractCovariances, Means, Moments]:
    """Covariances of the family, whose numbers say nothing; the mean of each
    component's samples about the source's pivot; and the moments about that.

    **Arguments:** as for `estimate`.
    """

    def totals(chunk: Chunk, *extra):
        resp = rows_of(responsibilities, chunk, *extra)
        return jnp.sum(resp, axis=1), linalg.matmul(chunk.columns, resp.T)

    count, first = source.reduce(totals, *extras)
    shift = linalg.safe_divide(first, count[None]).T[None, ..., None]
    template = template_of(family, source, count.size)

    def about_mean(chunk: Chunk, *extra):
        resp = rows_of(responsibilities, chunk, *extra)
        return moments_about(template, chunk.columns, shift, resp)

    return template, shift, source.reduce(about_mean, *extras)


def rows_of(
    responsibilities: Callable[..., PerSample], chunk: Chunk, *extras: Any
) -> Rows:
    """Responsibilities times weights, a row for each component."""
    weighted = responsibilities(chunk, *extras) * chunk.sample_weights
    return as_columns(weighted)[0, :, 0]


def template_of(
    family: Family, source: AbstractSource, n_components: int
) -> AbstractCovariances:
    """Covariances of the family, whose numbers say nothing but the units."""
    template = family.create(n_components, source.n_features)
    dtype = source.variances.dtype
    template = jax.tree.map(lambda leaf: leaf.astype(dtype), template)
    units = jnp.sqrt(jnp.where(source.variances > 0, source.variances, 1))
    return with_units(template, units)


def _shrink(moments: Moments, n_pseudo: Int[Array, "1 _ 1 1"]) -> Moments:
    n_pseudo = n_pseudo.astype(moments.count.dtype)

    def shrink(second):
        scatter = jnp.sum(second, axis=Axis.components, keepdims=True)
        return second + n_pseudo * linalg.safe_divide(scatter, moments.total)

    return Moments(
        count=moments.count + n_pseudo,
        first=moments.first,
        second=jax.tree.map(shrink, moments.second),
    )
