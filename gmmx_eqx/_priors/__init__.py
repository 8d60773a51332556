from .dirichlet import as_positive as as_positive, Dirichlet as Dirichlet
from .log_prior import LogPrior as LogPrior
from .normal_inverse_wishart import NormalInverseWishart as NormalInverseWishart
from .prior import Prior as Prior
from .pseudo_samples import PseudoSamples as PseudoSamples
from .ridge import (
    AbstractRidge as AbstractRidge,
    as_ridge as as_ridge,
    RelativeRidge as RelativeRidge,
    Ridge as Ridge,
    RidgeLike as RidgeLike,
)
