"""The parts that fits and mixtures are made of, to step EM by hand and to add others:
covariance families, E-steps, solvers, initialisers, priors, ridges, sources,
progress."""

from ._covariances import (
    AbstractCovariances as AbstractCovariances,
    AbstractValues as AbstractValues,
    AbstractWhitening as AbstractWhitening,
    constrain as constrain,
    Diagonal as Diagonal,
    FullCholesky as FullCholesky,
    register_covariance as register_covariance,
    TiedCholesky as TiedCholesky,
    Triangular as Triangular,
    unconstrain as unconstrain,
    unshared as unshared,
    Woodbury as Woodbury,
)
from ._em import (
    AbstractEM as AbstractEM,
    AbstractEMState as AbstractEMState,
    AbstractEStep as AbstractEStep,
    AbstractPacking as AbstractPacking,
    Complete as Complete,
    EMState as EMState,
    EMStep as EMStep,
    Expectation as Expectation,
    maximise as maximise,
    MStep as MStep,
    packing as packing,
    Record as Record,
    SQUAREMState as SQUAREMState,
    StepInfo as StepInfo,
)
from ._fit import (
    AbstractBlockProgress as AbstractBlockProgress,
    AbstractProgress as AbstractProgress,
)
from ._initialisers import (
    AbstractInitialiser as AbstractInitialiser,
    Partition as Partition,
)
from ._mixture import AbstractGaussianMixture as AbstractGaussianMixture
from ._moments import Moments as Moments
from ._ops.families import with_variances as with_variances
from ._priors import (
    AbstractRidge as AbstractRidge,
    LogPrior as LogPrior,
    PseudoSamples as PseudoSamples,
)
from ._sources import (
    AbstractFacts as AbstractFacts,
    AbstractSource as AbstractSource,
    Block as Block,
    Blocks as Blocks,
    Chunk as Chunk,
    InMemory as InMemory,
)
