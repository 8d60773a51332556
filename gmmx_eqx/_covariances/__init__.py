from .abstract import AbstractCovariances as AbstractCovariances
from .diag import DiagCovariances as DiagCovariances
from .full import FullCovariances as FullCovariances
from .registry import (
    COVARIANCE as COVARIANCE,
    covariance_class as covariance_class,
    register_covariance as register_covariance,
)
from .spherical import SphericalCovariances as SphericalCovariances
from .tied import TiedCovariances as TiedCovariances
from .unconstrained import constrain as constrain, unconstrain as unconstrain
