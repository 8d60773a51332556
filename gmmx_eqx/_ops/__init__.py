"""Operations on mixtures in closed form: mixture -> mixture or array."""

from .affine import affine as affine
from .condition import condition as condition
from .convolve import convolve as convolve
from .denoise import denoise as denoise
from .divergence import kl_bounds as kl_bounds, kl_variational as kl_variational
from .entropy import Bounds as Bounds, entropy_bounds as entropy_bounds
from .families import with_variances as with_variances
from .features import Features as Features
from .line import (
    cdf as cdf,
    log_cdf as log_cdf,
    log_survival as log_survival,
    survival as survival,
)
from .marginal import marginal as marginal
from .merging import merge as merge
from .missing import impute as impute, log_prob_observed as log_prob_observed
from .moments import covariance as covariance, mean as mean
from .monte_carlo import (
    entropy_monte_carlo as entropy_monte_carlo,
    Estimate as Estimate,
    kl_monte_carlo as kl_monte_carlo,
)
from .observe import observe as observe
from .pairwise import kl_pairwise as kl_pairwise
from .product import product as product
from .quantiles import quantile as quantile
from .reduction import reduce as reduce
from .reparametrised import (
    sample_implicit as sample_implicit,
    sample_relaxed as sample_relaxed,
)
from .score import score_function as score_function
from .wasserstein import Transport as Transport, wasserstein as wasserstein
