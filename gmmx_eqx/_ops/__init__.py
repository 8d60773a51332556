from .divergence import kl_bounds as kl_bounds, kl_variational as kl_variational
from .entropy import Bounds as Bounds, entropy_bounds as entropy_bounds
from .monte_carlo import (
    entropy_monte_carlo as entropy_monte_carlo,
    Estimate as Estimate,
    kl_monte_carlo as kl_monte_carlo,
)
from .pairwise import pairwise_kl as pairwise_kl
