"""Groups of components, each put into one component."""

import functools as ft

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._core import inputs
from .._core.aliases import Labels, PerSample, Residuals, Values
from .._core.axes import Axis
from .._core.likes import GroupsLike
from .._covariances import (
    AbstractCholesky,
    AbstractCovariances,
    DiagCovariances,
    FullCovariances,
    SphericalCovariances,
    TiedCovariances,
)
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .._moments import Moments
from .gaussians import as_batch


# `singledispatch` rather than a method, so that a family defined outside this package
# can support the operation.
@ft.singledispatch
def unshared(
    covariances: AbstractCovariances, n_components: int
) -> AbstractCovariances:
    """The covariances in a family that has one of its own for every component, as
    merged components need.

    A family of your own may register a rule. Its values must be linear in the
    covariance.
    """
    raise NotImplementedError(f"`unshared` has no rule for {type(covariances)}.")


@unshared.register(FullCovariances)
@unshared.register(DiagCovariances)
@unshared.register(SphericalCovariances)
def _(covariances, n_components):
    del n_components
    return covariances


@unshared.register(TiedCovariances)
def _(covariances, n_components):
    _, _, *matrix = covariances.values.shape
    shape = (1, n_components, *matrix)
    return FullCovariances(jnp.broadcast_to(covariances.values, shape))


@unshared.register(AbstractCholesky)
def _(covariances, n_components):
    return unshared(covariances.plain, n_components)


def merge(mixture: AbstractGaussianMixture, groups: GroupsLike) -> GaussianMixture:
    """The mixture in which every group of components is one component, with the weight,
    mean and covariance that the group has as a mixture.

    What of the covariance is preserved is the family's to say: the whole matrix
    (full), the variance of every feature (diag), or their mean over features
    (spherical). So the mixture's own mean, and as much of its covariance, stays what it
    was. Merged tied covariances differ, and so become full.

    **Arguments:**

    - `groups`: the group of every component, integers `0 <= group < n_groups` of shape
        `(components,)`; every group must occur. `[0, 1, 0]` merges the first component
        and the third. A NumPy array or a list, not a traced array.

    **Raises:**

    `ValueError` if `groups` is anything else.
    """
    check_mixture(mixture)
    numbers = inputs.concrete(inputs.as_numbers(groups, "groups", wanted="integers"))
    if numbers is None:
        raise ValueError(
            "`groups` must be known while tracing: their number is a shape. Hand in a "
            "NumPy array or a list."
        )
    if numbers.shape != (mixture.n_components,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            "`groups` must be integers, one per component, shape "
            f"({mixture.n_components},); got dtype {numbers.dtype} and shape "
            f"{numbers.shape}."
        )
    found = np.unique(numbers)
    if not np.array_equal(found, np.arange(found.size)):
        raise ValueError(
            "`groups` must be numbered from 0 without gaps; got the groups "
            f"{found.tolist()}."
        )
    return _merge(mixture, jnp.asarray(numbers), int(found.size))


@eqx.filter_jit
def _merge(
    mixture: AbstractGaussianMixture, groups: Labels, n_groups: int
) -> GaussianMixture:
    return merged(mixture, groups, n_groups)


def merged(
    mixture: AbstractGaussianMixture, groups: Labels, n_groups: int
) -> GaussianMixture:
    covariances = unshared(mixture.covariances, mixture.n_components)
    # Components are on the batch axis, as if they were samples of the groups.
    is_member = groups[:, None] == jnp.arange(n_groups)[None]
    is_member = is_member.astype(mixture.means.dtype)[:, :, None, None]
    share = is_member * as_batch(mixture.weights)
    weights = jnp.sum(share, axis=Axis.batch, keepdims=True)
    # A group of no weight has its members' plain mean.
    share = jnp.where(weights > 0, share, is_member)
    share = share / jnp.sum(share, axis=Axis.batch, keepdims=True)
    centres = as_batch(mixture.means)
    means = jnp.sum(share * centres, axis=Axis.batch, keepdims=True)
    within = jnp.sum(
        share * as_batch(covariances.values), axis=Axis.batch, keepdims=True
    )
    values = within + between(type(covariances), centres - means, share)
    return GaussianMixture(weights, means, type(covariances)(values=values))  # pyright: ignore[reportCallIssue]  # the field is abstract here


def between(
    family: type[AbstractCovariances], residuals: Residuals, share: PerSample
) -> Values:
    r"""$\sum_n s_{nk} r_{nk} r_{nk}^T$, or as much of it as the family has, for shares
    whose sum over the batch axis is one."""
    second = family.second_moment(residuals, share)
    n_groups, n_features = share.shape[Axis.components], residuals.shape[-2]
    dtype = residuals.dtype
    moments = Moments(
        count=jnp.ones((1, n_groups, 1, 1), dtype),
        first=jnp.zeros((1, n_groups, n_features, 1), dtype),
        second=second,
    )
    return family.from_moments(moments, jnp.zeros((1, 1, n_features, 1), dtype)).values
