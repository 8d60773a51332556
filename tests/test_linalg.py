import jax
import jax.numpy as jnp
import numpy as np

from gmmx_eqx._core import linalg


def test_fast_log(dtype):
    x = np.geomspace(1e-30, 1e30, 10_001).astype(dtype)
    got = np.asarray(linalg.fast_log(jnp.asarray(x)))
    assert got.dtype == dtype
    expected = np.log(x.astype(np.longdouble))
    error = np.abs(got - expected) / np.maximum(np.abs(expected), 1)
    assert error.max() < 4 * np.finfo(dtype).eps
    assert np.isnan(linalg.fast_log(jnp.asarray(np.nan, dtype)))


def test_fast_log_has_the_derivative_of_the_logarithm(dtype):
    x = jnp.asarray([0.3, 1.0, 7.0], dtype)
    slope = jax.vmap(jax.grad(linalg.fast_log))(x)
    np.testing.assert_allclose(slope, 1 / x, 4 * np.finfo(dtype).eps)
    curvature = jax.vmap(jax.grad(jax.grad(linalg.fast_log)))(x)
    np.testing.assert_allclose(curvature, -1 / x**2, 8 * np.finfo(dtype).eps)
