import importlib.metadata

from ._core.aliases import check_shape as check_shape
from ._core.axes import Axis as Axis, CovarianceType as CovarianceType
from ._core.results import RESULTS as RESULTS
from ._covariances import (
    AbstractCovariances as AbstractCovariances,
    constrain as constrain,
    COVARIANCE as COVARIANCE,
    DiagCovariances as DiagCovariances,
    FullCovariances as FullCovariances,
    register_covariance as register_covariance,
    SphericalCovariances as SphericalCovariances,
    TiedCovariances as TiedCovariances,
    unconstrain as unconstrain,
)
from ._em import (
    AbstractEM as AbstractEM,
    AbstractPacking as AbstractPacking,
    amplification as amplification,
    EM as EM,
    EMState as EMState,
    EMStep as EMStep,
    expect as expect,
    expect_packed as expect_packed,
    Expectation as Expectation,
    Frozen as Frozen,
    Kernel as Kernel,
    maximise as maximise,
    packing as packing,
    SQUAREM as SQUAREM,
    SQUAREMState as SQUAREMState,
    StepInfo as StepInfo,
)
from ._fit import (
    Cell as Cell,
    contraction_rate as contraction_rate,
    fit as fit,
    fit_batch as fit_batch,
    fit_restarts as fit_restarts,
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


__version__ = importlib.metadata.version("gmmx_eqx")
