"""The components of two mixtures, each of one with each of the other.

The components of the first are on the batch axis, those of the second on the components
axis, so that everything about a pair comes from broadcasting.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs, linalg
from .._core.aliases import Weights
from .._core.axes import Axis
from .._core.cholesky import cholesky, inverse_cholesky
from .._mixture import AbstractGaussianMixture, check_mixture


Pairs = Float[Array, "_ _ features=1 features_covar=1"]
# Of the one mixture, of the other, or of pairs.
Parts = Float[Array, "_ _ _ _"]
Centres = Float[Array, "_ _ features features_covar=1"]
PairsTable = Float[Array, "components other_components"]


class Gaussians(eqx.Module):
    """Means, and covariances as matrices or, if all are diagonal, as columns."""

    means: Centres
    values: Parts

    @property
    def n_features(self) -> int:
        return self.means.shape[Axis.features]

    @property
    def lower(self) -> Parts:
        """$L$ with $Σ = L L^T$."""
        root = jnp.sqrt if is_column(self.values) else cholesky
        return root(self.values)

    @property
    def u(self) -> Parts:
        """$U$ with $Σ^{-1} = U U^T$."""
        column = is_column(self.values)
        return (linalg.inverse_sqrt if column else inverse_cholesky)(self.values)


def is_column(values: Array) -> bool:
    return values.shape[Axis.features_covar] == 1


def whiten(
    u: Float[Array, "_ _ d m"], x: Float[Array, "_ _ d n"]
) -> Float[Array, "_ _ d n"]:
    r"""$U^T x$."""
    if is_column(u):
        return u * x
    return linalg.matmul(jnp.swapaxes(u, -1, -2), x)


def log_det(u: Float[Array, "_ _ d m"]) -> Float[Array, "_ _ 1 1"]:
    r"""$\log |Σ| = -2 \log |U|$."""
    diagonal = u if is_column(u) else linalg.diagonal_of(u)
    return -2 * jnp.sum(jnp.log(diagonal), axis=Axis.features, keepdims=True)


def squared_norm(x: Array) -> Array:
    axes = (Axis.features, Axis.features_covar)
    return jnp.sum(x**2, axis=axes, keepdims=True)


def as_gaussians(mixture: AbstractGaussianMixture, diagonal: bool) -> Gaussians:
    if not diagonal and is_diagonal(mixture):
        values = linalg.diagonal(_variances(mixture))
    else:
        values = _variances(mixture) if diagonal else mixture.covariances.values_dense
    return Gaussians(mixture.means, values)


def is_diagonal(mixture: AbstractGaussianMixture) -> bool:
    """Whether all features are independent within a component."""
    u = jax.eval_shape(lambda c: c.precisions_cholesky, mixture.covariances)
    return u.shape[Axis.features_covar] == 1


def pair(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> tuple[Gaussians, Gaussians]:
    """The components of the first on the batch axis, those of the second as ever."""
    diagonal = is_diagonal(first) and is_diagonal(second)
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


def check_pair(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> tuple[AbstractGaussianMixture, AbstractGaussianMixture]:
    """Both in the wider of their two types, or a `ValueError`."""
    check_mixture(first, "first")
    check_mixture(second, "second")
    if first.n_features != second.n_features:
        raise ValueError(
            "`first` and `second` must have the same number of features; got "
            f"{first.n_features} and {second.n_features}."
        )
    dtype = inputs.widest([first.means, second.means])
    cast = lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf
    return jax.tree.map(cast, (first, second))


def _variances(mixture: AbstractGaussianMixture) -> Float[Array, "1 _ features 1"]:
    variances = mixture.covariances.variances
    shape = (1, variances.shape[Axis.components], mixture.n_features, 1)
    return jnp.broadcast_to(variances, shape)
