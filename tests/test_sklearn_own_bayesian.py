"""scikit-learn's own tests of its Bayesian mixture, with the class exchanged."""

import os

import pytest
import sklearn.mixture.tests.test_bayesian_mixture as own

from gmmx_eqx.sklearn import BayesianGaussianMixture


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
_WITH_SLOW = os.environ.get("GMMX_EQX_SLOW_TESTS") == "1"

THEIRS = {name: test for name, test in vars(own).items() if name.startswith("test_")}
RUN = THEIRS.keys() - NOT_RUN.keys() - (set() if _WITH_SLOW else SLOW)
globals().update({name: THEIRS[name] for name in THEIRS if name in RUN})


@pytest.fixture(autouse=True)
def exchanged(monkeypatch):
    monkeypatch.setattr(own, "BayesianGaussianMixture", BayesianGaussianMixture)


def test_lists_are_of_their_tests():
    assert NOT_RUN.keys() | SLOW <= THEIRS.keys()
    assert len(RUN) >= 3
