"""The singular value decomposition without LAPACK, against LAPACK's."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from gmmx_eqx._core.jacobi import svd


def check(values, dtype):
    """The decomposition is one, to within rounding of its largest singular value."""
    values = np.asarray(values, dtype)
    left, singular, right = (np.float64(part) for part in jax.jit(svd)(values))
    d = values.shape[-1]
    eps = 20 * d * float(np.finfo(dtype).eps)
    exact = np.linalg.svd(np.float64(values), compute_uv=False)
    scale = np.max(exact, axis=-1)[..., None]
    order = np.sort(singular, axis=-1)[..., ::-1]
    assert np.all(np.abs(order - exact) <= eps * scale)
    eye = np.eye(d)
    for factor in (left, right):
        unit = np.swapaxes(factor, -1, -2) @ factor
        assert np.all(np.abs(unit - eye) < eps)
    rebuilt = (left * singular[..., None, :]) @ np.swapaxes(right, -1, -2)
    assert np.all(np.abs(rebuilt - np.float64(values)) <= eps * scale[..., None])


@pytest.mark.parametrize("d", [1, 2, 5, 8])
def test_matrices_of_any_kind(d, dtype):
    rng = np.random.default_rng(d)
    plain = rng.normal(size=(d, d))
    q, _ = np.linalg.qr(plain)
    cases = [
        plain,
        q,
        np.eye(d),
        np.eye(d)[::-1],
        plain @ plain.T,
        # Rows and columns in units of their own.
        10.0 ** np.linspace(-3, 3, d)[:, None] * plain * 10.0 ** np.linspace(2, -2, d),
        # Near to singular, and all near to one of rank one.
        q * 10.0 ** -np.linspace(0, 6, d),
        np.ones((d, d)) + 1e-3 * plain,
        1e-30 * plain,
        1e18 * plain,
    ]
    check(np.stack(cases).reshape(2, 5, d, d), dtype)


@pytest.mark.x64
def test_a_large_matrix():
    check(np.random.default_rng(0).normal(size=(3, 33, 33)), np.float64)


def test_small_singular_values_keep_their_digits(dtype):
    """Where a change of units makes them large: LAPACK's do not."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** -np.arange(0, 15, 3)
    values = (rng.normal(size=(5, 5)) * scales).astype(dtype)
    singular = np.sort(np.asarray(jax.jit(svd)(values)[1]))[::-1]
    with mp.workdps(60):
        exact = mp.svd_r(mp.matrix(values.astype(float).tolist()), compute_uv=False)
    exact = np.array(exact.tolist(), dtype=float)[:, 0]
    assert exact[-1] < 1e-10
    np.testing.assert_allclose(singular, exact, 100 * np.finfo(dtype).eps)


def test_singular_and_bad_matrices(dtype):
    zero = np.zeros((3, 3), dtype)
    one = np.outer([1.0, 2, 2], [2.0, -1, 2]).astype(dtype)
    left, singular, right = jax.jit(svd)(jnp.stack([zero, one, one * jnp.nan]))
    assert np.all(np.isfinite(left[:2])) and np.all(np.isfinite(right[:2]))
    np.testing.assert_array_equal(singular[0], 0)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(np.sort(singular[1]), [0, 0, 9], atol=50 * eps)
    assert np.all(np.isnan(singular[2]))


@pytest.mark.x64
def test_lanes_are_alone():
    values = np.random.default_rng(0).normal(size=(4, 3, 3))
    lanes = jax.jit(jax.vmap(svd))(values)
    for index, value in enumerate(values):
        alone = jax.jit(svd)(value)
        for one, many in zip(alone, lanes, strict=True):
            np.testing.assert_allclose(many[index], one, atol=1e-14)
