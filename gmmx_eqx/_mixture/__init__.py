from .abstract import AbstractGaussianMixture as AbstractGaussianMixture
from .mixture import GaussianMixture as GaussianMixture
