from typing import TypeVar

from .abstract import AbstractCovariances
from .diag import DiagCovariances
from .full import FullCovariances
from .spherical import SphericalCovariances
from .tied import TiedCovariances


_Family = TypeVar("_Family", bound=type[AbstractCovariances])

# The registry imports the families; no family imports the registry.
COVARIANCE: dict[str, type[AbstractCovariances]] = {
    family.type: family
    for family in (
        FullCovariances,
        TiedCovariances,
        DiagCovariances,
        SphericalCovariances,
    )
}
"""The covariance families by name; see [`gmmx_eqx.register_covariance`][]."""


def register_covariance(family: _Family) -> _Family:
    """Makes a covariance family known by its name, `family.type`.

    Can be used as a decorator. Registering a name again replaces its class.

    **Raises:**

    `ValueError` if `family` is not a concrete subclass of
    [`gmmx_eqx.AbstractCovariances`][].
    """
    is_family = isinstance(family, type) and issubclass(family, AbstractCovariances)
    if not is_family or getattr(family, "__abstractmethods__", None):
        raise ValueError(
            f"`family` must be a concrete subclass of `AbstractCovariances`; got "
            f"{family!r}."
        )
    COVARIANCE[family.type] = family
    return family


def covariance_class(covariance_type: str) -> type[AbstractCovariances]:
    """The class of a registered name, or a `ValueError` that lists the known ones."""
    try:
        return COVARIANCE[covariance_type]
    except KeyError:
        raise ValueError(
            f"Unknown `covariance_type` {covariance_type!r}; known are "
            f"{', '.join(repr(str(name)) for name in COVARIANCE)}. Register a family "
            "of your own with `gmmx_eqx.register_covariance`."
        ) from None
