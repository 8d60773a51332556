"""Groups of components, each put into one component."""

import functools as ft

import jax.numpy as jnp

from .._core.aliases import PerSample, Residuals, Values
from .._core.axes import Axis
from .._moments import Moments
from .abstract import AbstractCovariances
from .components import has_features_alike
from .diag import DiagCovariances
from .full import FullCovariances
from .independent import AbstractIndependent
from .spherical import SphericalCovariances
from .values import AbstractValues


# `singledispatch` rather than a method, so that a family defined outside this package
# can support the operation.
@ft.singledispatch
def unshared(covariances: AbstractCovariances, n_components: int) -> AbstractValues:
    """The covariances in a family that has one of its own for every component, as
    merged components need: `diag`, `spherical` or, without a rule, `full`.

    A family of your own may register a rule. Its values must be linear in the
    covariance.
    """
    # Its features axis tells the number of features, unless all are alike.
    n_features = covariances.n_features
    shape = (1, n_components, n_features, n_features)
    return FullCovariances(jnp.broadcast_to(covariances.dense(n_features), shape))


@unshared.register(AbstractIndependent)
def _(covariances, n_components):
    alike = has_features_alike(covariances)
    family = SphericalCovariances if alike else DiagCovariances
    shape = (1, n_components, covariances.n_features, 1)
    return family(values=jnp.broadcast_to(covariances.values, shape))


def between(
    family: type[AbstractValues], residuals: Residuals, share: PerSample
) -> Values:
    r"""$\sum_n s_{nk} r_{nk} r_{nk}^T$, or as much of it as the family has, for shares
    whose sum over the batch axis is one."""
    n_groups, n_features = share.shape[Axis.components], residuals.shape[-2]
    dtype = residuals.dtype
    template = family.create(n_groups, n_features)
    moments = Moments(
        count=jnp.ones((1, n_groups, 1, 1), dtype),
        first=jnp.zeros((1, n_groups, n_features, 1), dtype),
        second=template.statistic(residuals, share),
    )
    ridge = jnp.zeros((1, 1, n_features, 1), dtype)
    return template.estimate(moments, ridge).values  # pyright: ignore[reportAttributeAccessIssue]  # of the same family


def merge_components(
    covariances: AbstractValues, residuals: Residuals, share: PerSample
) -> AbstractValues:
    """Covariances within groups of components and between their means.

    **Arguments:**

    - `covariances`: of a family that shares nothing.
    - `residuals`: of the components' means from those of the groups, components on the
        batch axis.
    - `share`: of each component in each group, components on the batch axis.
    """
    by_component = jnp.swapaxes(covariances.values, Axis.batch, Axis.components)
    within = jnp.sum(share * by_component, axis=Axis.batch, keepdims=True)
    family = type(covariances)
    return with_values(family, within + between(family, residuals, share))


def with_values(family: type[AbstractValues], values: Values) -> AbstractValues:
    return family(values=values)  # pyright: ignore[reportCallIssue]  # the field is abstract here
