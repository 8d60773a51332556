"""Which family holds a result: the smallest that can."""

import functools as ft

import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import SquareValues, Values
from .._core.axes import Axis
from .._covariances import (
    AbstractCovariances,
    DiagCovariances,
    FullCovariances,
    SphericalCovariances,
    TiedCovariances,
)


# `singledispatch` rather than a method, so that a family defined outside this package
# can take part without editing `AbstractCovariances`.
@ft.singledispatch
def with_variances(
    covariances: AbstractCovariances, variances: Values
) -> AbstractCovariances | None:
    """A family of independent features, with other variances; `None` for a family that
    has no rule, which operations then treat as dense matrices.

    Register a rule with `gmmx_eqx.with_variances.register(Family)`, and operations that
    keep features independent keep the family.

    **Arguments:**

    - `covariances`: of the family.
    - `variances`: the variances to hold, in squared data units, shape
        `(1, components, features, 1)`, with size one along the family's `shared_axes`.
    """
    del covariances, variances
    return None


@with_variances.register(DiagCovariances)
def _(covariances, variances):
    del covariances
    return DiagCovariances(variances)


@with_variances.register(SphericalCovariances)
def _(covariances, variances):
    del covariances
    return SphericalCovariances(variances)


def is_independent(covariances: AbstractCovariances) -> bool:
    """Whether features are independent within a component, as far as is known."""
    return with_variances(covariances, covariances.variances) is not None


def from_variances(
    like: AbstractCovariances, variances: Values, n_components: int, n_features: int
) -> AbstractCovariances:
    """The family of `like` if it can hold the variances, else one that can."""
    fits = all(variances.shape[axis] == 1 for axis in like.shared_axes)
    shared = like.shared_axes if fits else ()
    sizes = {Axis.components: n_components, Axis.features: n_features}
    shape = [1, 1, 1, 1]
    for axis, size in sizes.items():
        shape[axis] = 1 if axis in shared else size
    variances = jnp.broadcast_to(variances, shape)
    kept = with_variances(like, variances) if fits else None
    return DiagCovariances(variances) if kept is None else kept


def as_dense(covariances: AbstractCovariances, n_features: int) -> SquareValues:
    """One matrix per component, or one for all."""
    values = covariances.values_dense
    if Axis.features in covariances.shared_axes:
        return values * jnp.eye(n_features, dtype=values.dtype)[None, None]
    return values


def from_dense(
    like: AbstractCovariances, values: SquareValues, n_components: int
) -> AbstractCovariances:
    is_shared = n_components > 1 or Axis.components in like.shared_axes
    family = TiedCovariances if is_shared else FullCovariances
    if values.shape[Axis.components] > 1:
        family = FullCovariances
    return family(linalg.symmetrise(values))
