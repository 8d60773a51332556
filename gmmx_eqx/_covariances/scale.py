r"""Units of each component: a factor of its covariance, or standard deviations."""

import functools as ft

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import PerFeature, Values
from .._core.axes import Axis
from .._core.cholesky import cholesky
from .._core.triangular import solve_lower
from .abstract import AbstractCovariances
from .factored import AbstractCholesky
from .low_rank import LowRankCovariances, LowRankSphericalCovariances
from .matrices import AbstractMatrices


Columns = Float[Array, "_ _ _ columns"]


@ft.singledispatch
def scale_of(covariances: AbstractCovariances) -> Values:
    """Lower triangular $L$ with $Σ = L L^T$, of families of matrices; of any other the
    standard deviations, on the features axis."""
    return jnp.sqrt(covariances.variances)


@scale_of.register(AbstractMatrices)
def _(covariances):
    return cholesky(covariances.values)


@scale_of.register(AbstractCholesky)
def _(covariances):
    return covariances.scale_tril


@ft.singledispatch
def with_units(
    covariances: AbstractCovariances, units: PerFeature
) -> AbstractCovariances:
    """Covariances in other units of the features, where their M-step depends on the
    covariances before it; others as they are.

    **Arguments:**

    - `units`: shape `(1, 1, features, 1)`.
    """
    del units
    return covariances


@with_units.register(LowRankCovariances)
def _(covariances, units):
    noise = units**2 * covariances.noise
    return LowRankCovariances(units * covariances.factors, noise)


@with_units.register(LowRankSphericalCovariances)
def _(covariances, units):
    mean_square = jnp.mean(units**2, axis=Axis.features, keepdims=True)
    factors = jnp.sqrt(mean_square) * covariances.factors
    return LowRankSphericalCovariances(factors, mean_square * covariances.noise)


def multiply(scale: Values, columns: Columns) -> Columns:
    """The product with every column."""
    if scale.shape[Axis.features_covar] == 1:
        return scale * columns
    return linalg.matmul(scale, columns)


def divide(scale: Values, columns: Columns) -> Columns:
    """The solution of the equations whose right-hand sides are the columns."""
    if scale.shape[Axis.features_covar] == 1:
        return columns / scale
    return solve_lower(scale, columns)
