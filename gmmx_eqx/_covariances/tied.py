from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .._core import linalg, sums
from .._core.aliases import (
    check_array,
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    TiedValues,
)
from .._core.axes import Axis, CovarianceType
from .._core.cholesky import cholesky, inverse_cholesky
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import matrices, squeezed
from .abstract import AbstractCovariances
from .factored import AbstractCholesky, as_cholesky, as_scale_tril


class TiedCovariances(AbstractCovariances):
    """One symmetric positive definite matrix, shared by all components.

    **Attributes:**

    - `values`: shape `(1, 1, features, features)`, in squared data units.
    """

    values: TiedValues
    type: ClassVar[str] = CovarianceType.tied
    squeezed_axes: ClassVar[tuple[Axis, ...]] = (Axis.batch, Axis.components)
    shared_axes: ClassVar[tuple[Axis, ...]] = (Axis.components,)

    def __check_init__(self) -> None:
        check_array("values", self.values, TiedValues)

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "TiedCovariances":
        del n_components
        values = jnp.eye(n_features)[None, None]
        return cls(values=jax.device_put(values, device))

    @classmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "TiedCovariances":
        inverse = squeezed.as_family(cls, precisions, "precisions")
        return cls(values=matrices.inverse(inverse.values))

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "TiedCholesky":
        lower = as_scale_tril(scale_tril, cls.squeezed_axes)
        return TiedCholesky(lower)  # pyright: ignore[reportCallIssue]  # what is abstract is a property

    @classmethod
    def second_moment(cls, residuals: Residuals, resp: PerSample) -> TiedValues:
        by_component = matrices.scatter(residuals, resp)
        total = sums.pairwise_along(by_component, int(Axis.components))
        return jnp.expand_dims(total, Axis.components)

    @classmethod
    def from_moments(cls, moments: Moments, reg_covar: PerFeature) -> "TiedCovariances":
        # The scatter between components is one product, (features, components) by
        # (components, features).
        shift = jnp.swapaxes(moments.shift, Axis.components, Axis.features_covar)
        count = jnp.swapaxes(moments.count, Axis.components, Axis.features_covar)
        between = linalg.matmul(shift * count, linalg.transpose(shift))
        values = linalg.safe_divide(moments.second - between, moments.total)
        return cls(values=linalg.symmetrise(values) + linalg.diagonal(reg_covar))

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        del labels
        return matrices.colour(cholesky(self.values), noise)

    @property
    def precisions_cholesky(self) -> TiedValues:
        return inverse_cholesky(self.values)

    @property
    def whitener(self) -> TiedValues:
        # Traced, a covariance that rounding has made singular cannot be refused. NaN in
        # one component would be NaN in the density of all.
        return inverse_cholesky(self.values, True)

    @property
    def variances(self) -> PerFeature:
        return linalg.diagonal_of(self.values)

    @property
    def values_dense(self) -> TiedValues:
        return self.values

    @property
    def n_parameters(self) -> int:
        return self.n_features * (self.n_features + 1) // 2


class TiedCholesky(AbstractCholesky):
    """One Cholesky factor for all components, of [`gmmx_eqx.TiedCovariances`][].

    **Attributes:**

    - `scale_tril`: lower triangular, shape `(1, 1, features, features)`, in the units
        of the data.
    """

    scale_tril: TiedValues
    family: ClassVar[type[AbstractCovariances]] = TiedCovariances
    type: ClassVar[str] = TiedCovariances.type
    squeezed_axes: ClassVar[tuple[Axis, ...]] = TiedCovariances.squeezed_axes
    shared_axes: ClassVar[tuple[Axis, ...]] = TiedCovariances.shared_axes

    def __check_init__(self) -> None:
        check_array("scale_tril", self.scale_tril, TiedValues)

    @property
    def plain(self) -> TiedCovariances:
        return TiedCovariances(self.values)

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        del labels
        return matrices.colour(self.scale_tril, noise)


@as_cholesky.register(TiedCovariances)
def _(covariances, scale_tril=None):
    lower = cholesky(covariances.values) if scale_tril is None else scale_tril
    return TiedCholesky(lower)  # pyright: ignore[reportCallIssue]  # what is abstract is a property
