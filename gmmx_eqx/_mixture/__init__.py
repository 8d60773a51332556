from .abstract import AbstractGaussianMixture as AbstractGaussianMixture
from .checks import (
    as_plain_mixture as as_plain_mixture,
    check_mixture as check_mixture,
    check_mixtures as check_mixtures,
)
from .ensemble import stack as stack
from .mixture import GaussianMixture as GaussianMixture
from .unconstrained import UnconstrainedMixture as UnconstrainedMixture
