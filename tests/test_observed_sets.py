"""Batches of samples with gaps and noise: each data set is a fit of its own."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._fit.observed_sets import gather_sets

from .helpers import parameters


TIGHT = gx.SQUAREM(tol=1e-14, max_steps=2000)


def sets(grouped):
    """Three of different lengths, in two clusters, with gaps; noise for each sample of
    one of them, or the same for all."""
    found = []
    for i, n in enumerate((50, 64, 57)):
        rng = np.random.default_rng(i)
        y = rng.normal(size=(n, 2)) + np.where(np.arange(n) % 3 == 0, 0, 8)[:, None]
        y[np.arange(n) % 5 == 0, 0] = np.nan
        R = None
        if i == 1:
            R = 0.2 if grouped else rng.uniform(0.1, 0.5, size=(n, 2))
        if i == 2:
            R = [[0.2, 0.1], [0.1, 0.3]]
        weight = np.linspace(0.5, 2, n) if i == 0 else None
        found.append(gx.Observed(y, R=R, sample_weight=weight))
    return found


@pytest.mark.x64
@pytest.mark.parametrize("grouped", [True, False])
def test_a_batch_is_a_loop_of_fits(grouped):
    data = sets(grouped)
    gathered, *_ = gather_sets(data, None, 2)
    assert (gathered.layout.rows is not None) == grouped
    solutions = gx.fit_batch(data, 2, n_restarts=2, key=jr.key(0), solver=TIGHT)
    start = gx.GaussianMixture.from_squeezed(
        [[0.0, 0.0], [8.0, 8.0]], [np.eye(2)] * 2, [0.4, 0.6]
    )
    for own, found in zip(data, solutions, strict=True):
        alone = gx.fit(start, own, solver=TIGHT)
        assert found.status == alone.status
        np.testing.assert_allclose(found.log_likelihood, alone.log_likelihood, 1e-11)
        order = np.argsort(found.mixture.means_numpy[:, 0])
        pairs = zip(parameters(found.mixture), parameters(alone.mixture), strict=True)
        for got, expected in pairs:
            np.testing.assert_allclose(got[order], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.x32
def test_few_samples_are_the_status_of_one_set_and_mistakes_are_named():
    data = sets(True)
    rows = np.where(np.arange(50)[:, None] < 2, data[0].y, np.nan)
    solutions = gx.fit_batch([gx.Observed(rows), *data], 3, key=jr.key(0))
    assert solutions.status[0] == "too_few_samples"
    assert np.all(np.isfinite(solutions.log_likelihood[1:]))
    with pytest.raises(ValueError, match=r"`xs\[1\]`: Feature 0 is never observed"):
        unseen = jnp.asarray(data[1].y).at[:, 0].set(jnp.nan)
        gx.fit_batch([data[0], gx.Observed(unseen)], 2, key=jr.key(0))
    with pytest.raises(ValueError, match=r"`xs\[1\]` must be a `gmmx_eqx.Observed`"):
        gx.fit_batch([data[0], np.zeros((4, 2))], 2, key=jr.key(0))
    with pytest.raises(ValueError, match="must be a sequence of data sets"):
        gx.fit_batch(data[0], 2, key=jr.key(0))
    with pytest.raises(ValueError, match=r"`xs\[1\]` must have as many outputs"):
        gx.fit_batch([data[0], gx.Observed(np.zeros((4, 3)))], 2, key=jr.key(0))
    with pytest.raises(ValueError, match="must be given to `gmmx_eqx.Observed`"):
        gx.fit_batch(data, 2, key=jr.key(0), sample_weight=[np.ones(50)])
