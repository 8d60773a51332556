"""Covariance families whose names are rarely typed: `gmmx_eqx.fit` and the like take
them by the names in [`gmmx_eqx.COVARIANCE`][]."""

from ._covariances import (
    Decomposition as Decomposition,
    EEVCovariances as EEVCovariances,
    EVECovariances as EVECovariances,
    EVICovariances as EVICovariances,
    EVVCovariances as EVVCovariances,
    LowRankCovariances as LowRankCovariances,
    LowRankSphericalCovariances as LowRankSphericalCovariances,
    VEECovariances as VEECovariances,
    VEICovariances as VEICovariances,
    VEVCovariances as VEVCovariances,
    VVECovariances as VVECovariances,
)
