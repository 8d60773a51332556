"""Fits at the limit of float32: they end, and what is not singular is fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx


@pytest.mark.parametrize("solver", [gx.EM, gx.SQUAREM])
@pytest.mark.parametrize("shape", [(3, 4), (5, 8), (9, 16)])
def test_rounding_of_the_likelihood_ends_a_fit(shape, solver, dtype):
    """With fewer samples than features, log-likelihoods of equal mixtures differ by
    far more than `tol`."""
    for seed in range(4):
        x = np.random.default_rng(seed).normal(size=shape).astype(dtype)
        start = gx.GaussianMixture.create(1, shape[1])
        start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
        solution = gx.fit(start, x, solver=solver(max_steps=100))
        assert solution.result == gx.RESULTS.successful
        np.testing.assert_allclose(
            solution.mixture.means_numpy[0], x.mean(axis=0), 0, 1e-5
        )


def make(name):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 6))
    if name == "few samples":
        return rng.normal(size=(100, 99))
    if name == "one-hot columns":
        return np.hstack([z, np.eye(5)[rng.integers(5, size=300)]])
    return np.hstack([z, z[:, :3] + z[:, 3:], 2 * z[:, :1]])


@pytest.mark.parametrize("name", ["few samples", "one-hot columns", "collinear"])
def test_what_a_ridge_holds_up_has_not_collapsed(name, dtype):
    x = make(name).astype(dtype)
    n_features = x.shape[1]
    values = np.broadcast_to(
        np.cov(x.T) + 1e-3 * np.eye(n_features), (2,) + 2 * (n_features,)
    )
    start = gx.GaussianMixture.from_squeezed(
        jnp.asarray(x[:2]), jnp.asarray(values, dtype), jnp.full(2, 0.5, dtype)
    )
    solution = gx.fit(start, x, reg_covar=1e-6, solver=gx.EM(tol=1e-3, max_steps=100))
    assert np.isfinite(float(solution.log_likelihood))


def test_without_a_ridge_it_has(dtype):
    x = make("collinear").astype(dtype)
    start = gx.GaussianMixture.from_squeezed(
        jnp.asarray(x[:2]),
        jnp.broadcast_to(jnp.eye(10, dtype=dtype), (2, 10, 10)),
        jnp.full(2, 0.5, dtype),
    )
    solution = gx.fit(start, x, reg_covar=0.0, throw=False)
    assert solution.result == gx.RESULTS.component_collapsed
    assert np.all(np.isfinite(solution.mixture.means_numpy))
