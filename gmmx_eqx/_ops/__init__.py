from .divergence import kl_bounds as kl_bounds, kl_variational as kl_variational
from .entropy import Bounds as Bounds, entropy_bounds as entropy_bounds
from .line import (
    cdf as cdf,
    log_cdf as log_cdf,
    log_survival as log_survival,
    survival as survival,
)
from .merging import merge as merge, unshared as unshared
from .monte_carlo import (
    entropy_monte_carlo as entropy_monte_carlo,
    Estimate as Estimate,
    kl_monte_carlo as kl_monte_carlo,
)
from .pairwise import pairwise_kl as pairwise_kl
from .quantiles import quantile as quantile
from .reduction import reduce as reduce
from .reparametrised import (
    sample_implicit as sample_implicit,
    sample_relaxed as sample_relaxed,
)
from .wasserstein import Transport as Transport, wasserstein as wasserstein
