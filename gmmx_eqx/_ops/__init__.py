"""Operations on mixtures in closed form: mixture -> mixture or array."""

from .affine import affine as affine
from .condition import condition as condition
from .denoise import denoise as denoise
from .families import with_variances as with_variances
from .features import Features as Features
from .marginal import marginal as marginal
from .missing import impute as impute, log_prob_observed as log_prob_observed
from .moments import covariance as covariance, mean as mean
from .observe import observe as observe
from .product import product as product
from .score import score_function as score_function
