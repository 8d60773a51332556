"""A log-density for samplers: BlackJAX's chains against moments in closed form."""

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx.interop import log_density

from .helpers import every_family, make_mixture


def overlapping():
    """A mixture that a chain soon has seen all of."""
    mixture = make_mixture("full", 3, 2)
    return eqx.tree_at(lambda m: m.means, mixture, 0.3 * mixture.means)


@pytest.mark.x64
@every_family
def test_density_of_a_point(name, dtype):
    mixture = make_mixture(name, 3, 2)
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(dtype)
    likelihood = lambda point: jnp.sum(point)
    plain = jax.value_and_grad(log_density(mixture))
    both = lambda x: (plain(x), log_density(mixture, likelihood)(x))
    (got, slope), posterior = jax.jit(jax.vmap(both))(x)
    rtol = 10 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(got, mixture.log_prob(x), rtol)
    np.testing.assert_allclose(posterior, got + x.sum(axis=1), rtol)
    np.testing.assert_allclose(slope, gx.score_function(mixture, x), 100 * rtol)


def run(sampler, start, key, n_steps):
    def step(state, key):
        state, _ = sampler.step(key, state)
        return state, state.position

    walk = jax.jit(lambda state, keys: jax.lax.scan(step, state, keys)[1])
    return np.asarray(walk(sampler.init(start), jr.split(key, n_steps)), np.float64)


def check_moments(chains, exact):
    """The mean and covariance within five standard errors, from effective samples."""
    mean, covariance = np.asarray(gx.mean(exact)), np.asarray(gx.covariance(exact))
    centred = chains - mean
    moments = [centred, centred**2, centred[..., :1] * centred[..., 1:]]
    moments = np.concatenate(moments, axis=-1)
    expected = [0, 0, *np.diagonal(covariance), covariance[0, 1]]
    n_effective = np.asarray(jax.jit(blackjax.ess)(moments))
    flat = moments.reshape(-1, len(expected))
    error = flat.std(axis=0) / np.sqrt(n_effective)
    assert np.all(error < 0.2 * np.trace(covariance))
    assert np.all(np.abs(flat.mean(axis=0) - expected) < 5 * error)


@pytest.mark.x64
@pytest.mark.usefixtures("standard_promotion")
def test_nuts(getkey):
    mixture = overlapping()
    sampler = blackjax.nuts(
        log_density(mixture), step_size=0.6, inverse_mass_matrix=jnp.ones(2)
    )
    chain = run(sampler, gx.mean(mixture), getkey(), 2000)
    check_moments(chain[None], mixture)


@pytest.mark.x32
@pytest.mark.usefixtures("standard_promotion")
def test_posterior_by_mala(getkey):
    prior = overlapping()
    matrix, noise, y = jnp.array([[1.0, -0.5]]), 0.5, jnp.array([0.7])
    likelihood = lambda x: -0.5 * jnp.sum((y - matrix @ x) ** 2) / noise
    exact, _ = gx.observe(prior, matrix, noise, y)
    sampler = blackjax.mala(log_density(prior, likelihood), step_size=0.4)
    chain = run(sampler, gx.mean(exact), getkey(), 4000)
    check_moments(chain[None], exact)


@pytest.mark.x32
def test_bad_input():
    fn = log_density(make_mixture("full"))
    for shape in ((3,), (1, 2), ()):
        with pytest.raises(ValueError, match=r"`x` must be one point, shape \(2,\)"):
            fn(np.ones(shape))
    with pytest.raises(ValueError, match="ensemble"):
        log_density(gx.stack([make_mixture("full")] * 2))
    with pytest.raises(ValueError, match=r"Expected shape \(\), got \(2,\)"):
        log_density(make_mixture("full"), lambda x: x)(np.ones(2))
