"""The regressor beside linear regression and conditional densities in NumPy."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.linear_model import LinearRegression

import gmmx_eqx as gx
from gmmx_eqx.sklearn import MixtureRegressor

from .helpers import make_data
from .sklearn_checks import checks_of


DATA = make_data(300, 4)
X, Y = DATA[:, :2], DATA[:, 2:]


@pytest.mark.parametrize(("estimator", "check"), list(checks_of(MixtureRegressor())))
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.x32
def test_one_component_is_linear_regression():
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    ours = MixtureRegressor(reg_covar=0.0).fit(X, Y, sample_weight=weight)
    theirs = LinearRegression().fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8, atol=1e-9)
    assert np.isclose(ours.score(X, Y), theirs.score(X, Y), rtol=1e-9)
    # The covariance of what is left, the most likely one.
    _, covariances = ours.predict(X[:5], return_cov=True)
    left = Y - theirs.predict(X)
    expected = np.einsum("n,ni,nj->ij", weight / weight.sum(), left, left)
    np.testing.assert_allclose(covariances, np.broadcast_to(expected, (5, 2, 2)), 1e-8)
    _, deviations = ours.predict(X[:5], return_std=True)
    expected = np.broadcast_to(np.sqrt(np.diag(expected)), (5, 2))
    np.testing.assert_allclose(deviations, expected, 1e-8)


@pytest.mark.x32
def test_mean_and_covariance_are_those_of_the_conditional_density():
    regressor = MixtureRegressor(3, random_state=0).fit(X, Y)
    mixture = regressor.mixture_
    w, mu = np.float64(mixture.weights_numpy), np.float64(mixture.means_numpy)
    sigma = np.float64(mixture.covariances.values_numpy)
    logs = [
        np.log(w[k]) + multivariate_normal.logpdf(X, mu[k, :2], sigma[k, :2, :2])
        for k in range(3)
    ]
    share = softmax(np.stack(logs, 1), axis=1)
    gain = [np.linalg.solve(sigma[k, :2, :2], sigma[k, :2, 2:]) for k in range(3)]
    means = np.stack([mu[k, 2:] + (X - mu[k, :2]) @ gain[k] for k in range(3)], 1)
    within = np.stack([sigma[k, 2:, 2:] - sigma[k, 2:, :2] @ gain[k] for k in range(3)])
    mean = np.einsum("nk,nki->ni", share, means)
    gap = means - mean[:, None]
    covariance = np.einsum("nk,kij->nij", share, within)
    covariance = covariance + np.einsum("nk,nki,nkj->nij", share, gap, gap)
    got, covariances = regressor.predict(X, return_cov=True)
    np.testing.assert_allclose(got, mean, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(covariances, covariance, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(regressor.predict(X), mean, rtol=1e-8, atol=1e-8)
    assert got.dtype == np.float64


@pytest.mark.x32
def test_the_shape_of_targets_is_that_of_the_fit():
    one = MixtureRegressor(2, random_state=0).fit(np.float32(X), np.float32(Y[:, 0]))
    mean, deviation = one.predict(np.float32(X[:7]), return_std=True)
    assert mean.shape == deviation.shape == (7,) and mean.dtype == np.float32
    assert one.predict(np.float32(X[:7]), return_cov=True)[1].shape == (7, 1, 1)
    with pytest.raises(ValueError, match="Only one of `return_std` and `return_cov`"):
        one.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="`n_components` must be at least 1"):
        MixtureRegressor(0).fit(X, Y)
    # All of the conditional density is there.
    targets = gx.condition(one.mixture_, [0, 1], np.float32(X[0]))
    np.testing.assert_allclose(gx.mean(targets)[0], mean[0], rtol=1e-4)
