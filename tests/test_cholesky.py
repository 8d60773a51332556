"""The inverse Cholesky factor against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import cholesky as module
from gmmx_eqx._core.cholesky import inverse_cholesky


# The last is taken by blocks, and no multiple of their size.
SIZES = [1, 2, 7, 16, 33, 130]


def make(shape, dtype, seed=0):
    """Positive definite matrices with a condition number of about 1e4."""
    rng = np.random.default_rng(seed)
    *batch, d = shape
    q, _ = np.linalg.qr(rng.normal(size=(*batch, d, d)))
    values = (q * np.geomspace(1, 1e-4, d)) @ np.swapaxes(q, -1, -2)
    return np.asarray((values + np.swapaxes(values, -1, -2)) / 2, dtype)


def exact(values):
    lower = np.linalg.cholesky(np.float64(values))
    return np.swapaxes(np.linalg.inv(lower), -1, -2)


@pytest.mark.parametrize("d", SIZES)
# More matrices than rows, and fewer.
@pytest.mark.parametrize("batch", [(), (1, 4), (20,)])
def test_it_is_the_inverse_factor(d, batch, dtype):
    values = make((*batch, d), dtype)
    u = np.asarray(inverse_cholesky(jnp.asarray(values)))
    assert u.dtype == dtype
    np.testing.assert_array_equal(u, np.triu(u))
    expected = exact(values)
    error = np.linalg.norm(u - expected, axis=(-1, -2))
    scale = np.linalg.norm(expected, axis=(-1, -2))
    assert np.all(error < 1e4 * np.finfo(dtype).eps * scale)
    # As good as LAPACK's: |U' S U - 1| is a few roundings, whatever the condition.
    unit = np.swapaxes(u, -1, -2).astype(float) @ values.astype(float) @ u.astype(float)
    assert np.all(np.abs(unit - np.eye(d)) < 1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_units_do_not_matter(scale, dtype):
    values = make((2, 10), dtype)
    u = inverse_cholesky(jnp.asarray(values * dtype(scale)))
    expected = exact(values) / scale**0.5
    rtol = 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(u, expected, rtol, rtol * np.abs(expected).max())


@pytest.mark.parametrize("d", [1, 3, 20, 130])
def test_nan_where_not_positive_definite(d):
    good = np.eye(d)
    zero, negative = good.copy(), good.copy()
    zero[-1, -1], negative[d // 2, d // 2] = 0, -1
    nan = np.full((d, d), np.nan)
    u = inverse_cholesky(jnp.asarray(np.stack([good, zero, negative, nan]), float))
    np.testing.assert_array_equal(u[0], good)
    assert np.all(np.isnan(u[1:]).any(axis=(1, 2)))
    assert np.all(np.isnan(np.diagonal(u[1:], axis1=1, axis2=2)))


@pytest.mark.parametrize("d", [3, 12])
def test_lanes_are_more_matrices(d, dtype):
    values = jnp.asarray(make((2, 3, d), dtype))
    expected = jnp.stack([inverse_cholesky(lane) for lane in values])
    got = jax.vmap(inverse_cholesky)(values)
    np.testing.assert_allclose(got, expected, 1e2 * np.finfo(dtype).eps)


@pytest.mark.x64
@pytest.mark.parametrize("d", [1, 4, 11])
def test_derivatives(d):
    values, direction = (jnp.asarray(make((d,), float, seed)) for seed in (0, 1))
    total = lambda values: jnp.sum(jnp.sin(inverse_cholesky(values)))
    step = 1e-7 * direction
    slope = (total(values + step) - total(values - step)) / 2e-7
    _, forward = jax.jvp(total, (values,), (direction,))
    backward = jnp.sum(jax.grad(total)(values) * direction)
    np.testing.assert_allclose(forward, slope, rtol=1e-5)
    np.testing.assert_allclose(backward, forward, rtol=1e-9)
    mapped = jax.vmap(jax.grad(total))(values[None])[0]
    np.testing.assert_allclose(mapped, jax.grad(total)(values), rtol=1e-12)
    second = lambda values: jax.jvp(total, (values,), (direction,))[1]
    curvature = (second(values + step) - second(values - step)) / 2e-7
    _, forward = jax.jvp(second, (values,), (direction,))
    np.testing.assert_allclose(forward, curvature, rtol=1e-4)


@pytest.mark.parametrize("d", [1, 3, 8, 20])
def test_other_devices_get_the_same_from_their_library(d, dtype, monkeypatch):
    values = jnp.asarray(make((5, d), dtype)).at[2].multiply(-1)
    plain = module._eliminated(values)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    got = module._eliminated(values)
    scale = np.nanmax(np.abs(plain))
    rtol = 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, plain, rtol, rtol * scale)
    assert np.isnan(got[2]).all() and np.isfinite(got[:2]).all()


def nearly_singular(rng, shape, dtype):
    """Products of factors, near to singular and beyond what the type can tell."""
    *_, d = shape
    lower = np.tril(rng.normal(size=(*shape, d))) / d
    # Some of the matrices are well conditioned, some are not.
    decades = rng.uniform(-0.7 * np.finfo(dtype).precision - 2, 0, size=shape)
    decades[len(decades) // 2 :] *= 0.1
    lower[..., np.arange(d), np.arange(d)] = 10.0**decades
    lower[..., 0, 0] = 1
    lower = lower.astype(dtype)
    return lower @ lower.swapaxes(-1, -2)


@pytest.mark.parametrize("d", [2, 3, 6, 40])
def test_what_rounding_made_singular_has_a_tolerant_factor(d, dtype):
    rng = np.random.default_rng(d)
    values = nearly_singular(rng, (40, d), dtype)
    strict = np.asarray(inverse_cholesky(jnp.asarray(values)))
    failed = np.isnan(strict).any(axis=(1, 2))
    assert failed.any()
    u = np.asarray(inverse_cholesky(jnp.asarray(values), True))
    assert np.isfinite(u).all()
    # Where the strict one is worth something it is the same.
    eps = float(np.finfo(dtype).eps)
    condition = np.linalg.cond(values.astype(np.float64))
    good = ~failed & (condition < 0.01 / eps)
    assert good.any()
    scale = np.abs(strict[good]).max(axis=(1, 2), keepdims=True)
    error = np.abs(u[good] - strict[good]) / scale
    assert np.all(error <= 10 * d * eps * condition[good, None, None])
    # What is far from positive definite has none.
    bad = np.eye(d)
    bad[0, 1] = bad[1, 0] = 1.1
    bad = np.stack([bad, 0 * bad, -bad, np.nan * bad]).astype(dtype)
    bad = np.asarray(inverse_cholesky(jnp.asarray(bad), True))
    assert np.isnan(bad).any(axis=(1, 2)).all()


def test_one_singular_component_does_not_spoil_a_density(dtype):
    """In a program, where `from_squeezed` cannot refuse it."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, 3)), dtype)
    weights = jnp.asarray([0.999, 0.001], dtype)
    means = jnp.asarray(rng.normal(size=(2, 3)), dtype)
    fn = lambda values: gx.GaussianMixture.from_squeezed(means, values, weights)
    score = jax.jit(jax.value_and_grad(lambda values: fn(values).score(x)))
    direction = jax.jit(lambda values: gx.score_function(fn(values), x))
    for matrix in nearly_singular(rng, (30, 3), dtype):
        values = jnp.asarray(np.stack([np.eye(3), matrix]), dtype)
        value, slope = score(values)
        assert np.isfinite(value) and np.isfinite(slope).all()
        assert np.isfinite(direction(values)).all()


def test_what_from_squeezed_accepts_has_a_density(dtype):
    rng = np.random.default_rng(0)
    x = jnp.zeros((1, 3), dtype)
    n_refused = 0
    for matrix in nearly_singular(rng, (100, 3), dtype):
        try:
            mixture = gx.GaussianMixture.from_squeezed(
                np.zeros((1, 3), dtype), matrix[None], np.ones(1, dtype)
            )
        except ValueError as error:
            assert "`covariances` must be positive definite" in str(error)
            n_refused += 1
        else:
            assert np.isfinite(mixture.log_prob(x)).all()
    assert 0 < n_refused < 100
