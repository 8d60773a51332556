from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import (
    check_array,
    FullValues,
    Means,
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
)
from .._core.axes import Axis, CovarianceType
from .._core.cholesky import cholesky, inverse_cholesky
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import matrices, squeezed
from .abstract import AbstractCovariances
from .factored import AbstractCholesky, as_cholesky, as_scale_tril


class FullCovariances(AbstractCovariances):
    """One symmetric positive definite matrix per component.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = CovarianceType.full
    squeezed_axes: ClassVar[tuple[Axis, ...]] = (Axis.batch,)
    shared_axes: ClassVar[tuple[Axis, ...]] = ()

    def __check_init__(self) -> None:
        check_array("values", self.values, FullValues)

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "FullCovariances":
        shape = (1, n_components, n_features, n_features)
        values = jnp.broadcast_to(jnp.eye(n_features), shape)
        return cls(values=jax.device_put(values, device))

    @classmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "FullCovariances":
        inverse = squeezed.as_family(cls, precisions, "precisions")
        return cls(values=matrices.inverse(inverse.values))

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "FullCholesky":
        lower = as_scale_tril(scale_tril, cls.squeezed_axes)
        return FullCholesky(lower)  # pyright: ignore[reportCallIssue]  # what is abstract is a property

    @classmethod
    def second_moment(cls, residuals: Residuals, resp: PerSample) -> FullValues:
        return matrices.scatter(residuals, resp)

    @classmethod
    def from_moments(cls, moments: Moments, reg_covar: PerFeature) -> "FullCovariances":
        shift = moments.shift
        outer = shift * linalg.transpose(shift)
        values = linalg.safe_divide(moments.second, moments.count) - outer
        return cls(values=linalg.symmetrise(values) + linalg.diagonal(reg_covar))

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        return matrices.colour_by_label(cholesky(self.values), noise, labels)

    @property
    def precisions_cholesky(self) -> FullValues:
        return inverse_cholesky(self.values)

    @property
    def whitener(self) -> FullValues:
        # Traced, a covariance that rounding has made singular cannot be refused. NaN in
        # one component would be NaN in the density of all.
        return inverse_cholesky(self.values, True)

    @property
    def variances(self) -> Means:
        return linalg.diagonal_of(self.values)

    @property
    def values_dense(self) -> FullValues:
        return self.values

    @property
    def n_parameters(self) -> int:
        return self.n_components * self.n_features * (self.n_features + 1) // 2


class FullCholesky(AbstractCholesky):
    """One Cholesky factor per component, of [`gmmx_eqx.FullCovariances`][].

    **Attributes:**

    - `scale_tril`: lower triangular, shape `(1, components, features, features)`, in
        the units of the data.
    """

    scale_tril: FullValues
    family: ClassVar[type[AbstractCovariances]] = FullCovariances
    type: ClassVar[str] = FullCovariances.type
    squeezed_axes: ClassVar[tuple[Axis, ...]] = FullCovariances.squeezed_axes
    shared_axes: ClassVar[tuple[Axis, ...]] = FullCovariances.shared_axes

    def __check_init__(self) -> None:
        check_array("scale_tril", self.scale_tril, FullValues)

    @property
    def plain(self) -> FullCovariances:
        return FullCovariances(self.values)

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        return matrices.colour_by_label(self.scale_tril, noise, labels)


@as_cholesky.register(FullCovariances)
def _(covariances, scale_tril=None):
    lower = cholesky(covariances.values) if scale_tril is None else scale_tril
    return FullCholesky(lower)  # pyright: ignore[reportCallIssue]  # what is abstract is a property
