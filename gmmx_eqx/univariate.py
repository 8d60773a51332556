"""Distribution functions of mixtures of one feature, and their inverse."""

from ._ops.line import (
    cdf as cdf,
    log_cdf as log_cdf,
    log_survival as log_survival,
    survival as survival,
)
from ._ops.quantiles import quantile as quantile
