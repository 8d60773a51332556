"""What says how sure a fit is: results of standard errors, bootstraps and tests."""

from ._inference import (
    Bootstrap as Bootstrap,
    LeaveOneOut as LeaveOneOut,
    LikelihoodRatio as LikelihoodRatio,
    LikelihoodRatios as LikelihoodRatios,
    StandardErrors as StandardErrors,
    Uncertain as Uncertain,
)
from ._ops.highest_density import HighestDensity as HighestDensity
