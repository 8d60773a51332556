"""Information of complete data about covariances."""

import dataclasses
import functools as ft
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means, Values, Weights
from .._core.axes import Axis
from .abstract import AbstractCovariances
from .components import has_features_alike, is_tied
from .low_rank import AbstractLowRank
from .unshared import with_values
from .values import AbstractValues
from .whitening import Diagonal
from .woodbury import Woodbury


def precision(
    covariances: AbstractCovariances, n_features: int, inverse: bool = False
) -> Values:
    r"""$Σ^{-1}$, or with `inverse` $Σ$: square matrices, or their diagonals on the
    features axis for independent features and for low-rank covariances."""
    whitening = covariances.whitening(n_features)
    if isinstance(whitening, Diagonal | Woodbury):
        return covariances.variances if inverse else whitening.precision_diagonal
    return covariances.dense(n_features) if inverse else whitening.precision


def times(a: Values, b: Values | Means) -> Values:
    """Product with square matrices, or with diagonal ones on the features axis."""
    if a.shape[Axis.features_covar] == 1:
        return a * b
    return linalg.matmul(a, b)


# `singledispatch`, so that a family defined outside this package needs no rule.
@ft.singledispatch
def information(
    covariances: AbstractCovariances,
    weights: Weights,
    matrix: Values,
    n_features: int,
    inverse: bool = False,
) -> Callable[[AbstractCovariances], AbstractCovariances]:
    r"""Information of complete data about covariances, per sample, as a linear map of
    changes of them: $\frac{w}{2} Σ^{-1} ⊗ Σ^{-1}$; or its inverse.

    Solvers of linear equations in the space of a mixture's parameters take it for
    their inner product. Any positive definite map leads to the same solution. Without a
    rule it is the identity, since only the family knows the units of its fields.

    **Arguments:**

    - `weights`: of the components, all positive.
    - `matrix`: what `precision` returns, with the same `inverse`.
    """
    del covariances, weights, matrix, n_features, inverse
    return lambda change: change


@information.register(AbstractValues)
def _(covariances, weights, matrix, n_features, inverse=False):
    factor = _factor(covariances, weights, n_features, inverse)
    family = type(covariances)
    # In this order no square of a unit can overflow.
    product = lambda values: times(times(matrix, values), matrix)
    return lambda change: with_values(family, factor * product(change.values))


@information.register(AbstractLowRank)
def _(covariances, weights, matrix, n_features, inverse=False):
    """Of factors, a map of the right units at least; of noise, that of independent
    features."""
    factor = _factor(covariances, weights, n_features, inverse)
    share = 1 / weights if inverse else weights
    square = matrix**2
    if covariances.noise.shape[Axis.features] == 1:
        square = jnp.mean(square, axis=Axis.features, keepdims=True)
    return lambda change: dataclasses.replace(
        change,
        factors=share * matrix * change.factors,
        noise=factor * square * change.noise,
    )


def _factor(
    covariances: AbstractCovariances, weights: Weights, n_features: int, inverse: bool
) -> Float[Array, "1 _ 1 1"]:
    """$w / 2$ for each component, or half of their sum for what serves all; as many
    times as there are features that are alike."""
    share = jnp.ones((1, 1, 1, 1), weights.dtype) if is_tied(covariances) else weights
    n_alike = n_features if has_features_alike(covariances) else 1
    half = n_alike / 2 * share
    return 1 / half if inverse else half
