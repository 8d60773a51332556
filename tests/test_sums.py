"""Sums over many samples: as accurate as those over few."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core.sums import Total
from gmmx_eqx._covariances import covariance_class, moments_about

from .helpers import (
    every_family,
    squeezed_values,
)


CORRELATION = 0.9999


def correlated(n_samples, n_features=4, seed=0):
    """Features that differ by a hundredth of their width, as float32 values."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_samples, n_features)) * (1 - CORRELATION) ** 0.5
    x = noise + rng.normal(size=(n_samples, 1)) * CORRELATION**0.5
    return np.float32(x / x.std(axis=0))


def smallest_eigenvalue(values):
    return np.linalg.eigvalsh(np.asarray(values, float))[0]


@pytest.mark.x32
@pytest.mark.parametrize("n_samples", [500, 8192, 20_000])
@pytest.mark.parametrize("name", ["full", "tied"])
def test_narrow_directions_are_as_float32_can_hold_them(name, n_samples):
    # Two units in the last place of each element, in units of the eigenvalue.
    rtol = 2 * np.finfo(np.float32).eps / (1 - CORRELATION)
    for seed in range(3):
        x = correlated(n_samples, seed=seed)
        start = gx.GaussianMixture.create(1, 4, covariance_type=name)
        start = jax.tree.map(lambda leaf: leaf.astype(np.float32), start)
        solution = gx.fit(
            start,
            x,
            reg_covar=0.0,
            solver=gx.EM(tol=0.0, max_steps=3),
            throw=False,
        )
        values = solution.mixture.covariances.values[0, 0]
        assert values.dtype == np.float32
        expected = smallest_eigenvalue(np.cov(x.T.astype(float), bias=True))
        np.testing.assert_allclose(smallest_eigenvalue(values), expected, rtol)


@every_family
def test_parts_are_no_other_moments(name, dtype):
    """Whatever the number of samples is divisible by, and for few features and many."""
    family = covariance_class(name)
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    for n_samples, n_features, n_pivots in ((300, 3, 2), (1000, 3, 1), (700, 70, 2)):
        x = rng.normal(size=(n_samples, n_features)).astype(dtype)
        resp = rng.uniform(size=(2, n_samples)).astype(dtype)
        pivot = rng.normal(size=(1, n_pivots, n_features, 1)).astype(dtype)
        columns = jnp.asarray(x.T)
        template = family.create(2, n_features)
        got = moments_about(template, columns, jnp.asarray(pivot), jnp.asarray(resp))
        residuals = jnp.asarray(x[:, None, :, None] - pivot)
        whole = template.moments(residuals, jnp.asarray(resp.T[:, :, None, None]))
        scale = n_samples * np.sum(np.mean(residuals**2, axis=(0, 1)))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(whole), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e2 * eps, atol=1e2 * eps * scale)


def test_a_long_sum_is_right_to_the_last_digit(dtype):
    terms = np.random.default_rng(0).uniform(size=100_000).astype(dtype)
    shape = jax.ShapeDtypeStruct((), dtype)

    def total(terms):
        zero = Total.zero(shape, n_terms=terms.size)
        out, _ = jax.lax.scan(lambda c, x: (c.add(x), None), zero, terms)
        return out.result

    got = jax.jit(total)(jnp.asarray(terms))
    expected = np.sum(terms.astype(np.longdouble))
    np.testing.assert_allclose(got, float(expected), rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(jax.grad(total)(jnp.asarray(terms)), 1)
    _, tangent = jax.jvp(total, (jnp.asarray(terms),), (jnp.ones_like(terms),))
    assert tangent == terms.size


@pytest.mark.x32
@every_family
def test_counts_of_many_chunks_are_right(name):
    """A number of samples that float32 only just holds, in chunks that leave nothing of
    it to the rounding of each sum."""
    n_samples, weight = 60_000, 211.3
    x = np.random.default_rng(0).normal(size=(n_samples, 1)).astype(np.float32)
    start = gx.GaussianMixture.from_squeezed(
        np.float32([[-3], [3]]),
        np.float32(squeezed_values(name, np.ones((2, 1, 1)))),
        np.float32([0.5, 0.5]),
        covariance_type=name,
    )
    weights = np.full(n_samples, weight, np.float32)
    solution = gx.fit(
        start,
        x,
        sample_weight=weights,
        solver=gx.EM(tol=0.0, max_steps=1),
        samples_per_chunk=64,
        throw=False,
    )
    joint = -0.5 * (x.astype(float) - [-3, 3]) ** 2
    density = np.log(np.sum(np.exp(joint), axis=1)) - np.log(2)
    value = np.sum(weights * (density - 0.5 * np.log(2 * np.pi)))
    got = solution.log_likelihoods[0]
    # A unit in the last place of the sum, and the mean of those of its terms.
    np.testing.assert_allclose(got, value, rtol=3 * np.finfo(np.float32).eps)
