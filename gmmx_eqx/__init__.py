from . import (
    divergences as divergences,
    extend as extend,
    families as families,
    uncertainty as uncertainty,
    univariate as univariate,
)
from ._core.aliases import check_shape as check_shape
from ._core.axes import Axis as Axis
from ._core.cache import (
    cache_as_environment_says as _cache_as_environment_says,
    cache_programs as cache_programs,
)
from ._core.results import RESULTS as RESULTS
from ._covariances import (
    COVARIANCE as COVARIANCE,
    CovarianceType as CovarianceType,
    DiagCovariances as DiagCovariances,
    FullCovariances as FullCovariances,
    LowRank as LowRank,
    MODELS as MODELS,
    SphericalCovariances as SphericalCovariances,
    TiedCovariances as TiedCovariances,
    TiedDiagCovariances as TiedDiagCovariances,
    TiedSphericalCovariances as TiedSphericalCovariances,
)
from ._em import (
    EM as EM,
    Frozen as Frozen,
    Incremental as Incremental,
    InTurn as InTurn,
    SQUAREM as SQUAREM,
    Stepwise as Stepwise,
)
from ._fit import (
    Cell as Cell,
    contraction_rate as contraction_rate,
    fit as fit,
    fit_batch as fit_batch,
    fit_restarts as fit_restarts,
    FitError as FitError,
    Optimum as Optimum,
    Population as Population,
    select as select,
    Selection as Selection,
    Solution as Solution,
)
from ._inference import (
    bootstrap as bootstrap,
    delta_method as delta_method,
    leave_one_out as leave_one_out,
    likelihood_ratio_test as likelihood_ratio_test,
    standard_errors as standard_errors,
)
from ._initialisers import (
    Hierarchical as Hierarchical,
    KMeans as KMeans,
    KMeansPlusPlus as KMeansPlusPlus,
    Mixed as Mixed,
    RandomPoints as RandomPoints,
    RandomResponsibilities as RandomResponsibilities,
    Scaling as Scaling,
)
from ._mixture import (
    GaussianMixture as GaussianMixture,
    stack as stack,
    UnconstrainedMixture as UnconstrainedMixture,
)
from ._ops.affine import affine as affine
from ._ops.condition import condition as condition
from ._ops.convolve import convolve as convolve
from ._ops.decompose import decompose as decompose
from ._ops.denoise import denoise as denoise
from ._ops.features import Features as Features
from ._ops.highest_density import highest_density as highest_density
from ._ops.marginal import marginal as marginal
from ._ops.merging import merge as merge
from ._ops.missing import impute as impute, log_prob_observed as log_prob_observed
from ._ops.moments import covariance as covariance, mean as mean
from ._ops.observe import observe as observe
from ._ops.product import product as product
from ._ops.reduction import reduce as reduce
from ._ops.reparametrised import (
    sample_implicit as sample_implicit,
    sample_relaxed as sample_relaxed,
)
from ._ops.score import score_function as score_function
from ._priors import (
    Dirichlet as Dirichlet,
    NormalInverseWishart as NormalInverseWishart,
    Prior as Prior,
    RelativeRidge as RelativeRidge,
    Ridge as Ridge,
    StickBreaking as StickBreaking,
)
from ._sources import (
    blocks as blocks,
    map_blocks as map_blocks,
    Observed as Observed,
    shard as shard,
    Uniform as Uniform,
)
from ._variational import fit_variational as fit_variational, Posterior as Posterior
from .interop.safetensors import load as load, save as save


__version__ = "0.1.0"

_cache_as_environment_says()
