"""A mixture in distreqx, against distreqx's own distributions, SciPy and samples."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
from distreqx.bijectors import ScalarAffine
from distreqx.distributions import (
    AbstractDistribution,
    Categorical,
    MixtureSameFamily,
    MultivariateNormalTri,
    Transformed,
)

import gmmx_eqx as gx
from gmmx_eqx.interop.distreqx import MixtureDistribution

from .helpers import dense_values, every_family, leaves, make_mixture, make_values


pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.x64
@every_family
def test_agrees_with_distreqxs_own(name, dtype):
    mixture = make_mixture(name, 3, 2)
    ours = MixtureDistribution(mixture)
    assert isinstance(ours, AbstractDistribution)
    dense = dense_values(name, make_values(name, 3, 2), 3, 2)
    lower = jnp.asarray(np.linalg.cholesky(dense), dtype)
    theirs = MixtureSameFamily(
        Categorical(probs=mixture.weights[0, :, 0, 0]),
        eqx.filter_vmap(MultivariateNormalTri)(mixture.means[0, :, :, 0], lower),
    )
    rtol = 100 * float(np.finfo(dtype).eps)
    assert ours.event_shape == (2,) and ours.dtype == dtype
    x = 4 * np.random.default_rng(0).normal(size=(3, 2)).astype(dtype)

    @jax.jit
    @jax.vmap
    def densities(x):
        return ours.log_prob(x), ours.prob(x), theirs.log_prob(x)

    got, plain, expected = densities(x)
    assert got.shape == (3,) and got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol)
    np.testing.assert_allclose(plain, np.exp(got), rtol)


@pytest.mark.x64
@every_family
def test_moments(name, dtype):
    mixture = make_mixture(name, 3, 2)
    distribution = MixtureDistribution(mixture)
    weights, means = mixture.weights_numpy, mixture.means_numpy
    dense = dense_values(name, make_values(name, 3, 2), 3, 2)
    mean = weights @ means
    outer = (means - mean)[:, :, None] * (means - mean)[:, None]
    covariance = np.einsum("k,kij->ij", weights, dense + outer)
    rtol = 100 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(distribution.mean(), mean, rtol)
    np.testing.assert_allclose(distribution.covariance(), covariance, rtol)
    variances = np.diagonal(covariance)
    np.testing.assert_allclose(distribution.variance(), variances, rtol)
    np.testing.assert_allclose(distribution.stddev() ** 2, variances, rtol)


@pytest.mark.x64
def test_samples(getkey):
    mixture = make_mixture("full", 3, 2)
    distribution = MixtureDistribution(mixture)
    n_samples = 20_000
    keys = jr.split(getkey(), n_samples)
    x, log_prob = jax.jit(jax.vmap(distribution.sample_and_log_prob))(keys)
    assert x.shape == (n_samples, 2)
    np.testing.assert_allclose(log_prob, mixture.log_prob(x), 1e-12)
    error = 6 * distribution.stddev() / n_samples**0.5
    assert np.all(np.abs(x.mean(axis=0) - distribution.mean()) < error)
    np.testing.assert_array_equal(distribution.sample(keys[0]), x[0])


@pytest.mark.x64
def test_one_feature():
    mixture = make_mixture("full", 3, 1)
    distribution = MixtureDistribution(mixture)
    weights, means = mixture.weights_numpy, mixture.means_numpy[:, 0]
    widths = np.sqrt(mixture.covariances.values_numpy[:, 0, 0])
    total = lambda parts: float(np.sum(weights * parts))
    for x in np.array([[-3.0], [0.5]]):
        below = total(scipy.stats.norm.cdf(x, means, widths))
        above = total(scipy.stats.norm.sf(x, means, widths))
        np.testing.assert_allclose(distribution.cdf(x), below, 1e-12)
        np.testing.assert_allclose(distribution.survival_function(x), above, 1e-12)
        np.testing.assert_allclose(distribution.log_cdf(x), np.log(below), 1e-10)
        log_above = np.log1p(-below) if below < 0.5 else np.log(above)
        got = distribution.log_survival_function(x)
        np.testing.assert_allclose(got, log_above, 1e-10)
        np.testing.assert_allclose(distribution.icdf(distribution.cdf(x)), x, 1e-9)
    assert distribution.median().shape == (1,)
    np.testing.assert_allclose(distribution.cdf(distribution.median()), 0.5, 1e-12)


@pytest.mark.x32
def test_under_a_bijector():
    mixture = make_mixture("diag", 3, 1)
    scale, shift = jnp.float32(-2.0), jnp.float32(0.5)
    moved = Transformed(MixtureDistribution(mixture), ScalarAffine(shift, scale))
    x = jnp.float32([0.3])
    expected = gx.affine(mixture, scale, shift).log_prob(x[None])
    np.testing.assert_allclose(moved.log_prob(x), expected, 1e-5)


@pytest.mark.x32
def test_gradients():
    mixture = make_mixture("full")
    x = jnp.ones(2)
    got = jax.grad(lambda d: d.log_prob(x))(MixtureDistribution(mixture))
    expected = jax.grad(lambda mixture: mixture.log_prob(x[None])[0])(mixture)
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-5)


@pytest.mark.x32
@pytest.mark.parametrize(
    "call, hint",
    [
        (lambda d: d.entropy(), "entropy_bounds"),
        (lambda d: d.kl_divergence(d), "kl_bounds"),
        (lambda d: d.cross_entropy(d), "kl_monte_carlo"),
        (lambda d: d.mode(), "no closed form"),
        (lambda d: d.cdf(jnp.zeros(2)), "marginal"),
        (lambda d: d.median(), "marginal"),
    ],
)
def test_what_has_no_closed_form(call, hint):
    with pytest.raises(NotImplementedError, match=hint):
        call(MixtureDistribution(make_mixture("full")))


@pytest.mark.x32
def test_bad_input():
    distribution = MixtureDistribution(make_mixture("full"))
    with pytest.raises(ValueError, match=r"one point, shape \(2,\); got \(3, 2\)"):
        distribution.log_prob(jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="ensemble"):
        MixtureDistribution(gx.stack([make_mixture("full")] * 2))


@pytest.mark.x32
def test_without_distreqx(monkeypatch):
    monkeypatch.delitem(sys.modules, "gmmx_eqx.interop.distreqx")
    monkeypatch.setitem(sys.modules, "distreqx.distributions", None)
    with pytest.raises(ImportError, match=r'pip install "gmmx_eqx\[distreqx\]"'):
        import gmmx_eqx.interop.distreqx  # noqa: F401
