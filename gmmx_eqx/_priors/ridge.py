import abc
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias

import equinox as eqx
import jax.numpy as jnp

from .._core import inputs
from .._core.aliases import PerFeature, Scalar
from .._core.likes import AmountLike


class AbstractRidge(eqx.Module):
    """What is added to the diagonal of every covariance in the M-step."""

    @abc.abstractmethod
    def resolve(self, variances: PerFeature) -> PerFeature:
        """The ridge of each feature, in squared data units.

        **Arguments:**

        - `variances`: the variance of each feature of the data, shape
            `(1, 1, features, 1)`.
        """


def _as_amount(value: Any) -> Scalar:
    return inputs.as_nonnegative(value, "reg_covar")


class Ridge(AbstractRidge):
    """The same number for every feature, in squared data units: scikit-learn's
    `reg_covar`."""

    amount: Scalar = eqx.field(converter=_as_amount)

    def resolve(self, variances: PerFeature) -> PerFeature:
        return jnp.full_like(variances, self.amount.astype(variances.dtype))


class RelativeRidge(AbstractRidge):
    """A fraction of each feature's own variance over the data, so that the result does
    not depend on the units of measurement."""

    fraction: Scalar = eqx.field(converter=_as_amount)

    def resolve(self, variances: PerFeature) -> PerFeature:
        return variances * self.fraction.astype(variances.dtype)


# What is taken for `reg_covar`. Checked by hand: see `likes`.
if TYPE_CHECKING:
    RidgeLike: TypeAlias = AmountLike | AbstractRidge | None
else:
    RidgeLike = Annotated[Any, ""]


def as_ridge(reg_covar: Any) -> AbstractRidge:
    """A number is an absolute ridge; nothing given is a millionth of each feature's
    variance."""
    if reg_covar is None:
        return RelativeRidge(1e-6)
    return reg_covar if isinstance(reg_covar, AbstractRidge) else Ridge(reg_covar)
