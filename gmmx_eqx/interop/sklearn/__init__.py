"""scikit-learn's words for the library, and conversion to and from its estimator."""

try:
    import sklearn.base  # noqa: F401  # so that its absence is explained once, here
except ImportError as _error:
    raise ImportError(
        "This needs scikit-learn, which is an optional extra: "
        '`pip install "gmmx_eqx[sklearn]"`.'
    ) from _error

from .bayesian import BayesianGaussianMixture as BayesianGaussianMixture
from .classifier import MixtureClassifier as MixtureClassifier
from .conversion import from_sklearn as from_sklearn, to_sklearn as to_sklearn
from .estimator import GaussianMixture as GaussianMixture
from .regressor import MixtureRegressor as MixtureRegressor
