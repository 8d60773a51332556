"""scikit-learn's own tests of its Bayesian mixture, with the class exchanged."""

import pytest
import sklearn.mixture.tests.test_bayesian_mixture as own

from gmmx_eqx.sklearn import BayesianGaussianMixture

from .sklearn_checks import own_tests


pytestmark = [
    pytest.mark.x32,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

_PRIVATE = "tests private functions of scikit-learn, not the estimator"

# Why these are not run.
NOT_RUN = {
    "test_log_dirichlet_norm": _PRIVATE,
    "test_log_wishart_norm": _PRIVATE,
    "test_compare_covar_type": _PRIVATE,
}
# Each compiles many programs: run with GMMX_EQX_SLOW_TESTS=1.
SLOW = {
    "test_bayesian_mixture_fit_predict",
    "test_bayesian_mixture_fit_predict_n_init",
    "test_bayesian_mixture_precisions_prior_initialisation",
    "test_bayesian_mixture_predict_predict_proba",
    "test_check_covariance_precision",
    "test_invariant_translation",
    "test_monotonic_likelihood",
}

RUN = own_tests(own, NOT_RUN, SLOW)
globals().update(RUN)


@pytest.fixture(autouse=True)
def exchanged(monkeypatch):
    monkeypatch.setattr(own, "BayesianGaussianMixture", BayesianGaussianMixture)


def test_some_are_run():
    assert len(RUN) >= 3
