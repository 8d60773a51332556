"""The orthogonal polar factor by products, against LAPACK's singular vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmmx_eqx._core.polar import polar


solve = jax.jit(polar)


def smallest(values, dtype):
    """What the bound can be: not below the range of the type."""
    singular = np.linalg.svd(np.float64(values), compute_uv=False)
    bound = np.maximum(singular[..., -1:, None], float(np.finfo(dtype).tiny))
    return jnp.asarray(bound, dtype)


def check(values, dtype):
    """The factor is orthogonal, and that of a matrix which differs by rounding of the
    largest singular value."""
    values = np.asarray(values, dtype)
    factor = np.float64(solve(values, smallest(values, dtype)))
    exact = np.float64(values)
    singular = np.linalg.svd(exact, compute_uv=False)
    d = values.shape[-1]
    eps = 20 * d * float(np.finfo(dtype).eps)
    unit = np.swapaxes(factor, -1, -2) @ factor
    assert np.all(np.abs(unit - np.eye(d)) < eps)
    scale = np.max(singular, axis=-1)[..., None, None]
    other = np.swapaxes(factor, -1, -2) @ exact / scale
    assert np.all(np.abs(other - np.swapaxes(other, -1, -2)) <= eps)
    # No other orthogonal matrix has a larger trace.
    trace = np.trace(other, axis1=-2, axis2=-1)
    np.testing.assert_allclose(trace, np.sum(singular, -1) / scale[..., 0, 0], eps)


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
        # Near to singular, to the last digit in float32, and all near to rank one.
        q * 10.0 ** -np.linspace(0, 6, d),
        q * 10.0 ** -np.linspace(0, 14, d),
        np.ones((d, d)) + 1e-3 * plain,
        1e-30 * plain,
        1e18 * plain,
    ]
    check(np.stack(cases).reshape(1, 11, d, d), dtype)


@pytest.mark.parametrize("d", [33, 64])
def test_large_matrices(d, dtype):
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    check(np.stack([rng.normal(size=(d, d)), q * 10.0 ** -np.linspace(0, 6, d)]), dtype)


def test_any_bound_will_do(dtype):
    """A smaller one takes more steps, of which none is a step back."""
    values = np.random.default_rng(0).normal(size=(4, 4)).astype(dtype)
    left, _, right = np.linalg.svd(np.float64(values))
    eps = float(np.finfo(dtype).eps)
    for bound in (smallest(values, dtype), jnp.full((1, 1), 1e-30, dtype)):
        factor = solve(values, bound)
        np.testing.assert_allclose(factor, left @ right, atol=200 * eps)


def test_singular_and_bad_matrices(dtype):
    zero = np.zeros((3, 3), dtype)
    one = np.outer([1.0, 2, 2], [2.0, -1, 2]).astype(dtype)
    values = jnp.stack([zero, one, one * jnp.nan])
    factor = solve(values, jnp.zeros((3, 1, 1), dtype))
    np.testing.assert_array_equal(factor[0], 0)
    assert np.all(np.isfinite(factor[1]))
    assert np.all(np.isnan(factor[2]))
    # In the one direction that there is.
    image = np.asarray(factor[1]) @ one[0]
    np.testing.assert_allclose(image, [1, 2, 2], rtol=1e3 * np.finfo(dtype).eps)


@pytest.mark.x64
def test_lanes_are_alone():
    values = np.random.default_rng(0).normal(size=(4, 3, 3))
    bounds = smallest(values, np.float64)
    lanes = jax.jit(jax.vmap(polar))(values, bounds)
    for value, bound, lane in zip(values, bounds, lanes, strict=True):
        np.testing.assert_allclose(lane, solve(value, bound), atol=1e-14)


@pytest.mark.x64
@pytest.mark.parametrize("condition", [1e1, 1e6])
def test_derivatives(condition):
    """Against Sylvester's equation, by singular vectors; forward and in reverse."""
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    right, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    singular = condition ** -np.linspace(0, 1, 4)
    values, moved = (left * singular) @ right.T, rng.normal(size=(4, 4))
    change = left.T @ moved @ right
    turn = (change - change.T) / (singular[:, None] + singular)
    expected = left @ turn @ right.T
    fn = lambda values: polar(values, smallest_of_all)
    smallest_of_all = jnp.full((1, 1), singular[-1])
    got = jax.jit(lambda v, m: jax.jvp(fn, (v,), (m,))[1])(values, moved)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, atol=1e-13 * condition * scale)
    (pulled,) = jax.jit(lambda v, c: jax.vjp(fn, v)[1](c))(values, expected)
    np.testing.assert_allclose(np.sum(pulled * moved), np.sum(expected**2), rtol=1e-8)
