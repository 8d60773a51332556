from typing import Any, ClassVar

from .._core import linalg
from .._core.aliases import (
    check_array,
    FullValues,
    PerFeature,
    PerSample,
    Residuals,
)
from .._core.cholesky import cholesky
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import matrices
from .abstract import AbstractCovariances
from .factored import AbstractCholesky, as_cholesky, as_scale_tril


class FullCovariances(matrices.AbstractMatrices):
    """One symmetric positive definite matrix per component.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "full"

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "FullCovariances":
        shape = (1, n_components, n_features, n_features)
        return cls(values=matrices.identities(shape, device))

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "FullCholesky":
        return FullCholesky(as_scale_tril(cls, scale_tril))

    def statistic(self, residuals: Residuals, resp: PerSample) -> FullValues:
        return matrices.scatter(residuals, resp)

    def estimate(self, moments: Moments, reg_covar: PerFeature) -> "FullCovariances":
        shift = moments.shift
        outer = shift * linalg.transpose(shift)
        values = linalg.safe_divide(moments.second, moments.count) - outer
        return FullCovariances(matrices.add_ridge(values, reg_covar))


class FullCholesky(AbstractCholesky):
    """One Cholesky factor per component, of [`gmmx_eqx.FullCovariances`][].

    **Attributes:**

    - `scale_tril`: lower triangular, shape `(1, components, features, features)`, in
        the units of the data.
    - `family`: [`gmmx_eqx.FullCovariances`][], which holds the products.
    """

    scale_tril: FullValues
    family: ClassVar[type[AbstractCovariances]] = FullCovariances
    type: ClassVar[str] = FullCovariances.type

    def __check_init__(self) -> None:
        check_array("scale_tril", self.scale_tril, FullValues)

    @property
    def plain(self) -> FullCovariances:
        """The same covariances as values."""
        return FullCovariances(self.values)


@as_cholesky.register(FullCovariances)
def _(covariances, scale_tril=None):
    return FullCholesky(
        cholesky(covariances.values) if scale_tril is None else scale_tril
    )
