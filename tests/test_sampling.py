"""Samples: their labels, and their derivatives against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._covariances import matrices

from .helpers import every_family, leaves, make_mixture, parameters
from .test_line import with_weights


@pytest.mark.x64
@every_family
def test_labels_and_samples_belong_together(name, getkey):
    mixture = make_mixture(name, 4, 3)
    key = getkey()
    x, labels = mixture.sample_labelled(key, 30_000)
    np.testing.assert_array_equal(x, mixture.sample(key, 30_000))
    weights, means, dense = parameters(mixture)
    for k, (weight, mean, matrix) in enumerate(zip(weights, means, dense, strict=True)):
        of_component = np.asarray(x, np.float64)[np.asarray(labels) == k]
        n = len(of_component)
        assert abs(n - 30_000 * weight) < 5 * (30_000 * weight) ** 0.5
        whitened = np.linalg.solve(np.linalg.cholesky(matrix), (of_component - mean).T)
        # Standard normal, within five standard errors.
        np.testing.assert_allclose(whitened.mean(1), 0, atol=5 / n**0.5)
        np.testing.assert_allclose(np.cov(whitened), np.eye(3), atol=8 / n**0.5)


@pytest.mark.x64
def test_chunks_do_not_matter(getkey, monkeypatch):
    values = make_mixture("full", 4, 3).covariances.values
    factors = jnp.linalg.cholesky(values)
    noise = jr.normal(getkey(), (1000, 1, 3, 1))
    labels = jr.randint(getkey(), (1000, 1, 1, 1), 0, 4)
    whole = matrices._colour_by_label(factors, noise, labels)
    monkeypatch.setattr(matrices, "_CHUNK_BYTES", 1)
    fn = lambda factors: matrices._colour_by_label(factors, noise, labels)
    chunked, vjp = jax.vjp(fn, factors)
    np.testing.assert_allclose(chunked, whole, 1e-5, 1e-6)
    lower = np.linalg.cholesky(np.float64(values[0]))
    expected = lower[labels[:, 0, 0, 0]] @ np.float64(noise[:, 0])
    np.testing.assert_allclose(chunked[:, 0], expected, 1e-4, 1e-5)
    assert np.isfinite(vjp(chunked)[0]).all()


@pytest.mark.x32
def test_no_sample_has_a_matrix_of_its_own():
    """What a program of 100 000 samples holds is a few times the samples."""
    mixture = make_mixture("full", 16, 32)
    fn = jax.jit(lambda mixture, key: mixture.sample(key, 100_000))
    analysis = fn.lower(mixture, jr.key(0)).compile().memory_analysis()
    samples = 100_000 * 32 * mixture.means.dtype.itemsize
    assert analysis.temp_size_in_bytes < 6 * samples


@pytest.mark.x32
@every_family
@pytest.mark.parametrize("weights", [(0.3, 0.0, 0.7), (0.0, 1.0, 0.0)])
def test_what_has_no_weight_is_not_drawn(name, weights, getkey):
    mixture = with_weights(make_mixture(name, 3, 2), weights)
    _, labels = mixture.sample_labelled(getkey(), 20_000)
    assert set(np.unique(labels)) == set(np.flatnonzero(weights))


@pytest.mark.x32
def test_no_rounding_draws_what_has_no_weight(getkey):
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(1000) < 0.5, 0, rng.random(1000))
    mixture = make_mixture("spherical", 1000, 1)
    mixture = with_weights(mixture, weights / weights.sum())
    _, labels = mixture.sample_labelled(getkey(), 200_000)
    assert np.all(weights[np.asarray(labels)] > 0)


def quadratic(x):
    matrix = jnp.asarray([[1.0, 0.5], [0.0, 2.0]], x.dtype)
    return jnp.sum(x * (x @ matrix), axis=1) + x @ jnp.array([1.0, -2.0], x.dtype)


def expected_quadratic(mixture):
    """E[x' A x + b' x], in closed form."""
    matrix = jnp.array([[1.0, 0.5], [0.0, 2.0]])[None, None]
    values = mixture.covariances.dense(mixture.n_features)
    if values.shape[-1] == 1:
        values = values * jnp.eye(2)[None, None]
    mean = mixture.means
    trace = jnp.sum(values * matrix, axis=(-2, -1), keepdims=True)
    square = jnp.sum(mean * (matrix @ mean), axis=-2, keepdims=True)
    linear = jnp.sum(
        mean * jnp.array([1.0, -2.0])[None, None, :, None], -2, keepdims=True
    )
    return jnp.sum(mixture.weights * (trace + square + linear))


@pytest.mark.x64
@every_family
def test_derivatives_of_a_mean(name, getkey):
    """In means and covariances, within their standard errors."""
    mixture = make_mixture(name, 2, 2)
    grad = eqx.filter_grad(lambda m, key: jnp.mean(quadratic(m.sample(key, 500))))
    lanes = eqx.filter_jit(eqx.filter_vmap(grad, in_axes=(None, 0)))(
        mixture, jr.split(getkey(), 400)
    )
    expected = eqx.filter_grad(expected_quadratic)(mixture)
    assert np.all(np.asarray(lanes.weights) == 0)
    for part in (lambda m: m.means, lambda m: m.covariances.values):
        got, want = np.asarray(part(lanes)), np.asarray(part(expected))
        if got.shape[-1] > 1:
            # What is not symmetric in the derivative has no meaning.
            got, want = (x + np.swapaxes(x, -1, -2) for x in (got, want))
        error = np.std(got, axis=0) / 20
        assert np.all(np.abs(np.mean(got, axis=0) - want) < 4.5 * error)


@pytest.mark.x64
@every_family
def test_every_sample_moves_with_its_component(name, getkey):
    mixture, key = make_mixture(name, 3, 2), getkey()
    x, labels = mixture.sample_labelled(key, 50)
    lower = np.linalg.cholesky(parameters(mixture)[2])[labels]
    noise = np.linalg.solve(
        lower, x[..., None] - mixture.means_numpy[labels][..., None]
    )
    # Scaled by 1 + t, a component's samples go out by t / 2 of their distance.
    grow = jax.tree.map(jnp.zeros_like, mixture)
    grow = eqx.tree_at(
        lambda m: (m.means, m.covariances.values),
        grow,
        (jnp.ones_like(mixture.means), mixture.covariances.values),
    )
    _, tangent = jax.jvp(lambda m: m.sample(key, 50), (mixture,), (grow,))
    np.testing.assert_allclose(tangent, 1 + 0.5 * (lower @ noise)[..., 0], 1e-9)


@pytest.mark.x64
def test_implicit_derivatives(getkey):
    """Of E[x^2] in the weights, the means and the variances of one feature."""
    mixture = make_mixture("full", 3, 1)
    key = getkey()
    np.testing.assert_array_equal(
        gx.sample_implicit(mixture, key, 50), mixture.sample(key, 50)
    )
    grad = eqx.filter_grad(
        lambda m, key: jnp.mean(gx.sample_implicit(m, key, 2000) ** 2)
    )
    lanes = eqx.filter_jit(eqx.filter_vmap(grad, in_axes=(None, 0)))(
        mixture, jr.split(key, 400)
    )

    def truth(mixture):
        weights = mixture.weights / jnp.sum(mixture.weights)
        return jnp.sum(weights * (mixture.means**2 + mixture.covariances.values))

    expected = eqx.filter_grad(truth)(mixture)
    for got, want in zip(leaves(lanes), leaves(expected), strict=True):
        error = np.std(got, axis=0) / 20
        assert np.all(np.abs(np.mean(got, axis=0) - want) < 4.5 * error)
        assert np.all(error < 0.1 * np.max(np.abs(want)))


@pytest.mark.x32
def test_implicit_derivatives_are_finite(getkey):
    """Of modes far apart, and of what has no weight."""
    mixture = with_weights(make_mixture("full", 3, 1), (0.5, 0.0, 0.5))
    mixture = eqx.tree_at(lambda m: m.means, mixture, 1e3 * mixture.means)
    fn = lambda m: jnp.mean(jnp.tanh(gx.sample_implicit(m, getkey(), 1000)))
    assert all(np.isfinite(leaf).all() for leaf in leaves(jax.grad(fn)(mixture)))


@pytest.mark.x64
@every_family
def test_relaxed_samples(name, getkey):
    mixture = with_weights(make_mixture(name, 3, 2), (0.3, 0.0, 0.7))
    far = eqx.tree_at(lambda m: m.means, mixture, mixture.means.at[0, 1].set(1e6))
    cold = gx.sample_relaxed(far, getkey(), 20_000, 1e-3)
    error = np.std(cold, axis=0) / 20_000**0.5
    weights, means, dense = parameters(mixture)
    assert np.all(np.abs(np.mean(cold, axis=0) - weights @ means) < 5 * error)
    square = weights @ (means**2 + np.diagonal(dense, axis1=1, axis2=2))
    error = np.std(cold**2, axis=0) / 20_000**0.5
    assert np.all(np.abs(np.mean(cold**2, axis=0) - square) < 5 * error)
    # At a high temperature every component has the same share.
    hot = np.asarray(gx.sample_relaxed(mixture, getkey(), 2000, 1e6))
    present = means[weights > 0]
    assert np.all(np.abs(hot.mean(0) - present.mean(0)) < 5 * hot.std(0) / 2000**0.5)


@pytest.mark.x64
@pytest.mark.parametrize("name", ["tied", "spherical"])
def test_derivatives_of_relaxed_samples(name, getkey):
    mixture, key = make_mixture(name, 3, 2), getkey()
    fn = jax.jit(lambda m: jnp.sum(jnp.sin(gx.sample_relaxed(m, key, 20, 0.5))))
    gradient = jax.jit(jax.grad(fn))(mixture)
    for part in (lambda m: m.weights, lambda m: m.means):
        direction = jnp.asarray(
            np.random.default_rng(0).normal(size=part(mixture).shape)
        )
        move = lambda by, part=part, d=direction: eqx.tree_at(
            part, mixture, part(mixture) + by * d
        )
        slope = (fn(move(1e-6)) - fn(move(-1e-6))) / 2e-6
        np.testing.assert_allclose(jnp.sum(part(gradient) * direction), slope, 1e-6)


@pytest.mark.x32
def test_bad_input(getkey):
    mixture = make_mixture("full", 2, 2)
    for temperature in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="`temperature`"):
            gx.sample_relaxed(mixture, getkey(), 10, temperature)
    with pytest.raises(ValueError, match="must have one feature"):
        gx.sample_implicit(mixture, getkey(), 10)
    with pytest.raises(ValueError, match="`n_samples`"):
        mixture.sample_labelled(getkey(), 0)
