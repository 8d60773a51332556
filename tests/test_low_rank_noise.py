"""Low-rank covariances whose noise is small, or would be zero."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from sklearn.decomposition import FactorAnalysis

import gmmx_eqx as gx


def fit_one(x, family, **kwargs):
    start = gx.GaussianMixture.from_labels(
        x, np.zeros(len(x), int), covariance_type=family, reg_covar=kwargs["reg_covar"]
    )
    return gx.fit(start, x, throw=False, **kwargs)


@pytest.mark.x32
@pytest.mark.parametrize("n_features", [6, 48])
def test_float32_keeps_a_noise_of_a_millionth(n_features):
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(3, n_features)) * np.array([[3], [1], [0.3]])
    x = rng.normal(size=(1000, 3)) @ factors
    x = np.float32(x + 3e-3 * rng.normal(size=x.shape))
    peer = FactorAnalysis(3, tol=1e-3, max_iter=20_000, svd_method="lapack")
    expected = peer.fit(np.float64(x)).score(np.float64(x))
    solver = gx.EM(0.0, 200)
    fit = fit_one(x, gx.LowRank(3), reg_covar=0.0, solver=solver)
    assert fit.status == "max_steps_reached"
    # A whitened residual is rounded to eps times sqrt(1e6), so a log-density to about
    # 1e-4 for each feature. By differences of elements of the scatter matrix, in which
    # the noise is rounded to a tenth of itself, it was 0.02 for six features.
    np.testing.assert_allclose(
        fit.mean_log_likelihood, expected, atol=5e-4 * n_features
    )


def heywood(n_samples=400):
    """Samples whose correlations, 0.8, 0.8 and 0.3, no single factor can have."""
    correlation = np.array([[1, 0.8, 0.8], [0.8, 1, 0.3], [0.8, 0.3, 1]])
    z = np.random.default_rng(0).normal(size=(n_samples, 3))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True))).T
    return z @ np.linalg.cholesky(correlation).T


@pytest.mark.x64
def test_the_ridge_is_the_least_noise():
    x, ridge = heywood(), 0.02
    solver = gx.EM(1e-14, 20_000)
    fit = fit_one(x, gx.LowRank(1), reg_covar=ridge, solver=solver)
    covariances = fit.mixture.covariances
    assert isinstance(covariances, gx.families.LowRankCovariances)
    np.testing.assert_allclose(np.min(covariances.noise), ridge, rtol=1e-12)
    scatter = np.cov(x.T, bias=True) + ridge * np.eye(3)

    def loss(parameters):
        factor, noise = np.split(parameters, 2)
        values = np.outer(factor, factor) + np.diag(noise)
        return np.linalg.slogdet(values)[1] + np.trace(np.linalg.solve(values, scatter))

    ours = np.concatenate(
        [covariances.factors[0, 0, :, 0], covariances.noise[0, 0, :, 0]]
    )
    bounds = [(None, None)] * 3 + [(ridge, None)] * 3
    peer = scipy.optimize.minimize(loss, np.full(6, 0.5), bounds=bounds, tol=1e-14)
    np.testing.assert_allclose(loss(ours), peer.fun, rtol=1e-9)


@pytest.mark.x64
def test_without_a_ridge_a_noise_goes_to_zero_and_says_so():
    solver = gx.EM(0.0, 3000)
    fit = fit_one(heywood(), gx.LowRank(1), reg_covar=0.0, solver=solver)
    assert fit.status in ("component_collapsed", "max_steps_reached")
    history = np.asarray(fit.log_likelihoods)[: int(fit.n_steps)]
    assert np.all(np.diff(history) > -1e-9 * np.abs(history).max())
    covariances = fit.mixture.covariances
    assert isinstance(covariances, gx.families.LowRankCovariances)
    assert np.min(covariances.noise) < 1e-3
    assert np.all(np.isfinite(fit.mixture.log_prob(heywood())))


@pytest.mark.x64
@pytest.mark.parametrize("noise", ["diag", "spherical"])
def test_independent_noise_keeps_the_family(noise):
    covariances = gx.LowRank(1, noise).create(2, 3)
    parts = gx.GaussianMixture.create(2, 3)
    mixture = gx.GaussianMixture(parts.weights, parts.means, covariances)
    dense = np.asarray(covariances.dense(3)[0])
    for added, own in (
        (0.5, type(covariances)),
        ([1, 2, 3], gx.families.LowRankCovariances),
    ):
        got = gx.convolve(mixture, jnp.asarray(added, float))
        assert type(got.covariances) is own
        expected = dense + np.broadcast_to(added, 3) * np.eye(3)
        np.testing.assert_allclose(got.covariances.dense(3)[0], expected, 1e-6, 1e-6)
