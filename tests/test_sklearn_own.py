"""scikit-learn's own tests of its mixture, with the class exchanged."""

import numpy as np
import pytest
import sklearn.mixture.tests.test_gaussian_mixture as own

from gmmx_eqx.sklearn import GaussianMixture

from .conftest import X64
from .sklearn_checks import own_tests


pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::DeprecationWarning"
)

_PRIVATE = "tests private functions of scikit-learn, not the estimator"
_ARRAY_API = "of arrays of other libraries, which are made NumPy arrays here"

# Why these are not run.
NOT_RUN = {
    "test_suffstat_sk_full": _PRIVATE,
    "test_suffstat_sk_tied": _PRIVATE,
    "test_suffstat_sk_diag": _PRIVATE,
    "test_gaussian_suffstat_sk_spherical": _PRIVATE,
    "test_compute_log_det_cholesky": _PRIVATE,
    "test_gaussian_mixture_log_probabilities": _PRIVATE,
    "test_gaussian_mixture_precisions_init": _PRIVATE,
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts the calls of a private function"
    ),
    "test_gaussian_mixture_array_api_compliance": _ARRAY_API,
    "test_gaussian_mixture_raises_where_array_api_not_implemented": _ARRAY_API,
    "test_check_weights": "wants a message in which minimum and maximum are exchanged",
    "test_gaussian_mixture_setting_best_params": (
        "wants a component of one sample kept, with a variance that is rounding error "
        "(4e-16); here that is a ValueError"
    ),
    "test_gaussian_mixture_precisions_init_diag": (
        "gives precisions in the order in which scikit-learn's k-means finds clusters"
    ),
}

# Each compiles many programs: run with GMMX_EQX_SLOW_TESTS=1.
SLOW = {
    "test_bic_1d_1component",
    "test_check_means",
    "test_check_precisions",
    "test_fitted_precision_covariance_concistency",
    "test_gaussian_mixture_attributes",
    "test_gaussian_mixture_aic_bic",
    "test_gaussian_mixture_estimate_log_prob_resp",
    "test_gaussian_mixture_fit",
    "test_gaussian_mixture_fit_best_params",
    "test_gaussian_mixture_fit_convergence_warning",
    "test_gaussian_mixture_fit_predict",
    "test_gaussian_mixture_fit_predict_n_init",
    "test_gaussian_mixture_n_parameters",
    "test_gaussian_mixture_predict_predict_proba",
    "test_gaussian_mixture_verbose",
    "test_init",
    "test_monotonic_likelihood",
    "test_multiple_init",
    "test_regularisation",
    "test_sample",
    "test_warm_start",
}

RUN = own_tests(own, NOT_RUN, SLOW)
globals().update(RUN)


@pytest.fixture(autouse=True)
def exchanged(monkeypatch):
    monkeypatch.setattr(own, "GaussianMixture", GaussianMixture)


# Their fixtures. JAX's mode must not matter, so each world has the type of the other.
@pytest.fixture
def global_dtype():
    return np.float32 if X64 else np.float64


@pytest.fixture
def global_random_seed():
    return 42


def test_some_are_run():
    assert len(RUN) >= 7
