r"""What becomes of the covariances $Σ_k$ when $x$ is mapped or observed."""

from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import PerSample, Scalar, SquareValues, Values
from .._core.axes import as_columns, Axis
from .._core.cholesky import inverse_cholesky
from .._covariances import AbstractCovariances, factor
from .families import as_dense, from_dense, from_variances, is_independent
from .features import Features
from .maps import AbstractMap, DiagonalMap


ResidualColumns: TypeAlias = Float[Array, "one=1 _ outputs samples"]


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
            is_shared = Axis.features in covariances.shared_axes
            variances = variances if is_shared else operator(variances)
            return from_variances(covariances, variances, n_components, n_outputs)
    half = operator(as_dense(covariances, n_features))
    return from_dense(covariances, operator(linalg.transpose(half)), n_components)


def add_noise(
    covariances: AbstractCovariances,
    noise: Values,
    n_components: int,
    n_features: int,
) -> AbstractCovariances:
    r"""$Σ_k + R$, for square matrices or variances on the features axis."""
    if is_independent(covariances) and factor.is_diagonal(noise):
        variances = covariances.variances + noise
        return from_variances(covariances, variances, n_components, n_features)
    values = as_dense(covariances, n_features) + _as_square(noise, n_features)
    return from_dense(covariances, values, n_components)


class Update(eqx.Module):
    r"""What an observation $y = H x + ε$ does to components, whatever $y$ is.

    **Attributes:**

    - `covariances`: of $x$ given $y$.
    - `gain`: $K_k = Σ_k H^T S_k^{-1}$ with $S_k = H Σ_k H^T + R$; its diagonal alone if
        the last axis has size one.
    - `whitener`: $U_k$ with $S_k^{-1} = U_k U_k^T$; likewise.
    """

    covariances: AbstractCovariances
    gain: Values
    whitener: Values


def update(
    covariances: AbstractCovariances,
    operator: AbstractMap,
    noise: Values,
    n_components: int,
    n_features: int,
) -> Update:
    """**Arguments:**

    - `noise`: $R$, square matrices or variances on the features axis.
    """
    is_diagonal = isinstance(operator, DiagonalMap) and factor.is_diagonal(noise)
    if is_diagonal and is_independent(covariances):
        variances = covariances.variances
        innovation = operator(operator(variances)) + noise
        posterior = variances * (noise / innovation)
        return Update(
            from_variances(covariances, posterior, n_components, n_features),
            gain=operator(variances) / innovation,
            whitener=linalg.inverse_sqrt(innovation),
        )
    prior = as_dense(covariances, n_features)
    n_outputs = operator.n_outputs(n_features)
    cross = operator(prior)
    innovation = operator(linalg.transpose(cross)) + _as_square(noise, n_outputs)
    u = inverse_cholesky(innovation)
    gain = linalg.transpose(linalg.matmul(u, factor.whiten(u, cross)))
    # Joseph's form, (I - K H) Σ (I - K H)^T + K R K^T: an error of K does not matter to
    # first order, and a small R is not lost in the difference of larger numbers. The
    # second factor must meet the first as it was rounded.
    half = prior - linalg.matmul(gain, cross)
    seen = linalg.transpose(operator(linalg.transpose(half)))
    lost = linalg.matmul(seen, linalg.transpose(gain))
    posterior = half - lost + _congruence(gain, noise)
    return Update(from_dense(covariances, posterior, n_components), gain, u)


def _as_square(noise: Values, n_outputs: int) -> SquareValues:
    if not factor.is_diagonal(noise):
        return noise
    return linalg.diagonal(jnp.broadcast_to(noise, (1, noise.shape[1], n_outputs, 1)))


def _congruence(gain: Values, noise: Values) -> SquareValues:
    r"""$K R K^T$."""
    return linalg.matmul(gain, factor.multiply(noise, linalg.transpose(gain)))


def log_density_of(
    whitener: Values | factor.Substitution,
    residuals: ResidualColumns,
    n_observed: Scalar,
) -> PerSample:
    r"""$\log N(r_{nk} | 0, S_k)$ with $S_k^{-1} = U_k U_k^T$.

    **Arguments:**

    - `whitener`: $U_k$, or only its diagonal; of one feature where all are the same.
    - `residuals`: shape `(1, components, features, samples)`.
    """
    whitened = factor.whiten(whitener, residuals)
    distance = jnp.sum(whitened**2, axis=Axis.features, keepdims=True)
    n_same = factor.n_served(whitener, residuals.shape[Axis.features])
    log_det = n_same * factor.log_det(whitener)
    return as_columns(log_det - 0.5 * (n_observed * linalg.LOG_2PI + distance))
