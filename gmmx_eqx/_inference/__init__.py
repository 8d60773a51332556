from .bootstrap import Bootstrap as Bootstrap, bootstrap as bootstrap
from .delta import Uncertain as Uncertain
from .delta_method import delta_method as delta_method
from .leave_one_out import leave_one_out as leave_one_out, LeaveOneOut as LeaveOneOut
from .likelihood_ratio import (
    likelihood_ratio_test as likelihood_ratio_test,
    LikelihoodRatio as LikelihoodRatio,
    LikelihoodRatios as LikelihoodRatios,
)
from .standard_errors import (
    standard_errors as standard_errors,
    StandardErrors as StandardErrors,
)
