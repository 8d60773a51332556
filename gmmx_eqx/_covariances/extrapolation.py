"""Covariances as coordinates that an accelerated EM can extrapolate."""

import dataclasses
import functools as ft

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core import linalg
from .._core.aliases import Weights
from .._core.cholesky import inverse_cholesky
from .abstract import AbstractCovariances
from .independent import AbstractIndependent
from .low_rank import AbstractLowRank
from .matrices import AbstractMatrices
from .parsimonious import AbstractParsimoniousMatrices


Coordinates = PyTree[Float[Array, "1 _ _ _"]]
Scale = Float[Array, "1 _ _ 1"]


# `singledispatch` rather than methods: a family defined outside this package needs no
# rule.
@ft.singledispatch
def coordinates_of(covariances: AbstractCovariances, scale: Scale) -> Coordinates:
    """Logarithms of variances, or triangular factors of precisions with logarithms on
    the diagonal; of a family without a rule its fields as they are.

    **Arguments:**

    - `covariances`: the covariances.
    - `scale`: the units of the features, the same for all that is extrapolated.
    """
    del scale
    return covariances


@ft.singledispatch
def at_coordinates(
    like: AbstractCovariances, coordinates: Coordinates, scale: Scale
) -> AbstractCovariances:
    """Covariances of the family of `like` with these coordinates. They need not be
    positive definite where a family has no rule."""
    del like, scale
    return coordinates


@ft.singledispatch
def as_member(
    covariances: AbstractCovariances, weights: Weights
) -> AbstractCovariances:
    """Covariances of the family, from what extrapolation made of them."""
    del weights
    return covariances


@as_member.register(AbstractParsimoniousMatrices)
def _(covariances, weights):
    return covariances.nearest(weights)


@coordinates_of.register(AbstractIndependent)
def _(covariances, scale):
    del scale
    return jnp.log(covariances.values)


@at_coordinates.register(AbstractIndependent)
def _(like, coordinates, scale):
    del scale
    return eqx.tree_at(lambda c: c.values, like, jnp.exp(coordinates))


@coordinates_of.register(AbstractLowRank)
def _(covariances, scale):
    return covariances.factors / scale, jnp.log(covariances.noise)


@at_coordinates.register(AbstractLowRank)
def _(like, coordinates, scale):
    factors, noise = coordinates
    return dataclasses.replace(like, factors=factors * scale, noise=jnp.exp(noise))


@coordinates_of.register(AbstractMatrices)
def _(covariances, scale):
    relative = covariances.values / (scale * linalg.transpose(scale))
    return linalg.map_diagonal(jnp.log, inverse_cholesky(relative))


@at_coordinates.register(AbstractMatrices)
def _(like, coordinates, scale):
    u = linalg.map_diagonal(jnp.exp, coordinates)
    inverse = inverse_cholesky(linalg.matmul(u, linalg.transpose(u)))
    values = linalg.matmul(inverse, linalg.transpose(inverse))
    values = linalg.symmetrise(values) * (scale * linalg.transpose(scale))
    return eqx.tree_at(lambda c: c.values, like, values)
