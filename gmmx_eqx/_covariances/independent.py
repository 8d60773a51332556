"""Families of independent features: one number for each component, feature, or for
several of them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._core import linalg, sums
from .._core.aliases import (
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    SquareValues,
    Values,
)
from .._core.axes import as_columns, Axis
from .._core.known import constant
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import squeezed
from .fields import fields_of
from .values import AbstractValues
from .whitening import Diagonal


class AbstractIndependent(AbstractValues):
    """Family of variances. The annotation of `values` says what they serve."""

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "AbstractIndependent":
        ones = np.ones(variances_shape(cls, n_components, n_features))
        return cls(values=constant(ones, device=device))  # pyright: ignore[reportCallIssue]  # the field is a subclass's

    @classmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "AbstractIndependent":
        inverse = squeezed.as_family(cls, precisions, "precisions")
        return cls(values=1 / inverse.values)  # pyright: ignore[reportCallIssue]  # as above

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "AbstractIndependent":
        return squeezed.from_deviations(cls, scale_tril, "scale_tril")

    def whitening(self, n_features: int, tolerant: bool = False) -> Diagonal:
        del tolerant
        return Diagonal(linalg.inverse_sqrt(self.values), n_features)

    @property
    def variances(self) -> Values:
        return self.values

    def dense(self, n_features: int) -> SquareValues:
        shape = (1, self.n_components, n_features, 1)
        return linalg.diagonal(jnp.broadcast_to(self.values, shape))

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        scale = jnp.sqrt(self.values)
        if Axis.components in fields_of(type(self))["values"]:
            return noise * scale
        return noise * jnp.take_along_axis(scale, labels, Axis.components)

    @property
    def n_parameters(self) -> int:
        return self.n_components * self.n_features

    def statistic(self, residuals: Residuals, resp: PerSample) -> Values:
        axes = fields_of(type(self))["values"]
        squares = as_columns(residuals) ** 2
        if Axis.features in axes:
            squares = jnp.sum(squares, axis=Axis.features, keepdims=True)
        total = linalg.matmul(squares, linalg.transpose(as_columns(resp)))
        if Axis.components in axes:
            total = sums.pairwise_along(total, int(Axis.components))
            total = jnp.expand_dims(total, Axis.components)
        return total

    def estimate(self, moments: Moments, reg_covar: PerFeature) -> AbstractValues:
        axes = fields_of(type(self))["values"]
        between, ridge = moments.shift**2, reg_covar
        n_alike = 1
        if Axis.features in axes:
            between = jnp.sum(between, axis=Axis.features, keepdims=True)
            ridge = jnp.mean(ridge, axis=Axis.features, keepdims=True)
            n_alike = moments.first.shape[Axis.features]
        if Axis.components in axes:
            between = moments.count * between
            between = jnp.sum(between, axis=Axis.components, keepdims=True)
            variance = linalg.safe_divide(moments.second - between, moments.total)
        else:
            variance = linalg.safe_divide(moments.second, moments.count) - between
        values = variance / n_alike + ridge
        return type(self)(values=values)  # pyright: ignore[reportCallIssue]  # as above


def variances_shape(
    family: type, n_components: int, n_features: int
) -> tuple[int, int, int, int]:
    """Shape of the `values` of a family of variances."""
    axes = fields_of(family)["values"]
    n_own = 1 if Axis.components in axes else n_components
    return 1, n_own, 1 if Axis.features in axes else n_features, 1
