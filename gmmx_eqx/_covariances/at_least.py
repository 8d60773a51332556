"""Covariances of sums of which one term has a known covariance."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._core import jacobi, linalg
from .._core.aliases import PerFeature, SquareValues
from .._core.axes import Axis
from .._core.cholesky import cholesky
from .._core.triangular import inverse_lower
from .abstract import AbstractCovariances
from .full import FullCovariances
from .independent import AbstractIndependent
from .tied import TiedCovariances


# By how much, in roundings, a share may be from none of a variance and still be none.
_ROUNDINGS = 64


def allows(covariances: AbstractCovariances) -> bool:
    """Whether the family has a rule for `at_least`."""
    rule = at_least.dispatch(type(covariances))
    return rule is not at_least.dispatch(object)


# `singledispatch`, since the most likely covariances with a bound are known of few
# families.
@ft.singledispatch
def at_least(
    covariances: AbstractCovariances, floor: PerFeature
) -> AbstractCovariances:
    r"""The most likely covariances that are not less than those of independent
    features, from the most likely of all.

    With $S = L L^T$, and $V γ V^T$ the floor in the coordinates of $L$, that is $L V
    \max(1, γ) V^T L^T$.

    **Arguments:**

    - `floor`: variances.
    """
    del floor
    return covariances


@at_least.register(AbstractIndependent)
def _(covariances, floor):
    values = jnp.maximum(covariances.values, _alike(covariances, floor))
    return eqx.tree_at(lambda c: c.values, covariances, values)


@at_least.register(FullCovariances)
@at_least.register(TiedCovariances)
def _(covariances, floor):
    values = covariances.values
    rest = values - linalg.diagonal(floor)
    above = jnp.all(jnp.isfinite(cholesky(rest)))
    values = jax.lax.cond(
        above, lambda values: values, lambda values: _raised(values, floor), values
    )
    return eqx.tree_at(lambda c: c.values, covariances, values)


def add_noise(
    covariances: AbstractCovariances, variances: PerFeature
) -> AbstractCovariances:
    """Those of samples with independent noise added, for the families with a rule."""
    if isinstance(covariances, AbstractIndependent):
        more = _alike(covariances, variances)
    else:
        more = linalg.diagonal(variances)
    own = lambda c: c.values
    return eqx.tree_at(own, covariances, own(covariances) + more)


def without(
    covariances: AbstractCovariances, floor: PerFeature
) -> tuple[AbstractCovariances, Bool[Array, "1 _ 1 1"]]:
    """Covariances of the other term, from those of the sum; and which of them are
    singular."""
    if isinstance(covariances, AbstractIndependent):
        own = _alike(covariances, floor)
        none = own >= covariances.values * (1 - _rounding(own, 1))
        values = jnp.where(none, 0, covariances.values - own)
        flag = jnp.any(none & (own > 0), axis=Axis.features, keepdims=True)
        return eqx.tree_at(lambda c: c.values, covariances, values), flag
    values: SquareValues = covariances.values  # pyright: ignore[reportAttributeAccessIssue]  # of the families with a rule
    shares, axes, lower = _shares(values, floor)
    top = shares[..., -1:, :]
    flag = top >= 1 - _rounding(values, values.shape[-1])
    left = jnp.where(shares >= 1 - _rounding(values, values.shape[-1]), 0, 1 - shares)
    half = linalg.matmul(lower, axes) * jnp.sqrt(linalg.transpose(left))
    singular = linalg.matmul(half, linalg.transpose(half))
    plain = values - linalg.diagonal(floor)
    # Exactly the difference where there is one.
    found = jnp.where(flag, linalg.symmetrise(singular), plain)
    return eqx.tree_at(lambda c: c.values, covariances, found), flag


def _rounding(like: Array, d: int) -> float:
    return _ROUNDINGS * d * float(jnp.finfo(like.dtype).eps)


def _alike(
    covariances: AbstractIndependent, floor: PerFeature
) -> Float[Array, "1 1 _ 1"]:
    if covariances.values.shape[Axis.features] == 1:
        return jnp.mean(floor, axis=Axis.features, keepdims=True)
    return floor


def _raised(values: SquareValues, floor: PerFeature) -> SquareValues:
    shares, axes, lower = _shares(values, floor)
    half = linalg.matmul(lower, axes) * jnp.sqrt(
        linalg.transpose(jnp.maximum(shares, 1))
    )
    raised = linalg.symmetrise(linalg.matmul(half, linalg.transpose(half)))
    # Where it cannot be factorised there is nothing to compare.
    return jnp.where(
        jnp.all(jnp.isfinite(raised), (-1, -2), keepdims=True), raised, values
    )


def _shares(
    values: SquareValues, floor: PerFeature
) -> tuple[Float[Array, "1 _ d 1"], SquareValues, SquareValues]:
    """The floor's share of the variance along each axis, in ascending order."""
    lower = cholesky(values)
    white = _solve_lower(lower, floor)
    shares, axes = jacobi.eigh(white)
    return shares, axes, lower


def _solve_lower(lower: SquareValues, floor: PerFeature) -> SquareValues:
    r"""$L^{-1} F L^{-T}$."""
    half = inverse_lower(lower) * linalg.transpose(jnp.sqrt(floor))
    return linalg.matmul(half, linalg.transpose(half))
