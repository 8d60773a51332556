r"""Factorised covariances: what densities, the E-step and its bounds need of $Σ^{-1}$.

A covariance is factorised once for each use and the result is passed on, since XLA does
not notice that two factorisations are the same.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means, PerColumn, Samples
from .._core.axes import as_columns, Axis
from .._core.triangular import inverse_lower, solve_lower


# With so many features, products are quicker with samples as rows: on a CPU, up to 1.4
# times with 64, and twice as slow with 8.
_MANY = 32

Columns = Float[Array, "_ _ _ columns"]
# With pairs of components, those of the one mixture are on the batch axis.
LogDet = Float[Array, "_ _ 1 1"]
Diagonals = Float[Array, "_ _ _ 1"]
Squares = Float[Array, "_ _ d d"]


class AbstractWhitening(eqx.Module):
    r"""A covariance by a factor $W$ of its inverse, $Σ^{-1} = W^T W$.

    For each component, or one for all of them. Every array has the four axes of
    [`gmmx_eqx.Axis`][]. A family of your own returns one of the subclasses.
    """

    @abc.abstractmethod
    def whiten(self, columns: Columns) -> Columns:
        """$W$ times every column."""

    @abc.abstractmethod
    def solve(self, columns: Columns) -> Columns:
        r"""$Σ^{-1}$ times every column."""

    @abc.abstractmethod
    def squared_distance(self, x: Samples, means: Means) -> PerColumn:
        r"""Squared Mahalanobis distance $|W_k (x_n - μ_k)|^2$, with samples as
        columns."""

    @property
    @abc.abstractmethod
    def log_det(self) -> LogDet:
        r"""$\log |Σ|$, in nats."""

    @property
    @abc.abstractmethod
    def factor(self) -> Float[Array, "_ _ _ _"]:
        r"""$U$ with $Σ^{-1} = U U^T$: upper triangular, or its diagonal alone on the
        features axis."""

    @property
    @abc.abstractmethod
    def precision(self) -> Squares:
        r"""$Σ^{-1}$ as square matrices."""

    @property
    @abc.abstractmethod
    def precision_diagonal(self) -> Diagonals:
        r"""Diagonal of $Σ^{-1}$; of size one where all features have the same."""

    @abc.abstractmethod
    def scaled_norm(self, spread: Diagonals) -> LogDet:
        r"""Upper bound on the Frobenius norm of $(a_i (Σ^{-1})_{ij} a_j)_{ij}$ for a
        number $a_i$ of each feature. It is the norm itself but for `Woodbury`."""


class Triangular(AbstractWhitening):
    """$W = U^T$ for upper triangular $U$.

    **Attributes:**

    - `upper`: $U$, in inverse units of the data.
    """

    upper: Squares

    def whiten(self, columns: Columns) -> Columns:
        return linalg.matmul(linalg.transpose(self.upper), columns)

    def solve(self, columns: Columns) -> Columns:
        return linalg.matmul(self.upper, self.whiten(columns))

    def squared_distance(self, x: Samples, means: Means) -> PerColumn:
        # The residual first, the product after: the difference of two products would
        # lose the digits of far-away means.
        if x.shape[Axis.features] < _MANY:
            return _sum_of_squares(self.whiten(linalg.residuals(as_columns(x), means)))
        rows = x[None, None, :, 0, :, 0] - linalg.transpose(means)
        whitened = linalg.matmul(rows, self.upper)
        return linalg.transpose(jnp.sum(whitened**2, axis=-1, keepdims=True))

    @property
    def log_det(self) -> LogDet:
        return -2 * _sum_of_logs(linalg.diagonal_of(self.upper))

    @property
    def factor(self) -> Squares:
        return self.upper

    @property
    def precision(self) -> Squares:
        return linalg.matmul(self.upper, linalg.transpose(self.upper))

    @property
    def precision_diagonal(self) -> Diagonals:
        return jnp.sum(self.upper**2, axis=Axis.features_covar, keepdims=True)

    def scaled_norm(self, spread: Diagonals) -> LogDet:
        # The spread goes to the factor, so that no unit of the data can overflow.
        scaled = spread * self.upper
        return _frobenius(linalg.matmul(scaled, linalg.transpose(scaled)))


class Diagonal(AbstractWhitening):
    """Independent features.

    **Attributes:**

    - `scale`: the inverse standard deviations, on the features axis; of size one there
        if all features have the same.
    - `n_features`: the number of features.
    """

    scale: Diagonals
    n_features: int = eqx.field(static=True)

    def whiten(self, columns: Columns) -> Columns:
        return self.scale * columns

    def solve(self, columns: Columns) -> Columns:
        return self.scale * (self.scale * columns)

    def squared_distance(self, x: Samples, means: Means) -> PerColumn:
        return _sum_of_squares(self.whiten(linalg.residuals(as_columns(x), means)))

    @property
    def log_det(self) -> LogDet:
        n_alike = self.n_features // self.scale.shape[Axis.features]
        return -2 * n_alike * _sum_of_logs(self.scale)

    @property
    def factor(self) -> Diagonals:
        return self.scale

    @property
    def precision(self) -> Squares:
        shape = (*self.scale.shape[:-2], self.n_features, 1)
        return linalg.diagonal(jnp.broadcast_to(self.scale**2, shape))

    @property
    def precision_diagonal(self) -> Diagonals:
        return self.scale**2

    def scaled_norm(self, spread: Diagonals) -> LogDet:
        return _frobenius((spread * self.scale) ** 2)


class Substitution(AbstractWhitening):
    r"""$W = L^{-1}$ for $Σ = L L^T$, by forward substitution, which keeps the digits
    that the elements of the inverse do not have.

    **Attributes:**

    - `lower`: $L$, in the units of the data.
    """

    lower: Squares

    def whiten(self, columns: Columns) -> Columns:
        return solve_lower(self.lower, columns)

    def solve(self, columns: Columns) -> Columns:
        # Backward substitution is forward substitution from the other end.
        whitened = jnp.flip(self.whiten(columns), -2)
        mirrored = jnp.flip(linalg.transpose(self.lower), (-2, -1))
        return jnp.flip(solve_lower(mirrored, whitened), -2)

    def squared_distance(self, x: Samples, means: Means) -> PerColumn:
        return _sum_of_squares(self.whiten(linalg.residuals(as_columns(x), means)))

    @property
    def log_det(self) -> LogDet:
        return 2 * _sum_of_logs(linalg.diagonal_of(self.lower))

    @property
    def factor(self) -> Squares:
        return linalg.transpose(inverse_lower(self.lower))

    @property
    def precision(self) -> Squares:
        return Triangular(self.factor).precision

    @property
    def precision_diagonal(self) -> Diagonals:
        return Triangular(self.factor).precision_diagonal

    def scaled_norm(self, spread: Diagonals) -> LogDet:
        return Triangular(self.factor).scaled_norm(spread)


def log_density(
    whitening: AbstractWhitening, means: Means, samples: Samples
) -> PerColumn:
    r"""$\log N(x_n | μ_k, Σ_k)$, in nats, with samples as columns."""
    constant = means.shape[Axis.features] * linalg.LOG_2PI
    distance = whitening.squared_distance(samples, means)
    return -0.5 * (whitening.log_det + constant) - 0.5 * distance


def _sum_of_squares(columns: Columns) -> Columns:
    return jnp.sum(columns**2, axis=Axis.features, keepdims=True)


def _sum_of_logs(diagonals: Diagonals) -> LogDet:
    return jnp.sum(jnp.log(diagonals), axis=Axis.features, keepdims=True)


def _frobenius(values: Float[Array, "_ _ _ _"]) -> LogDet:
    axes = (Axis.features, Axis.features_covar)
    return jnp.sqrt(jnp.sum(values**2, axis=axes, keepdims=True))
