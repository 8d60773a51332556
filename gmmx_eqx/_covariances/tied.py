from typing import Any, ClassVar

import jax.numpy as jnp

from .._core import linalg, sums
from .._core.aliases import (
    check_array,
    PerFeature,
    PerSample,
    Residuals,
    TiedValues,
)
from .._core.axes import Axis
from .._core.cholesky import cholesky
from .._core.likes import CovariancesLike
from .._moments import Moments
from . import matrices
from .abstract import AbstractCovariances
from .factored import AbstractCholesky, as_cholesky, as_scale_tril


class TiedCovariances(matrices.AbstractMatrices):
    """One symmetric positive definite matrix, shared by all components.

    **Attributes:**

    - `values`: shape `(1, 1, features, features)`, in squared data units.
    """

    values: TiedValues
    type: ClassVar[str] = "tied"

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None
    ) -> "TiedCovariances":
        del n_components
        shape = (1, 1, n_features, n_features)
        return cls(values=matrices.identities(shape, device))

    @classmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> "TiedCholesky":
        return TiedCholesky(as_scale_tril(cls, scale_tril))

    def statistic(self, residuals: Residuals, resp: PerSample) -> TiedValues:
        by_component = matrices.scatter(residuals, resp)
        total = sums.pairwise_along(by_component, int(Axis.components))
        return jnp.expand_dims(total, Axis.components)

    def estimate(self, moments: Moments, reg_covar: PerFeature) -> "TiedCovariances":
        # The scatter between components is one product, (features, components) by
        # (components, features).
        shift = jnp.swapaxes(moments.shift, Axis.components, Axis.features_covar)
        count = jnp.swapaxes(moments.count, Axis.components, Axis.features_covar)
        between = linalg.matmul(shift * count, linalg.transpose(shift))
        values = linalg.safe_divide(moments.second - between, moments.total)
        return TiedCovariances(matrices.add_ridge(values, reg_covar))


class TiedCholesky(AbstractCholesky):
    """One Cholesky factor for all components, of [`gmmx_eqx.TiedCovariances`][].

    **Attributes:**

    - `scale_tril`: lower triangular, shape `(1, 1, features, features)`, in the units
        of the data.
    - `family`: [`gmmx_eqx.TiedCovariances`][], which holds the products.
    """

    scale_tril: TiedValues
    family: ClassVar[type[AbstractCovariances]] = TiedCovariances
    type: ClassVar[str] = TiedCovariances.type

    def __check_init__(self) -> None:
        check_array("scale_tril", self.scale_tril, TiedValues)

    @property
    def plain(self) -> TiedCovariances:
        """The same covariances as values."""
        return TiedCovariances(self.values)


@as_cholesky.register(TiedCovariances)
def _(covariances, scale_tril=None):
    return TiedCholesky(
        cholesky(covariances.values) if scale_tril is None else scale_tril
    )
