"""Covariances as one array each, as users and other packages see them."""

from typing import Any

from jaxtyping import Array, Float

from .._core.axes import Axis
from .fields import fields_of, is_shared


def as_values(covariances: Any) -> Float[Array, "*ensemble batch=1 _ _ _"]:
    """Covariances as one array of four axes: the `values` of a family that has them,
    and square matrices of any other."""
    if "values" in fields_of(type(covariances)):
        return covariances.values
    return covariances.dense(covariances.n_features)


def squeezed_axes(family: type) -> tuple[Axis, ...]:
    """Axes of `as_values` that a user's array does not have."""
    fields = fields_of(family)
    if "values" in fields:
        return tuple(sorted(fields["values"]))
    tied = (Axis.components,) if is_shared(family, Axis.components) else ()
    return (Axis.batch, *tied)


def has_matrices(family: type) -> bool:
    """Whether `as_values` gives square matrices, rather than variances."""
    return Axis.features_covar not in squeezed_axes(family)
