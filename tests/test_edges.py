"""Edges at which operations once gave a wrong number, a NaN or another program."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, make_mixture


def line(means, variances, weights):
    covariances = jnp.asarray(variances, float).reshape(-1, 1, 1)
    means = jnp.asarray(means, float).reshape(-1, 1)
    return gx.GaussianMixture.from_squeezed(means, covariances, weights)


@pytest.mark.x32
@every_family
def test_attributes_are_compiled_once(name):
    """They are read outside of compiled functions, where a loop is a new program."""
    mixture = make_mixture(name, 3, 2)

    def read():
        model = gx.UnconstrainedMixture.from_mixture(mixture)
        return model.means, model.covariances.precisions_cholesky, model.n_components

    read()
    compiled = []
    listen = lambda event, *_, **__: compiled.append(event)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        read()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in compiled if "compile" in event]


@pytest.mark.parametrize("variance", [1e-12, 1e-6, 0.3, 1.0, 2.0, 1e6])
def test_divergence_from_a_very_narrow_component(variance, dtype):
    p, q = (
        gx.GaussianMixture.from_squeezed(np.zeros((1, 1)), [[v]], [1.0], "diag")
        for v in (variance, 1.0)
    )
    expected = 0.5 * (variance - 1 - np.log(variance))
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        gx.divergences.kl_pairwise(p, q)[0, 0], expected, tolerance, atol=tolerance
    )


@pytest.mark.x32
def test_probabilities_where_every_density_underflows():
    mixture = line([0, 1], [1e-8, 1e-8], [0.5, 0.5])
    assert np.all(np.isfinite(mixture.predict_proba([[1e16]])))


@pytest.mark.x32
def test_probability_of_a_component_without_weight():
    def second(weight):
        weights = jnp.stack([1 - weight, weight])
        return line([0, 1], [1, 1], weights).predict_proba([[0.3]])[0, 1]

    ratio = np.exp(-0.5 * 0.7**2 + 0.5 * 0.3**2)
    np.testing.assert_allclose(jax.grad(second)(0.0), ratio, rtol=1e-5)


@pytest.mark.x32
def test_score_in_the_weight_of_a_sample_without_weight():
    mixture = line([0, 1], [1, 2], [0.5, 0.5])
    x = np.array([[0.5], [1.0], [2.5]])
    weight = jnp.array([0.0, 1.0, 1.0])
    log_prob = mixture.log_prob(x)
    expected = (log_prob - np.mean(log_prob[1:])) / 2
    got = jax.grad(lambda weight: mixture.score(x, weight))(weight)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    missing = x.copy()
    missing[0] = np.nan
    got = jax.jit(jax.grad(lambda weight: mixture.score(missing, weight)))(weight)
    np.testing.assert_allclose(got[1:], expected[1:], rtol=1e-5)


@pytest.mark.x32
def test_temperature_with_a_component_without_weight():
    mixture = line([0, 1], [1, 1], [1.0, 0.0])
    total = lambda t: jnp.sum(gx.sample_relaxed(mixture, jr.key(0), 4, t))
    assert np.isfinite(jax.grad(total)(0.5))


@pytest.mark.x32
def test_an_ensemble_of_unconstrained_mixtures_says_so():
    model = gx.UnconstrainedMixture.from_mixture(make_mixture("full", 2, 2))
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), model)
    assert (len(lanes), lanes.n_components, lanes.n_features) == (2, 2, 2)
    for name in ("weights", "means", "covariances", "mixture"):
        with pytest.raises(ValueError, match="filter_vmap"):
            getattr(lanes, name)
    mixtures = eqx.filter_vmap(lambda model: model.mixture)(lanes)
    np.testing.assert_allclose(mixtures.means[1], model.means, rtol=1e-6)


@pytest.mark.x32
def test_derivatives_of_a_fit_are_linear_in_the_loss():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(60, 1)) + 4 * (rng.random((60, 1)) < 0.5), float)
    start = line([0, 4], [1, 1], [0.5, 0.5])
    fit = lambda x: jnp.sum(gx.fit(start, x, solver=gx.EM(tol=1e-7)).mixture.means)
    _, back = jax.vjp(fit, x)
    unit = back(jnp.ones(()))[0]
    for scale in (1e-20, 1e18):
        np.testing.assert_allclose(back(jnp.full((), scale))[0] / scale, unit, 1e-3)


@pytest.mark.x32
def test_no_component_is_lost_where_costs_overflow():
    mixture = line([0, 1e20, 2e20, 3e20], [1] * 4, [0.25] * 4)
    np.testing.assert_allclose(gx.reduce(mixture, 2).weights_numpy.sum(), 1)
