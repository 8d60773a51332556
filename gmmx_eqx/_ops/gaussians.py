"""The components of two mixtures, each of one with each of the other.

The components of the first are on the batch axis, those of the second on the components
axis, so that everything about a pair comes from broadcasting.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Weights
from .._core.axes import Axis
from .._core.cholesky import cholesky, inverse_cholesky
from .._covariances import AbstractWhitening, Diagonal, Triangular
from .._mixture import AbstractGaussianMixture
from .families import is_independent


Pairs = Float[Array, "_ _ features=1 features_covar=1"]
# Of the one mixture, of the other, or of pairs.
Parts = Float[Array, "_ _ _ _"]
Centres = Float[Array, "_ _ features features_covar=1"]
PairsTable = Float[Array, "components other_components"]


class Gaussians(eqx.Module):
    """Means, and covariances as matrices or, if all are diagonal, as variances on the
    features axis."""

    means: Centres
    values: Parts
    diagonal: bool = eqx.field(static=True)

    @property
    def n_features(self) -> int:
        return self.means.shape[Axis.features]

    @property
    def lower(self) -> Parts:
        """$L$ with $Σ = L L^T$."""
        return jnp.sqrt(self.values) if self.diagonal else cholesky(self.values)

    @property
    def whitening(self) -> AbstractWhitening:
        if self.diagonal:
            return Diagonal(linalg.inverse_sqrt(self.values), self.n_features)
        return Triangular(inverse_cholesky(self.values))


def squared_norm(x: Array) -> Array:
    axes = (Axis.features, Axis.features_covar)
    return jnp.sum(x**2, axis=axes, keepdims=True)


def as_gaussians(mixture: AbstractGaussianMixture, diagonal: bool) -> Gaussians:
    covariances = mixture.covariances
    if not diagonal:
        dense = covariances.dense(mixture.n_features)
        return Gaussians(mixture.means, dense, diagonal=False)
    shape = (1, covariances.n_components, mixture.n_features, 1)
    variances = jnp.broadcast_to(covariances.variances, shape)
    return Gaussians(mixture.means, variances, diagonal=True)


def pair(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> tuple[Gaussians, Gaussians]:
    """The components of the first on the batch axis, those of the second as ever."""
    diagonal = all(is_independent(m.covariances) for m in (first, second))
    rows = as_gaussians(first, diagonal)
    return jax.tree.map(as_batch, rows), as_gaussians(second, diagonal)


def as_batch(x: Array) -> Array:
    """Components on the batch axis."""
    return jnp.swapaxes(x, Axis.batch, Axis.components)


def table(pairs: Float[Array, "_ _ 1 1"], shape: tuple[int, int]) -> PairsTable:
    """Without size-one axes, one number for every pair."""
    return jnp.broadcast_to(pairs[:, :, 0, 0], shape)


def average(weights: Weights, values: Array) -> Float[Array, ""]:
    """The mean over the components on the batch axis."""
    weights = as_batch(weights)
    # What overflows in a component of weight zero does not count; a number there is the
    # derivative in the weight.
    counts = (weights > 0) | jnp.isfinite(values)
    return jnp.sum(weights * jnp.where(counts, values, 0))
