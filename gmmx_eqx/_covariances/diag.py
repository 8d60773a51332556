from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import (
    check_array,
    DiagValues,
    FullValues,
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
)
from .._core.axes import as_columns, Axis, CovarianceType
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import squeezed
from .abstract import AbstractCovariances


class DiagCovariances(AbstractCovariances):
    """One variance per component and feature: features are independent within a
    component.

    **Attributes:**

    - `values`: shape `(1, components, features, 1)`, in squared data units.
    """

    values: DiagValues
    type: ClassVar[str] = CovarianceType.diag
    squeezed_axes: ClassVar[tuple[Axis, ...]] = (Axis.batch, Axis.features_covar)
    shared_axes: ClassVar[tuple[Axis, ...]] = ()

    def __check_init__(self) -> None:
        check_array("values", self.values, DiagValues)

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "DiagCovariances":
        values = jnp.ones((1, n_components, n_features, 1))
        return cls(values=jax.device_put(values, device))

    @classmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "DiagCovariances":
        inverse = squeezed.as_family(cls, precisions, "precisions")
        return cls(values=1 / inverse.values)

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "DiagCovariances":
        return squeezed.from_deviations(cls, scale_tril, "scale_tril")

    @classmethod
    def second_moment(cls, residuals: Residuals, resp: PerSample) -> DiagValues:
        squares = as_columns(residuals) ** 2
        return linalg.matmul(squares, linalg.transpose(as_columns(resp)))

    @classmethod
    def from_moments(cls, moments: Moments, reg_covar: PerFeature) -> "DiagCovariances":
        mean_square = linalg.safe_divide(moments.second, moments.count)
        return cls(values=mean_square - moments.shift**2 + reg_covar)

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        scale = jnp.take_along_axis(jnp.sqrt(self.values), labels, Axis.components)
        return noise * scale

    @property
    def precisions_cholesky(self) -> DiagValues:
        return linalg.inverse_sqrt(self.values)

    @property
    def variances(self) -> DiagValues:
        return self.values

    @property
    def values_dense(self) -> FullValues:
        return linalg.diagonal(self.values)

    @property
    def n_parameters(self) -> int:
        return self.n_components * self.n_features
