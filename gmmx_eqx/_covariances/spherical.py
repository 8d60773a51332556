from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import (
    check_array,
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    SphericalValues,
)
from .._core.axes import as_columns, Axis, CovarianceType
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import squeezed
from .abstract import AbstractCovariances


class SphericalCovariances(AbstractCovariances):
    """One variance per component, the same for all features.

    The number of features is not stored here (`n_features` is 1): the means know it.

    **Attributes:**

    - `values`: shape `(1, components, 1, 1)`, in squared data units.
    """

    values: SphericalValues
    type: ClassVar[str] = CovarianceType.spherical
    squeezed_axes: ClassVar[tuple[Axis, ...]] = (
        Axis.batch,
        Axis.features,
        Axis.features_covar,
    )
    shared_axes: ClassVar[tuple[Axis, ...]] = (Axis.features,)

    def __check_init__(self) -> None:
        check_array("values", self.values, SphericalValues)

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "SphericalCovariances":
        del n_features
        values = jnp.ones((1, n_components, 1, 1))
        return cls(values=jax.device_put(values, device))

    @classmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "SphericalCovariances":
        inverse = squeezed.as_family(cls, precisions, "precisions")
        return cls(values=1 / inverse.values)

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "SphericalCovariances":
        return squeezed.from_deviations(cls, scale_tril, "scale_tril")

    @classmethod
    def second_moment(cls, residuals: Residuals, resp: PerSample) -> SphericalValues:
        squares = jnp.sum(as_columns(residuals) ** 2, axis=Axis.features, keepdims=True)
        return linalg.matmul(squares, linalg.transpose(as_columns(resp)))

    @classmethod
    def from_moments(
        cls, moments: Moments, reg_covar: PerFeature
    ) -> "SphericalCovariances":
        shift_square = jnp.sum(moments.shift**2, axis=Axis.features, keepdims=True)
        mean_square = linalg.safe_divide(moments.second, moments.count)
        variance = (mean_square - shift_square) / moments.first.shape[Axis.features]
        return cls(
            values=variance + jnp.mean(reg_covar, axis=Axis.features, keepdims=True)
        )

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        scale = jnp.take_along_axis(jnp.sqrt(self.values), labels, Axis.components)
        return noise * scale

    @property
    def precisions_cholesky(self) -> SphericalValues:
        return linalg.inverse_sqrt(self.values)

    @property
    def variances(self) -> SphericalValues:
        return self.values

    @property
    def values_dense(self) -> SphericalValues:
        return self.values

    @property
    def n_parameters(self) -> int:
        return self.n_components
