"""Which family holds a result: the smallest that can."""

import functools as ft

import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import SquareValues, Values
from .._covariances import (
    AbstractCovariances,
    AbstractIndependent,
    AbstractParsimoniousDiagonals,
    DiagCovariances,
    FullCovariances,
    has_features_alike,
    is_tied,
    SphericalCovariances,
    TiedCovariances,
    TiedDiagCovariances,
    TiedSphericalCovariances,
)


# `singledispatch` rather than a method, so that a family defined outside this package
# can take part without editing `AbstractCovariances`.
@ft.singledispatch
def with_variances(
    covariances: AbstractCovariances, variances: Values
) -> AbstractCovariances | None:
    """Covariances of a family of independent features, with other variances; `None` for
    a family that has no rule, which operations then treat as dense matrices.

    Register a rule with `gmmx_eqx.extend.with_variances.register(Family)`, and
    operations that keep features independent keep the family.

    **Arguments:**

    - `covariances`: of the family.
    - `variances`: the variances to hold, in squared data units, shape
        `(1, components, features, 1)`, with size one along the axes that the family
        shares.
    """
    del covariances, variances
    return None


@with_variances.register(AbstractIndependent)
def _(covariances, variances):
    return type(covariances)(values=variances)


@with_variances.register(AbstractParsimoniousDiagonals)
def _(covariances, variances):
    # Any variances need not have the same shape or volume for all components.
    del covariances
    return DiagCovariances(values=variances)


def is_independent(covariances: AbstractCovariances) -> bool:
    """Whether features are independent within a component, as far as is known."""
    return with_variances(covariances, covariances.variances) is not None


def from_variances(
    like: AbstractCovariances, variances: Values, n_components: int, n_features: int
) -> AbstractCovariances:
    """The family of `like` if it can hold the variances, else the smallest that can.

    **Arguments:**

    - `variances`: of size one along the components or the features axis if they are the
        same for all of them.
    """
    _, k, d, _ = variances.shape
    tied = is_tied(like) and k == 1
    alike = has_features_alike(like) and d == 1
    shape = (1, 1 if tied else n_components, 1 if alike else n_features, 1)
    variances = jnp.broadcast_to(variances, shape)
    if (tied, alike) == (is_tied(like), has_features_alike(like)):
        kept = with_variances(like, variances)
        if kept is not None:
            return kept
    if tied:
        family = TiedSphericalCovariances if alike else TiedDiagCovariances
    else:
        family = SphericalCovariances if alike else DiagCovariances
    return family(values=variances)


def from_dense(
    like: AbstractCovariances, values: SquareValues, n_components: int
) -> AbstractCovariances:
    """Covariances of square matrices: tied where one serves all components."""
    one = values.shape[1] == 1 and (n_components > 1 or is_tied(like))
    family = TiedCovariances if one else FullCovariances
    return family(linalg.symmetrise(values))
