from . import form as form, turning as turning
from .abstract import AbstractCovariances as AbstractCovariances
from .at_least import (
    add_noise as add_noise,
    allows as allows,
    at_least as at_least,
    without as without,
)
from .axis_parallel import (
    EVICovariances as EVICovariances,
    VEICovariances as VEICovariances,
)
from .common_axes import (
    EVECovariances as EVECovariances,
    VVECovariances as VVECovariances,
)
from .components import (
    component_sizes as component_sizes,
    has_features_alike as has_features_alike,
    is_tied as is_tied,
    map_components as map_components,
    repeat_components as repeat_components,
    take_components as take_components,
    tile_components as tile_components,
    where_components as where_components,
)
from .conjugate import Conjugate as Conjugate, conjugate as conjugate
from .decomposition import (
    decompose_dense as decompose_dense,
    Decomposition as Decomposition,
)
from .deviations import deviations_numpy as deviations_numpy
from .diag import DiagCovariances as DiagCovariances
from .extrapolation import (
    as_member as as_member,
    at_coordinates as at_coordinates,
    coordinates_of as coordinates_of,
)
from .factored import (
    AbstractCholesky as AbstractCholesky,
    as_cholesky as as_cholesky,
    as_plain as as_plain,
)
from .fields import fields_of as fields_of
from .full import FullCholesky as FullCholesky, FullCovariances as FullCovariances
from .independent import AbstractIndependent as AbstractIndependent
from .information import (
    information as information,
    precision as precision,
    times as times,
)
from .kept import as_kept as as_kept, statistic_of_kept as statistic_of_kept
from .low_rank import (
    AbstractLowRank as AbstractLowRank,
    LowRank as LowRank,
    LowRankCovariances as LowRankCovariances,
    LowRankSphericalCovariances as LowRankSphericalCovariances,
)
from .matrices import AbstractMatrices as AbstractMatrices
from .oriented import (
    EEVCovariances as EEVCovariances,
    EVVCovariances as EVVCovariances,
    VEECovariances as VEECovariances,
    VEVCovariances as VEVCovariances,
)
from .parsimonious import (
    AbstractParsimoniousDiagonals as AbstractParsimoniousDiagonals,
)
from .parts import moments_about as moments_about
from .registry import (
    CHOLESKY as CHOLESKY,
    class_of as class_of,
    COVARIANCE as COVARIANCE,
    covariance_class as covariance_class,
    CovarianceType as CovarianceType,
    Family as Family,
    family_of as family_of,
    FamilyLike as FamilyLike,
    MODELS as MODELS,
    register_covariance as register_covariance,
    values_class as values_class,
)
from .scale import (
    divide as divide,
    multiply as multiply,
    scale_of as scale_of,
    with_units as with_units,
)
from .spherical import SphericalCovariances as SphericalCovariances
from .tied import TiedCholesky as TiedCholesky, TiedCovariances as TiedCovariances
from .tied_diag import TiedDiagCovariances as TiedDiagCovariances
from .tied_spherical import TiedSphericalCovariances as TiedSphericalCovariances
from .unconstrained import constrain as constrain, unconstrain as unconstrain
from .unshared import (
    between as between,
    merge_components as merge_components,
    unshared as unshared,
    with_values as with_values,
)
from .values import AbstractValues as AbstractValues
from .varied import contrasts as contrasts, varied as varied
from .views import (
    as_values as as_values,
    has_matrices as has_matrices,
    squeezed_axes as squeezed_axes,
)
from .whitening import (
    AbstractWhitening as AbstractWhitening,
    Diagonal as Diagonal,
    log_density as log_density,
    Substitution as Substitution,
    Triangular as Triangular,
)
from .wishart import draw as draw, Wishart as Wishart, wishart as wishart
from .woodbury import Woodbury as Woodbury
