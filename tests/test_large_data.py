"""Data that is summed a block at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import leaves


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_have_the_sums_of_the_whole(weighted, monkeypatch, dtype):
    rng = np.random.default_rng(0)
    # No number of whole blocks, far from zero, and beside it a sample without weight.
    x = rng.normal(size=(70, 5)) + 100
    weight = rng.uniform(0.5, 2, size=70)
    weight[3] = 0
    x[3] = np.nan if weighted else x[3]
    x, weight = jnp.asarray(x.astype(dtype)), jnp.asarray(weight.astype(dtype))
    given = weight if weighted else None
    whole = gx.extend.InMemory.from_data(x, given, 16)
    at = "gmmx_eqx._sources.memory._LARGE_BYTES"
    monkeypatch.setattr(at, 8 * 5 * x.dtype.itemsize * 9)
    blocks = gx.extend.InMemory.from_data(x, given, 16)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    for one, other in zip(leaves(blocks), leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol, 100 * rtol)
    known = np.arange(70) != 3 if weighted else np.arange(70) >= 0
    own = np.asarray(weight)[known] if weighted else np.ones(70)
    rows = np.asarray(x, np.float64)[known]
    mean = np.average(rows, axis=0, weights=own)
    variances = np.average((rows - mean) ** 2, axis=0, weights=own)
    np.testing.assert_allclose(blocks.pivot[0, 0, :, 0], mean, rtol)
    np.testing.assert_allclose(blocks.variances[0, 0, :, 0], variances, 10 * rtol)
    total = lambda x: jnp.sum(gx.extend.InMemory.from_data(x, given, 16).variances)
    slope = np.asarray(jax.grad(total)(x))
    assert np.all(np.isfinite(slope[known]))
