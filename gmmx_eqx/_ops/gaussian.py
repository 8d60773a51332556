r"""What becomes of the covariances $Σ_k$ when $x$ is mapped or observed."""

import dataclasses
import functools as ft
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import PerSample, Scalar, SquareValues, Values
from .._core.axes import as_columns, Axis
from .._core.cholesky import inverse_cholesky
from .._covariances import (
    AbstractCovariances,
    AbstractLowRank,
    AbstractWhitening,
    Diagonal,
    has_features_alike,
    LowRankCovariances,
    LowRankSphericalCovariances,
    Triangular,
)
from .families import from_dense, from_variances, is_independent
from .features import Features
from .maps import AbstractMap, DenseMap, DiagonalMap


ResidualColumns: TypeAlias = Float[Array, "one=1 _ outputs samples"]


@ft.singledispatch
def map_features(
    covariances: AbstractCovariances, operator: AbstractMap
) -> AbstractCovariances | None:
    """Covariances of some features, or of multiples of them, by a family that can hold
    them; `None` for others and for other maps."""
    del covariances, operator
    return None


@map_features.register(AbstractLowRank)
def _(covariances, operator):
    if not isinstance(operator, DiagonalMap | Features):
        return None
    factors, noise = operator(covariances.factors), covariances.noise
    shape = (1, covariances.n_components, covariances.n_features, 1)
    if isinstance(operator, Features):
        alike = isinstance(covariances, LowRankSphericalCovariances)
        noise = noise if alike else operator(noise)
        return dataclasses.replace(covariances, factors=factors, noise=noise)
    noise = operator(operator(jnp.broadcast_to(noise, shape)))
    return LowRankCovariances(factors, noise)


@ft.singledispatch
def add_variances(
    covariances: AbstractCovariances, variances: Values
) -> AbstractCovariances | None:
    """Covariances with independent noise of these variances, by a family that can hold
    them; `None` for others."""
    del covariances, variances
    return None


@add_variances.register(AbstractLowRank)
def _(covariances, variances):
    noise = covariances.noise + variances
    if noise.shape == covariances.noise.shape:
        return dataclasses.replace(covariances, noise=noise)
    return LowRankCovariances(covariances.factors, noise)


def push(
    covariances: AbstractCovariances,
    operator: AbstractMap,
    n_components: int,
    n_features: int,
) -> AbstractCovariances:
    r"""$A Σ_k A^T$."""
    if is_independent(covariances):
        variances = covariances.variances
        n_outputs = operator.n_outputs(n_features)
        if isinstance(operator, DiagonalMap):
            # Not the square of A, which can overflow where this does not.
            variances = operator(operator(variances))
            return from_variances(covariances, variances, n_components, n_outputs)
        if isinstance(operator, Features):
            if not has_features_alike(covariances):
                variances = operator(variances)
            return from_variances(covariances, variances, n_components, n_outputs)
    kept = map_features(covariances, operator)
    if kept is not None:
        return kept
    half = operator(covariances.dense(n_features))
    return from_dense(covariances, operator(linalg.transpose(half)), n_components)


def add_noise(
    covariances: AbstractCovariances,
    noise: AbstractCovariances,
    n_components: int,
    n_features: int,
) -> AbstractCovariances:
    r"""$Σ_k + R$."""
    if is_independent(covariances) and is_independent(noise):
        variances = covariances.variances + noise.variances
        return from_variances(covariances, variances, n_components, n_features)
    kept = add_variances(covariances, noise.variances)
    if is_independent(noise) and kept is not None:
        return kept
    values = covariances.dense(n_features) + noise.dense(n_features)
    return from_dense(covariances, values, n_components)


class Update(eqx.Module):
    r"""What an observation $y = H x + ε$ does to components, whatever $y$ is.

    **Attributes:**

    - `covariances`: of $x$ given $y$.
    - `gain`: $K_k = Σ_k H^T S_k^{-1}$ with $S_k = H Σ_k H^T + R$.
    - `whitening`: the factorised $S_k$.
    """

    covariances: AbstractCovariances
    gain: AbstractMap
    whitening: AbstractWhitening


def update(
    covariances: AbstractCovariances,
    operator: AbstractMap,
    noise: AbstractCovariances,
    n_components: int,
    n_features: int,
) -> Update:
    """**Arguments:**

    - `noise`: $R$, for each component or one for all.
    """
    n_outputs = operator.n_outputs(n_features)
    is_diagonal = isinstance(operator, DiagonalMap) and is_independent(noise)
    if is_diagonal and is_independent(covariances):
        variances = covariances.variances
        innovation = operator(operator(variances)) + noise.variances
        posterior = variances * (noise.variances / innovation)
        return Update(
            from_variances(covariances, posterior, n_components, n_features),
            gain=DiagonalMap(operator(variances) / innovation),
            whitening=Diagonal(linalg.inverse_sqrt(innovation), n_outputs),
        )
    prior = covariances.dense(n_features)
    cross = operator(prior)
    innovation = operator(linalg.transpose(cross)) + noise.dense(n_outputs)
    whitening = Triangular(inverse_cholesky(innovation))
    gain = linalg.transpose(whitening.solve(cross))
    # Joseph's form, (I - K H) Σ (I - K H)^T + K R K^T: an error of K does not matter to
    # first order, and a small R is not lost in the difference of larger numbers. The
    # second factor must meet the first as it was rounded.
    half = prior - linalg.matmul(gain, cross)
    seen = linalg.transpose(operator(linalg.transpose(half)))
    lost = linalg.matmul(seen, linalg.transpose(gain))
    posterior = half - lost + _congruence(gain, noise)
    updated = from_dense(covariances, posterior, n_components)
    return Update(updated, DenseMap(gain), whitening)


def _congruence(
    gain: Float[Array, "1 _ d outputs"], noise: AbstractCovariances
) -> SquareValues:
    r"""$K R K^T$."""
    back = linalg.transpose(gain)
    if is_independent(noise):
        return linalg.matmul(gain, noise.variances * back)
    return linalg.matmul(gain, linalg.matmul(noise.dense(gain.shape[-1]), back))


def log_density_of(
    whitening: AbstractWhitening, residuals: ResidualColumns, n_observed: Scalar
) -> PerSample:
    r"""$\log N(r_{nk} | 0, S_k)$ for factorised $S_k$.

    **Arguments:**

    - `residuals`: shape `(1, components, features, samples)`.
    """
    whitened = whitening.whiten(residuals)
    distance = jnp.sum(whitened**2, axis=Axis.features, keepdims=True)
    constant = n_observed * linalg.LOG_2PI
    return as_columns(-0.5 * whitening.log_det - 0.5 * (constant + distance))
