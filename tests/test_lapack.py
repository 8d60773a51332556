"""Eigenvalues and bases of many matrices: right, and never by a batched call."""

import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import lapack

from .helpers import make_data


@pytest.mark.parametrize("d", [1, 2, 5, 40])
def test_eigenvalues_of_many(d, dtype):
    rng = np.random.default_rng(d)
    values = rng.normal(size=(3, 2, d, d)).astype(dtype)
    values = values + np.swapaxes(values, -1, -2)
    eigenvalues, vectors = jax.vmap(jax.vmap(lapack.eigh))(jnp.asarray(values))
    tolerance = {"atol": 100 * d * np.finfo(dtype).eps}
    expected = np.linalg.eigvalsh(values.astype(float))
    np.testing.assert_allclose(eigenvalues, expected, **tolerance)
    product = vectors * eigenvalues[..., None, :]
    unit = np.swapaxes(vectors, -1, -2) @ vectors
    np.testing.assert_allclose(
        unit, np.broadcast_to(np.eye(d), unit.shape), **tolerance
    )
    np.testing.assert_allclose(
        np.asarray(product @ jnp.swapaxes(vectors, -1, -2)), values, **tolerance
    )


@pytest.mark.x64
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives(mode):
    rng = np.random.default_rng(0)
    values, change = rng.normal(size=(2, 3, 4, 4))
    values = values + np.swapaxes(values, -1, -2)

    def projector(t):
        """On the first two eigenvectors, and the eigenvalues: no signs in them."""
        found = jax.vmap(lapack.eigh)(jnp.asarray(values) + t * jnp.asarray(change))
        eigenvalues, vectors = found
        first = vectors[..., :2]
        return eigenvalues, first @ jnp.swapaxes(first, -1, -2)

    step = 1e-6
    got = mode(projector)(0.0)
    higher, lower = projector(step), projector(-step)
    for one, more, less in zip(got, higher, lower, strict=True):
        np.testing.assert_allclose(one, (more - less) / (2 * step), atol=1e-7)


def test_equal_eigenvalues_have_derivatives():
    derivative = jax.jacfwd(lapack.eigh)(jnp.eye(3))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in derivative)


def test_bases_of_many(dtype):
    values = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(dtype)
    bases = np.asarray(jax.vmap(lapack.complete_basis)(jnp.asarray(values)))
    tolerance = {"atol": 100 * np.finfo(dtype).eps}
    unit = np.swapaxes(bases, -1, -2) @ bases
    np.testing.assert_allclose(
        unit, np.broadcast_to(np.eye(5), unit.shape), **tolerance
    )
    rest = np.swapaxes(bases[..., 2:], -1, -2) @ values
    np.testing.assert_allclose(rest, np.zeros_like(rest), **tolerance)


STARTS = [
    gx.Mixed(),
    gx.KMeans("svd"),
    gx.RandomResponsibilities("whiten"),
    gx.Hierarchical(),
    gx.Hierarchical("EEE"),
]


@pytest.mark.x32
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="Others have no such pool.")
@pytest.mark.parametrize("initialiser", STARTS, ids=repr)
def test_no_batched_call_in_fits_of_many(initialiser):
    """Two programs that run at the same time could wait for each other for ever."""

    def fit(xs):
        options = {"n_restarts": 2, "key": jr.key(0), "initialiser": initialiser}
        return gx.fit_batch(xs, 2, **options).mixture.means

    xs = jnp.asarray(np.stack([make_data(40, 3, seed=i) for i in range(4)]))
    text = jax.jit(fit).lower(xs).as_text()
    calls = re.findall(r"custom_call @lapack_\w+\(.*", text)
    assert calls
    assert not [call for call in calls if re.search(r"tensor<\d+x\d+x\d+", call)]


@pytest.mark.x32
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="Others have no such pool.")
@pytest.mark.parametrize("fn", [lapack.eigh, lapack.complete_basis])
def test_no_batched_call_in_routines(fn):
    text = jax.jit(jax.vmap(jax.vmap(fn))).lower(jnp.ones((2, 4, 3, 3))).as_text()
    calls = re.findall(r"custom_call @lapack_\w+\(.*", text)
    assert calls
    assert not [call for call in calls if re.search(r"tensor<\d+x\d+x\d+", call)]
