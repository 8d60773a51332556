r"""Covariances as volume, shape and orientation."""

import functools as ft

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.aliases import FullValues, Means, SquareValues, Weights
from .._core.axes import Axis
from .._core.jacobi import diagonal_in, eigh, from_axes
from .abstract import AbstractCovariances
from .common_axes import AbstractCommonAxes
from .independent import AbstractIndependent


class Decomposition(eqx.Module):
    r"""$Σ_k = λ_k D_k A_k D_k^T$, with a diagonal $A_k$ of determinant one.

    Axes are in descending order of their variance. Features that are independent are
    their own axes, in their own order; axes that all components share are in descending
    order of their mean variance.

    **Attributes:**

    - `volume`: $λ_k = |Σ_k|^{1/d}$, shape `(1, components, 1, 1)`, in squared data
        units.
    - `shape`: the diagonal of $A_k$, shape `(1, components, features, 1)`.
    - `orientation`: $D_k$, whose columns are the axes, shape `(1, components, features,
        features)`.

    ??? cite "Reference"

        Banfield, Raftery (1993), Model-Based Gaussian and Non-Gaussian Clustering.
        Biometrics 49(3), 803-821.
    """

    volume: Weights
    shape: Means
    orientation: FullValues

    @property
    def dense(self) -> FullValues:
        """The covariances, shape `(1, components, features, features)`."""
        return from_axes(self.volume * self.shape, self.orientation)


@ft.singledispatch
def axes_of(
    covariances: AbstractCovariances, dense: SquareValues
) -> Float[Array, "1 _ d d"]:
    """Axes of covariances, as columns: one matrix for each component, or for all."""
    del covariances
    return jnp.flip(eigh(dense)[1], Axis.features_covar)


@axes_of.register(AbstractIndependent)
def _(covariances, dense):
    del covariances
    return jnp.eye(dense.shape[-1], dtype=dense.dtype)[None, None]


@axes_of.register(AbstractCommonAxes)
def _(covariances, dense):
    axes = covariances.axes
    variances = jnp.mean(diagonal_in(dense, axes), Axis.components, keepdims=True)
    order = jnp.argsort(-variances, axis=Axis.features)
    columns = jnp.swapaxes(order, Axis.features, Axis.features_covar)
    return jnp.take_along_axis(axes, columns, Axis.features_covar)


def decompose_dense(
    covariances: AbstractCovariances, n_components: int, n_features: int
) -> Decomposition:
    shape = (1, n_components, n_features, n_features)
    dense = jnp.broadcast_to(covariances.dense(n_features), shape)
    axes = axes_of(covariances, dense)
    variances = diagonal_in(dense, axes)
    size = jnp.exp(jnp.mean(jnp.log(variances), Axis.features, keepdims=True))
    return Decomposition(size, variances / size, jnp.broadcast_to(axes, shape))
