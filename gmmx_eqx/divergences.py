"""Divergences between mixtures, entropies and transport."""

from ._ops.divergence import kl_bounds as kl_bounds, kl_variational as kl_variational
from ._ops.entropy import Bounds as Bounds, entropy_bounds as entropy_bounds
from ._ops.monte_carlo import (
    entropy_monte_carlo as entropy_monte_carlo,
    Estimate as Estimate,
    kl_monte_carlo as kl_monte_carlo,
)
from ._ops.pairwise import kl_pairwise as kl_pairwise
from ._ops.wasserstein import Transport as Transport, wasserstein as wasserstein
