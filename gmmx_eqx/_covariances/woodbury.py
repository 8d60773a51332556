import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means, PerColumn, Samples, Values
from .._core.axes import Axis
from .._core.cholesky import cholesky, inverse_cholesky
from .._core.triangular import inverse_lower
from .whitening import AbstractWhitening, Columns, Diagonals, LogDet, Squares


class Woodbury(AbstractWhitening):
    r"""Covariance of low rank plus noise, $Σ = F F^T + Ψ$, by matrices of the size of
    the rank alone.

    With $A = Ψ^{-1/2} F$ and $I + A^T A = L L^T$,

    $$W = (I - A (L L^T + L)^{-1} A^T) Ψ^{-1/2}, \qquad W^T W = Σ^{-1},$$

    so that a squared distance is a sum of squares and not a difference of two.

    **Attributes:**

    - `scale`: the diagonal of $Ψ^{-1/2}$, on the features axis; of size one there if
        all features have the same noise.
    - `scaled`: $A$.
    - `lower`: $L$.
    - `inverse`: $L^{-1}$.
    - `n_features`: the number of features.

    ??? cite "Reference"

        Woodbury (1950), Inverting Modified Matrices. Statistical Research Group,
        Memo. Rep. 42, Princeton University.
    """

    scale: Diagonals
    scaled: Values
    lower: Squares
    inverse: Squares
    n_features: int = eqx.field(static=True)

    @classmethod
    def of(cls, factors: Values, noise: Diagonals, n_features: int) -> "Woodbury":
        """**Arguments:**

        - `factors`: $F$, shape `(1, components, features, rank)`.
        - `noise`: the diagonal of $Ψ$, in squared data units.
        """
        scale = linalg.inverse_sqrt(noise)
        scaled = scale * factors
        rank = factors.shape[-1]
        gram = linalg.matmul(linalg.transpose(scaled), scaled)
        eye = jnp.eye(rank, dtype=gram.dtype)[None, None]
        lower = cholesky(gram + eye)
        return cls(scale, scaled, lower, inverse_lower(lower), n_features)

    def whiten(self, columns: Columns) -> Columns:
        white = self.scale * columns
        inner = linalg.matmul(linalg.transpose(self.scaled), white)
        # (L L^T + L)^{-1} = (L^T + I)^{-1} L^{-1}.
        inner = linalg.matmul(self.inverse, inner)
        inner = linalg.matmul(linalg.transpose(self._inverse_plus_one), inner)
        return white - linalg.matmul(self.scaled, inner)

    def solve(self, columns: Columns) -> Columns:
        white = self.scale * columns
        inner = linalg.matmul(linalg.transpose(self._reduced), white)
        return self.scale * (white - linalg.matmul(self._reduced, inner))

    def squared_distance(self, x: Samples, means: Means) -> PerColumn:
        # Samples as rows, as users have them: features are many.
        rows = x[None, None, :, 0, :, 0] - linalg.transpose(means)
        white = rows * linalg.transpose(self.scale)
        inner = linalg.matmul(white, self.scaled)
        inner = linalg.matmul(inner, linalg.transpose(self.inverse))
        inner = linalg.matmul(inner, self._inverse_plus_one)
        whitened = white - linalg.matmul(inner, linalg.transpose(self.scaled))
        return linalg.transpose(jnp.sum(whitened**2, axis=-1, keepdims=True))

    def colour(self, columns: Columns) -> Columns:
        """$W^{-1}$ times every column: independent standard normal numbers get the
        covariance."""
        return self.colouring.apply(columns)

    @property
    def colouring(self) -> "Colouring":
        """$W^{-1}$."""
        added = linalg.matmul(self.scaled, self._inverse_plus_one)
        return Colouring(1 / self.scale, self.scaled, added)

    @property
    def latent(self) -> Squares:
        r"""$(I + A^T A)^{-1} = I - F^T Σ^{-1} F$: covariance of the latent coordinates
        of a sample."""
        # Not as the difference, which loses the digits of a small noise.
        return linalg.matmul(linalg.transpose(self.inverse), self.inverse)

    @property
    def regression(self) -> Values:
        r"""$β = F^T Σ^{-1} = (I + A^T A)^{-1} A^T Ψ^{-1/2}$: from residuals to expected
        latent coordinates."""
        back = linalg.transpose(self.scale * self.scaled)
        return linalg.matmul(self.latent, back)

    @property
    def _inverse_plus_one(self) -> Squares:
        """$(I + L)^{-1}$."""
        eye = jnp.eye(self.lower.shape[-1], dtype=self.lower.dtype)
        return inverse_lower(self.lower + eye[None, None])

    @property
    def _reduced(self) -> Values:
        """$A L^{-T}$."""
        return linalg.matmul(self.scaled, linalg.transpose(self.inverse))

    @property
    def log_det(self) -> LogDet:
        n_alike = self.n_features // self.scale.shape[Axis.features]
        own = jnp.sum(jnp.log(self.scale), axis=Axis.features, keepdims=True)
        diagonal = linalg.diagonal_of(self.lower)
        inner = jnp.sum(jnp.log(diagonal), axis=Axis.features, keepdims=True)
        return 2 * (inner - n_alike * own)

    @property
    def factor(self) -> Squares:
        factors = self.scaled / self.scale
        product = linalg.matmul(factors, linalg.transpose(factors))
        shape = (*factors.shape[:-1], 1)
        noise = jnp.broadcast_to(1 / self.scale**2, shape)
        return inverse_cholesky(product + linalg.diagonal(noise))

    @property
    def precision(self) -> Squares:
        scaled = self.scale * self._reduced
        shape = (*scaled.shape[:-1], 1)
        own = jnp.broadcast_to(self.scale**2, shape)
        return linalg.diagonal(own) - linalg.matmul(scaled, linalg.transpose(scaled))

    @property
    def precision_diagonal(self) -> Diagonals:
        lost = jnp.sum(self._reduced**2, axis=Axis.features_covar, keepdims=True)
        # What is left is positive, but for rounding.
        left = jnp.maximum(1 - lost, float(jnp.finfo(lost.dtype).eps))
        return self.scale**2 * left

    def scaled_norm(self, spread: Diagonals) -> LogDet:
        own = (spread * self.scale) ** 2
        low = spread * self.scale * self._reduced
        low = linalg.matmul(linalg.transpose(low), low)
        axes = (Axis.features, Axis.features_covar)
        norm = lambda x: jnp.sqrt(jnp.sum(x**2, axis=axes, keepdims=True))
        shape = (*low.shape[:-2], self.n_features, 1)
        return norm(jnp.broadcast_to(own, shape)) + norm(low)


class Colouring(eqx.Module):
    r"""Square root of a covariance, $Ψ^{1/2} (I + A (I + L)^{-1} A^T)$, which gives the
    covariance to independent standard normal numbers.

    **Attributes:**

    - `deviation`: the diagonal of $Ψ^{1/2}$, on the features axis.
    - `scaled`: $A$.
    - `added`: $A (I + L)^{-1}$.
    """

    deviation: Float[Array, "_ _ _ 1"]
    scaled: Float[Array, "_ _ _ rank"]
    added: Float[Array, "_ _ _ rank"]

    def apply(self, columns: Columns) -> Columns:
        inner = linalg.matmul(linalg.transpose(self.scaled), columns)
        return self.deviation * (columns + linalg.matmul(self.added, inner))
