import abc
import functools as ft
from typing import Any, TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs, linalg
from .._core.aliases import (
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    SquareValues,
    Statistic,
    Values,
)
from .._core.axes import Axis
from .._core.triangular import inverse_lower
from .._moments import Moments
from . import views
from .abstract import AbstractCovariances
from .matrices import colour
from .whitening import AbstractWhitening, Substitution, Triangular


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


# With so many features, solving equations takes three times as long as a product with
# the inverse of the factor, whose rounding errors grow with the factor's condition.
_MAX_SUBSTITUTED = 16


# `singledispatch` rather than a method, so that a family defined outside this package
# needs no rule.
@ft.singledispatch
def as_cholesky(
    covariances: AbstractCovariances, scale_tril: Values | None = None
) -> AbstractCovariances:
    """The same covariances held as Cholesky factors, by families that have such a form;
    others as they are.

    **Arguments:**

    - `scale_tril`: the factors, if they are at hand.
    """
    del scale_tril
    return covariances


def as_plain(covariances: AbstractCovariances) -> AbstractCovariances:
    """The same covariances held as values."""
    if isinstance(covariances, AbstractCholesky):
        return covariances.plain
    return covariances


class AbstractCholesky(AbstractCovariances):
    r"""Covariances held as Cholesky factors, $Σ = L L^T$, whose product is not needed
    for a density, a gradient or a sample.

    The product loses half of the digits of a nearly singular covariance: in float32 a
    correlation of $1 - 10^{-7}$ is one, and the density of the product is NaN. `values`
    is the product, computed when it is asked for.

    Made by `from_cholesky` of a family or a mixture. EM and closed-form operations take
    it as a member of that family, and return one.
    """

    scale_tril: eqx.AbstractVar[SquareValues]
    # The family that holds the products.
    family: AbstractClassVar[type[AbstractCovariances]]

    @property
    @abc.abstractmethod
    def plain(self) -> AbstractCovariances:
        """The same covariances as values."""

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> AbstractCovariances:
        return cls.family.create(n_components, n_features, device)

    def statistic(self, residuals: Residuals, resp: PerSample) -> Statistic:
        return self.plain.statistic(residuals, resp)

    def estimate(self, moments: Moments, reg_covar: PerFeature) -> AbstractCovariances:
        return self.plain.estimate(moments, reg_covar)

    @property
    def values(self) -> SquareValues:
        """The products of the factors, in squared data units."""
        product = linalg.matmul(self.scale_tril, linalg.transpose(self.scale_tril))
        return linalg.symmetrise(product)

    def whitening(self, n_features: int, tolerant: bool = False) -> AbstractWhitening:
        del tolerant
        if n_features <= _MAX_SUBSTITUTED:
            return Substitution(self.scale_tril)
        return Triangular(linalg.transpose(inverse_lower(self.scale_tril)))

    @property
    def variances(self) -> Float[Array, "1 _ d 1"]:
        return jnp.sum(self.scale_tril**2, axis=Axis.features_covar, keepdims=True)

    def dense(self, n_features: int) -> SquareValues:
        del n_features
        return self.values

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        return colour(self.scale_tril, noise, labels)

    @property
    def n_parameters(self) -> int:
        d = self.n_features
        return self.n_components * d * (d + 1) // 2


def as_scale_tril(family: type[AbstractCovariances], value: Any) -> SquareValues:
    """The factors of `from_cholesky`, with all four axes.

    **Raises:**

    `ValueError` if they are not lower triangular matrices with a positive diagonal.
    """
    name, squeezed_axes = "scale_tril", views.squeezed_axes(family)
    array = inputs.as_float(value, name)
    axes = [axis.name for axis in Axis if axis not in squeezed_axes]
    if array.ndim != len(axes) or array.shape[-1] != array.shape[-2]:
        raise ValueError(
            f"`{name}` must have the axes ({', '.join(axes)}), the last two of the "
            f"same size; got shape {array.shape}."
        )
    inputs.check_finite(array, name)
    numbers = inputs.concrete(array)
    if numbers is not None and (numbers != jnp.tril(array)).any():
        raise ValueError(
            f"`{name}` must be lower triangular; it has numbers above the diagonal. "
            f"Use `jnp.tril({name})`, or `{name}.swapaxes(-1, -2)` of an upper factor."
        )
    diagonal = linalg.diagonal_of(array)
    smallest = None if numbers is None else float(jnp.min(diagonal))
    if smallest is not None and smallest <= 0:
        raise ValueError(
            f"`{name}` must have a positive diagonal; the smallest element is "
            f"{smallest:.3g}."
        )
    # While tracing nothing is known. The sign of a column does not change the product.
    sign = jnp.where(diagonal < 0, -1, 1).astype(array.dtype)
    array = jnp.tril(array) * linalg.transpose(sign)
    return jnp.expand_dims(array, squeezed_axes)
