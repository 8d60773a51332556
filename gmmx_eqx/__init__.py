from ._core.aliases import check_shape as check_shape
from ._core.axes import Axis as Axis
from ._core.results import RESULTS as RESULTS
from ._covariances import (
    AbstractCovariances as AbstractCovariances,
    AbstractValues as AbstractValues,
    AbstractWhitening as AbstractWhitening,
    constrain as constrain,
    COVARIANCE as COVARIANCE,
    CovarianceType as CovarianceType,
    DiagCovariances as DiagCovariances,
    Diagonal as Diagonal,
    FullCholesky as FullCholesky,
    FullCovariances as FullCovariances,
    register_covariance as register_covariance,
    SphericalCovariances as SphericalCovariances,
    TiedCholesky as TiedCholesky,
    TiedCovariances as TiedCovariances,
    TiedDiagCovariances as TiedDiagCovariances,
    TiedSphericalCovariances as TiedSphericalCovariances,
    Triangular as Triangular,
    unconstrain as unconstrain,
    unshared as unshared,
)
from ._em import (
    AbstractEM as AbstractEM,
    AbstractEMState as AbstractEMState,
    AbstractEStep as AbstractEStep,
    AbstractPacking as AbstractPacking,
    Complete as Complete,
    EM as EM,
    EMState as EMState,
    EMStep as EMStep,
    Expectation as Expectation,
    Frozen as Frozen,
    maximise as maximise,
    packing as packing,
    Record as Record,
    SQUAREM as SQUAREM,
    SQUAREMState as SQUAREMState,
    StepInfo as StepInfo,
)
from ._fit import (
    AbstractProgress as AbstractProgress,
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
from ._initialisers import (
    AbstractInitialiser as AbstractInitialiser,
    KMeans as KMeans,
    KMeansPlusPlus as KMeansPlusPlus,
    Mixed as Mixed,
    Partition as Partition,
    RandomPoints as RandomPoints,
    RandomResponsibilities as RandomResponsibilities,
    Scaling as Scaling,
)
from ._mixture import (
    AbstractGaussianMixture as AbstractGaussianMixture,
    GaussianMixture as GaussianMixture,
    stack as stack,
    UnconstrainedMixture as UnconstrainedMixture,
)
from ._moments import Moments as Moments
from ._ops import (
    affine as affine,
    Bounds as Bounds,
    cdf as cdf,
    condition as condition,
    convolve as convolve,
    covariance as covariance,
    denoise as denoise,
    entropy_bounds as entropy_bounds,
    entropy_monte_carlo as entropy_monte_carlo,
    Estimate as Estimate,
    Features as Features,
    impute as impute,
    kl_bounds as kl_bounds,
    kl_monte_carlo as kl_monte_carlo,
    kl_variational as kl_variational,
    log_cdf as log_cdf,
    log_prob_observed as log_prob_observed,
    log_survival as log_survival,
    marginal as marginal,
    mean as mean,
    merge as merge,
    observe as observe,
    pairwise_kl as pairwise_kl,
    product as product,
    quantile as quantile,
    reduce as reduce,
    sample_implicit as sample_implicit,
    sample_relaxed as sample_relaxed,
    score_function as score_function,
    survival as survival,
    Transport as Transport,
    wasserstein as wasserstein,
    with_variances as with_variances,
)
from ._priors import (
    AbstractRidge as AbstractRidge,
    RelativeRidge as RelativeRidge,
    Ridge as Ridge,
)
from ._sources import (
    AbstractSource as AbstractSource,
    Chunk as Chunk,
    InMemory as InMemory,
)
from .interop.safetensors import load as load, save as save


__version__ = "0.1.0"
