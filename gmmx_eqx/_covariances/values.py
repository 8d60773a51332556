import abc
from typing import TypeVar

import equinox as eqx

from .._core.aliases import check_array, Values
from .._core.likes import CovariancesLike
from . import squeezed
from .abstract import AbstractCovariances
from .fields import annotation_of


_Family = TypeVar("_Family", bound="AbstractValues")


class AbstractValues(AbstractCovariances):
    """Family whose covariances are one array.

    **Attributes:**

    - `values`: the array, with the four axes of [`gmmx_eqx.Axis`][], in squared data
        units.
    """

    values: eqx.AbstractVar[Values]

    def __check_init__(self) -> None:
        check_array("values", self.values, annotation_of(type(self), "values"))

    @classmethod
    @abc.abstractmethod
    def from_precisions(cls, precisions: CovariancesLike) -> "AbstractValues":
        """Covariances from their inverses, in the shape of squeezed values, in inverse
        squared data units."""

    @classmethod
    @abc.abstractmethod
    def from_cholesky(cls, scale_tril: CovariancesLike) -> AbstractCovariances:
        r"""Covariances from lower triangular factors, $Σ = L L^T$, without size-one
        axes: full `(components, features, features)`, tied `(features, features)`; or
        from standard deviations, in the shape of squeezed values.

        Full and tied covariances keep the factors: densities, gradients and samples
        have the digits that a product of them would lose.

        **Raises:**

        `ValueError` if the shape or a value cannot be right.
        """

    @classmethod
    def from_squeezed(cls: type[_Family], values: CovariancesLike) -> _Family:
        """Covariances from an array without its size-one axes.

        Shapes: full `(components, features, features)`, tied `(features, features)`,
        diag `(components, features)`, spherical `(components,)`, tied_diag
        `(features,)`, tied_spherical `()`.

        **Raises:**

        `ValueError` if the shape or a value cannot be a covariance of this family.
        """
        return squeezed.as_family(cls, values, "covariances")
