"""Moments of many samples, as sums over parts of them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._core import linalg, sums
from .._core.aliases import Columns, Pivot, Rows
from .._core.axes import as_columns, Axis
from .._moments import Moments
from .components import repeat_components


# With so many features, the product of one part is large enough to be one of its own.
# It can have few samples: where features are more than those, a ridge in float32 is
# not far above the errors of their sum.
_MANY, _SMALLEST = 64, 64


def moments_about(
    covariances: Any, columns: Columns, pivot: Pivot, resp: Rows
) -> Moments:
    """`covariances.moments` of any number of samples without a loss of digits: they are
    summed in parts.

    **Arguments:**

    - `covariances`: a [`gmmx_eqx.extend.AbstractCovariances`][].
    - `columns`: the samples, shape `(features, batch)`.
    - `pivot`: shape `(1, components or 1, features, 1)`.
    - `resp`: shape `(components, batch)`.
    """

    def whole(columns: Columns, resp: Rows) -> Moments:
        # Arithmetic on columns, which fill the vector units.
        residuals = as_columns(linalg.residuals(columns[None, None], pivot))
        return covariances.moments(residuals, as_columns(resp[None, :, None]))

    n_features, n_samples = columns.shape
    n_components, _ = resp.shape
    if n_features >= _MANY:
        slices = sums.slices(n_samples, _SMALLEST)
        return sums.pairwise([whole(columns[:, at], resp[:, at]) for at in slices])
    parts = sums.n_parts(n_samples)
    if parts == 1:
        return whole(columns, resp)
    # Each part of a component as a component: one product with as many matrices.
    # Samples are put in order before they are copied for every component.
    by_part = jnp.swapaxes(sums.split(columns, parts), 0, 1)
    about = jnp.broadcast_to(pivot[0], (n_components, n_features, 1))
    residuals = linalg.residuals(by_part[None], about[:, None])
    residuals = residuals.reshape(1, n_components * parts, n_features, -1)
    resp_by_part = sums.split(resp, parts).reshape(1, n_components * parts, 1, -1)
    found = repeat_components(covariances, parts).moments(
        as_columns(residuals), as_columns(resp_by_part)
    )

    def join(leaf: Array) -> Array:
        if leaf.shape[Axis.components] == 1:
            return leaf
        by_component = leaf.reshape(n_components, parts, *leaf.shape[-2:])
        return sums.pairwise_along(by_component, 1)[None]

    return jax.tree.map(join, found)
