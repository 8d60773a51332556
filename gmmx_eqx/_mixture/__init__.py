from .abstract import AbstractGaussianMixture as AbstractGaussianMixture
from .ensemble import stack as stack
from .mixture import GaussianMixture as GaussianMixture
from .unconstrained import UnconstrainedMixture as UnconstrainedMixture
