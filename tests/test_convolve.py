"""Known noise added to a mixture, against dense algebra, scipy and samples."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

import gmmx_eqx as gx

from . import dense
from .helpers import every_family, make_mixture, parameters


D = 3
MATRIX = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]])
NOISE = {
    "number": (0.3, 0.3 * np.eye(D)),
    "vector": (np.array([0.1, 0.0, 2.0]), np.diag([0.1, 0.0, 2.0])),
    "matrix": (MATRIX, MATRIX),
    "zero": (0.0, np.zeros((D, D))),
}
MEAN = np.array([1.0, -2.0, 0.5])


def expected_family(name, kind):
    if name in ("full", "tied"):
        return name
    tied = name.startswith("tied")
    if kind == "matrix":
        return "tied" if tied else "full"
    if kind == "vector":
        return "tied_diag" if tied else "diag"
    return name


@every_family
@pytest.mark.parametrize("kind", list(NOISE))
def test_against_dense_algebra(name, kind, dtype):
    mixture = make_mixture(name, 3, D)
    noise, matrix = NOISE[kind]
    got = gx.convolve(mixture, noise, MEAN)
    assert str(got.covariances.type) == expected_family(name, kind)
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    want = dense.convolve(parameters(mixture), matrix, MEAN)
    dense.assert_mixture(got, want, rtol)


@pytest.mark.x64
@every_family
def test_densities_and_moments(name, dtype):
    """Against scipy's densities, and samples to which noise was added."""
    mixture = make_mixture(name, 2, D)
    got = gx.convolve(mixture, MATRIX, 1.5)
    x = np.random.default_rng(0).normal(size=(20, D))
    weights, means, matrices = parameters(mixture)
    density = sum(
        w * scipy.stats.multivariate_normal.pdf(x, mean + 1.5, values + MATRIX)
        for w, mean, values in zip(weights, means, matrices, strict=True)
    )
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(np.exp(got.log_prob(x)), density, rtol)

    n = 100_000
    noise = np.random.default_rng(1).multivariate_normal([1.5] * D, MATRIX, n)
    noisy = np.asarray(mixture.sample(jr.key(0), n), np.float64) + noise
    # Five standard errors, of normals of the same covariance or wider tails.
    error = 5 * noisy.std(axis=0) / n**0.5
    assert np.all(np.abs(noisy.mean(axis=0) - np.asarray(gx.mean(got))) < error)
    squares = np.cov(noisy.T) - np.asarray(gx.covariance(got), np.float64)
    scale = noisy.std(axis=0)
    assert np.all(np.abs(squares) < 10 / n**0.5 * scale[:, None] * scale)


@pytest.mark.x64
@every_family
def test_twice_is_the_sum(name, dtype):
    mixture = make_mixture(name, 3, D)
    twice = gx.convolve(gx.convolve(mixture, 0.3, 1.0), 0.4, MEAN)
    once = gx.convolve(mixture, 0.7, MEAN + 1)
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    dense.assert_mixture(twice, parameters(once), rtol)


@pytest.mark.x64
def test_the_evidence_of_an_observation_is_a_convolution():
    mixture = make_mixture("full", 3, D)
    y = np.array([0.5, -1.0, 2.0])
    _, log_evidence = gx.observe(mixture, 1.0, MATRIX, y)
    log_prob = gx.convolve(mixture, MATRIX).log_prob(y[None])[0]
    np.testing.assert_allclose(log_evidence, log_prob, rtol=1e-5)


@pytest.mark.x64
@every_family
def test_one_feature_and_one_component(name):
    mixture = make_mixture(name, 1, 1)
    for noise in (0.5, [0.5], [[0.5]]):
        got = gx.convolve(mixture, noise, [2.0])
        np.testing.assert_allclose(
            parameters(got)[2], parameters(mixture)[2] + 0.5, rtol=1e-6
        )
        assert got.covariances.type == mixture.covariances.type


@every_family
@pytest.mark.x64
def test_derivatives(name):
    mixture = make_mixture(name, 2, D)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, D)))

    def value(noise, shift):
        if noise.ndim == 2:  # finite differences are not symmetric
            noise = (noise + noise.T) / 2
        return gx.convolve(mixture, noise, shift).score(x)

    for noise in (0.3, np.array([0.1, 0.4, 2.0]), MATRIX):
        noise = jnp.asarray(noise)
        check_grads(value, (noise, jnp.asarray(MEAN)), 2, ["fwd", "rev"])
    # Also through the mixture.
    grads = eqx.filter_grad(lambda m: gx.convolve(m, 0.3).score(x))(mixture)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(grads))


@pytest.mark.x64
@every_family
def test_transforms(name):
    mixture = make_mixture(name, 2, D)
    got = eqx.filter_jit(gx.convolve)(mixture, jnp.asarray(0.3), jnp.asarray(MEAN))
    dense.assert_mixture(got, parameters(gx.convolve(mixture, 0.3, MEAN)), 1e-6)
    noises = jnp.linspace(0.1, 1.0, 4)
    many = jax.vmap(lambda noise: gx.convolve(mixture, noise))(noises)
    for one, noise in zip(many, noises, strict=True):
        dense.assert_mixture(one, parameters(gx.convolve(mixture, noise)), 1e-6)


@pytest.mark.x64
def test_nothing_is_narrowed_or_widened():
    mixture = make_mixture("diag", 2, D, dtype=np.float32)
    assert gx.convolve(mixture, 0.1, 1.0).means.dtype == np.float32
    if jax.config.read("jax_enable_x64"):
        wide = gx.convolve(mixture, np.full(D, 0.1))
        assert wide.means.dtype == wide.covariances.values.dtype == np.float64


@dataclasses.dataclass
class Case:
    noise: object = 0.1
    mean: object = 0.0
    words: str = ""


@pytest.mark.x32
@pytest.mark.parametrize(
    "case",
    [
        Case(noise=-0.1, words="`noise` must be a covariance"),
        Case(noise=[[1.0, 0.0, 0.0]] * 3, words="`noise` must be symmetric"),
        Case(noise=[0.1, 0.2], words=r"`noise` must be a covariance of shape \(3, 3\)"),
        Case(noise=np.nan, words="`noise` must be finite"),
        Case(mean=[1.0, 2.0], words=r"`mean` must have shape \(3,\)"),
        Case(mean=np.inf, words="`mean` must be finite"),
    ],
    ids=lambda case: case.words,
)
def test_what_cannot_be_right(case):
    with pytest.raises(ValueError, match=case.words):
        gx.convolve(make_mixture("full", 2, D), case.noise, case.mean)


@pytest.mark.x32
def test_what_is_no_mixture():
    ensemble = gx.stack([make_mixture("full", 2, D)] * 2)
    with pytest.raises(ValueError, match="`mixture` must be one mixture"):
        gx.convolve(ensemble, 0.1)
