from .abstract import AbstractGaussianMixture as AbstractGaussianMixture
from .checks import (
    check_mixture as check_mixture,
    check_mixtures as check_mixtures,
    check_plain as check_plain,
)
from .ensemble import stack as stack
from .mixture import GaussianMixture as GaussianMixture
from .unconstrained import UnconstrainedMixture as UnconstrainedMixture
