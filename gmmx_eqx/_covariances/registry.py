import difflib
import enum
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias, TypeVar

from .._core.describe import describe
from .abstract import AbstractCovariances
from .axis_parallel import EVICovariances, VEICovariances
from .common_axes import EVECovariances, VVECovariances
from .diag import DiagCovariances
from .factored import AbstractCholesky
from .fields import fields_of
from .full import FullCholesky, FullCovariances
from .low_rank import LowRank, LowRankCovariances, LowRankSphericalCovariances
from .oriented import (
    EEVCovariances,
    EVVCovariances,
    VEECovariances,
    VEVCovariances,
)
from .spherical import SphericalCovariances
from .tied import TiedCholesky, TiedCovariances
from .tied_diag import TiedDiagCovariances
from .tied_spherical import TiedSphericalCovariances
from .values import AbstractValues


_Family = TypeVar("_Family", bound=type[AbstractCovariances])


class CovarianceType(enum.StrEnum):
    """Names of the covariance families that the library ships.

    Members equal their strings, so `CovarianceType.full` and `"full"` can be used
    alike. A user's own family is known by a plain string.

    - `full`: any matrix for each component.
    - `tied`: one matrix for all components.
    - `diag`: a variance for each component and feature.
    - `spherical`: a variance for each component.
    - `tied_diag`: a variance for each feature.
    - `tied_spherical`: one variance.
    - `low_rank`: factors and a noise variance for each feature, for each component.
    - `low_rank_spherical`: factors and one noise variance, for each component.
    - `VEI`, `EVI`, `VEE`, `EVE`, `VVE`, `EEV`, `VEV`, `EVV`: whether volume, shape and
        orientation are equal for all components, variable, or the identity.
    - `EII`: mclust's name of `tied_spherical`.
    - `VII`: mclust's name of `spherical`.
    - `EEI`: mclust's name of `tied_diag`.
    - `VVI`: mclust's name of `diag`.
    - `EEE`: mclust's name of `tied`.
    - `VVV`: mclust's name of `full`.
    """

    full = FullCovariances.type
    tied = TiedCovariances.type
    diag = DiagCovariances.type
    spherical = SphericalCovariances.type
    tied_diag = TiedDiagCovariances.type
    tied_spherical = TiedSphericalCovariances.type
    low_rank = LowRankCovariances.type
    low_rank_spherical = LowRankSphericalCovariances.type
    VEI = VEICovariances.type
    EVI = EVICovariances.type
    VEE = VEECovariances.type
    EVE = EVECovariances.type
    VVE = VVECovariances.type
    EEV = EEVCovariances.type
    VEV = VEVCovariances.type
    EVV = EVVCovariances.type
    # mclust's names of those above.
    EII = TiedSphericalCovariances.type
    VII = SphericalCovariances.type
    EEI = TiedDiagCovariances.type
    VVI = DiagCovariances.type
    EEE = TiedCovariances.type
    VVV = FullCovariances.type


# The registry imports the families; no family imports the registry.
COVARIANCE: dict[str, type[AbstractCovariances]] = {
    family.type: family
    for family in (
        FullCovariances,
        TiedCovariances,
        DiagCovariances,
        SphericalCovariances,
        TiedDiagCovariances,
        TiedSphericalCovariances,
        LowRankCovariances,
        LowRankSphericalCovariances,
        VEICovariances,
        EVICovariances,
        VEECovariances,
        EVECovariances,
        VVECovariances,
        EEVCovariances,
        VEVCovariances,
        EVVCovariances,
    )
}
"""The covariance families by name; see [`gmmx_eqx.extend.register_covariance`][]."""

MODELS = (
    *("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE"),
    *("VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"),
)
"""mclust's names of the fourteen families with covariances $λ_k D_k A_k D_k^T$: whether
volume, shape and orientation are equal (`E`) for all components, variable (`V`), or the
identity (`I`)."""

# How members of a family are held as factors.
CHOLESKY: dict[type[AbstractCovariances], type[AbstractCholesky]] = {
    cls.family: cls for cls in (FullCholesky, TiedCholesky)
}


def register_covariance(family: _Family) -> _Family:
    """Makes a covariance family known by its name, `family.type`.

    Can be used as a decorator. Registering a name again replaces its class.

    **Raises:**

    `ValueError` if `family` is not a concrete subclass of
    [`gmmx_eqx.extend.AbstractCovariances`][]; `TypeError` if a field is not annotated
    as an array of four axes.
    """
    is_family = isinstance(family, type) and issubclass(family, AbstractCovariances)
    if not is_family or getattr(family, "__abstractmethods__", None):
        raise ValueError(
            f"`family` must be a concrete subclass of `AbstractCovariances`; got "
            f"{family!r}."
        )
    fields_of(family)
    COVARIANCE[family.type] = family
    return family


# What is taken for `covariance_type`. Checked by hand: see `likes`.
if TYPE_CHECKING:
    FamilyLike: TypeAlias = str | LowRank
else:
    FamilyLike = Annotated[Any, ""]
# What makes covariances of a family: its class, or its class and a rank.
Family: TypeAlias = type[AbstractCovariances] | LowRank


def covariance_class(covariance_type: Any, name: str = "covariance_type") -> Family:
    """The class of a registered name, or a `ValueError` that lists the known ones. A
    [`gmmx_eqx.LowRank`][] is taken as it is."""
    if isinstance(covariance_type, str):
        # mclust's name of a family that has a longer one.
        covariance_type = CovarianceType.__members__.get(
            covariance_type, covariance_type
        )
    known = [family for family in COVARIANCE.values() if family is covariance_type]
    if known or isinstance(covariance_type, LowRank):
        return covariance_type
    if isinstance(covariance_type, str) and covariance_type in COVARIANCE:
        return COVARIANCE[covariance_type]
    known = [str(known) for known in COVARIANCE]
    nearest = difflib.get_close_matches(str(covariance_type).lower(), known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"`{name}` must be one of {', '.join(map(repr, known))}; got "
        f"{describe(covariance_type)}.{hint} Register a family of your own with "
        "`gmmx_eqx.extend.register_covariance`."
    )


def class_of(family: Family) -> type[AbstractCovariances]:
    """The class of the covariances that a family makes."""
    return COVARIANCE[family.type] if isinstance(family, LowRank) else family


def values_class(
    covariance_type: Any, name: str = "covariance_type"
) -> type[AbstractValues]:
    """The class of a registered name whose covariances are one array, `values`."""
    family = covariance_class(covariance_type, name)
    if isinstance(family, type) and issubclass(family, AbstractValues):
        return family
    cls = class_of(family).__name__
    raise ValueError(
        f"Covariances of type {family.type!r} are not one array. Make them with "
        f"`{cls}`, and the mixture with `GaussianMixture(weights, means, covariances)`."
    )


def family_of(covariances: AbstractCovariances) -> Family:
    """What makes covariances like these."""
    if isinstance(covariances, LowRankCovariances):
        return LowRank(covariances.rank, "diag")
    if isinstance(covariances, LowRankSphericalCovariances):
        return LowRank(covariances.rank, "spherical")
    return type(covariances)
