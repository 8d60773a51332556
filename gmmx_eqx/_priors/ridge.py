import abc
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import PerFeature
from .._core.axes import Axis
from .._core.likes import AmountLike


# A number, or one for each feature.
Amount: TypeAlias = Float[Array, "..."]


class AbstractRidge(eqx.Module):
    """What is added to the diagonal of every covariance in the M-step."""

    @abc.abstractmethod
    def resolve(self, variances: PerFeature) -> PerFeature:
        """The ridge of each feature, in squared data units.

        **Arguments:**

        - `variances`: the variance of each feature of the data, shape
            `(1, 1, features, 1)`.
        """


def _as_amount(value: Any) -> Amount:
    return inputs.as_nonnegative(value, "reg_covar", of_features=True)


def _of_features(amount: Amount, variances: PerFeature) -> PerFeature:
    """One number for each feature, in the type of the variances."""
    shape, n_features = amount.shape, variances.shape[Axis.features]
    if shape not in ((), (n_features,)):
        raise ValueError(
            f"`reg_covar` must be one number, or {n_features}, one for each feature; "
            f"got shape {shape}."
        )
    amount = amount.reshape(1, 1, -1, 1).astype(variances.dtype)
    return jnp.broadcast_to(amount, variances.shape)


class Ridge(AbstractRidge):
    """The same number for every feature, in squared data units: scikit-learn's
    `reg_covar`. Or one number for each feature, of which the `spherical` family takes
    the mean.

    **Attributes:**

    - `amount`: a number, or shape `(features,)`.
    """

    amount: Amount = eqx.field(converter=_as_amount)

    def resolve(self, variances: PerFeature) -> PerFeature:
        return _of_features(self.amount, variances)


class RelativeRidge(AbstractRidge):
    """A fraction of each feature's own variance over the data, so that the result does
    not depend on the units of measurement. Or one fraction for each feature.

    **Attributes:**

    - `fraction`: a number, or shape `(features,)`.
    """

    fraction: Amount = eqx.field(converter=_as_amount)

    def resolve(self, variances: PerFeature) -> PerFeature:
        return variances * _of_features(self.fraction, variances)


# What is taken for `reg_covar`. Checked by hand: see `likes`.
if TYPE_CHECKING:
    RidgeLike: TypeAlias = AmountLike | AbstractRidge | None
else:
    RidgeLike = Annotated[Any, ""]


def as_ridge(reg_covar: Any) -> AbstractRidge:
    """A number, or one for each feature, is an absolute ridge; nothing given is a
    millionth of each feature's variance."""
    if reg_covar is None:
        return RelativeRidge(1e-6)
    return reg_covar if isinstance(reg_covar, AbstractRidge) else Ridge(reg_covar)
