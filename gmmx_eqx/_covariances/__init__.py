from .abstract import AbstractCovariances as AbstractCovariances
from .diag import DiagCovariances as DiagCovariances
from .factored import (
    AbstractCholesky as AbstractCholesky,
    as_cholesky as as_cholesky,
    as_plain as as_plain,
)
from .full import FullCholesky as FullCholesky, FullCovariances as FullCovariances
from .registry import (
    CHOLESKY as CHOLESKY,
    COVARIANCE as COVARIANCE,
    covariance_class as covariance_class,
    register_covariance as register_covariance,
)
from .spherical import SphericalCovariances as SphericalCovariances
from .tied import TiedCholesky as TiedCholesky, TiedCovariances as TiedCovariances
from .unconstrained import constrain as constrain, unconstrain as unconstrain
