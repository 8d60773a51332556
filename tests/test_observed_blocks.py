"""Blocks of samples with gaps and noise: the fit to the same data in memory, from any
source, and what is refused."""

import pickle

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import parameters
from .observations import faithful_noise, faithful_start, faithful_with_gaps


def blocks_and_observed(name, tmp_path):
    """The same data twice, of which the noise of the one is in a file."""
    y = faithful_with_gaps()
    weight = np.linspace(0.5, 2, 272)
    noise = faithful_noise()
    if name in ("gaps", "many gaps"):
        # Of eight samples or more for each of four patterns, groups are made.
        rows = 50 if name == "gaps" else 30
        return (
            gx.blocks(y, rows, sample_weight=weight, missing=True),
            gx.Observed(y, sample_weight=weight),
        )
    if name == "matrices":
        np.save(tmp_path / "noise.npy", noise)
        stored = np.load(tmp_path / "noise.npy", mmap_mode="r")
        return gx.blocks(y, 50, noise=stored, missing=True), gx.Observed(y, R=noise)
    variances = np.diagonal(noise, axis1=1, axis2=2)
    if name == "variances":
        return (
            gx.blocks(y, 50, noise=variances, missing=True),
            gx.Observed(y, R=variances),
        )
    filled = np.where(np.isnan(y), [3.5, 70.0], y)
    return gx.blocks(filled, 50, noise=noise[0]), gx.Observed(filled, R=noise[0])


@pytest.mark.x64
@pytest.mark.parametrize(
    "name", ["gaps", "many gaps", "matrices", "variances", "shared"]
)
def test_a_fit_is_that_of_data_in_memory(name, tmp_path):
    data, observed = blocks_and_observed(name, tmp_path)
    assert len(data) > 5
    for solver in (gx.EM(tol=0.0, max_steps=12), gx.SQUAREM(tol=1e-9)):
        found = gx.fit(faithful_start(), data, solver=solver, throw=False)
        expected = gx.fit(faithful_start(), observed, solver=solver, throw=False)
        assert found.status == expected.status
        np.testing.assert_allclose(
            found.log_likelihood, expected.log_likelihood, rtol=1e-10
        )
        np.testing.assert_allclose(
            found.mean_log_likelihood, expected.mean_log_likelihood, rtol=1e-10
        )
        pairs = zip(
            parameters(found.mixture), parameters(expected.mixture), strict=True
        )
        for got, want in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-10)
    mixture = expected.mixture
    for method in ("score", "bic", "aic", "icl"):
        got, want = (getattr(mixture, method)(x) for x in (data, observed))
        np.testing.assert_allclose(got, want, rtol=1e-11)
    rows = gx.map_blocks(mixture.log_prob, data)
    np.testing.assert_allclose(rows, mixture.log_prob(observed), 1e-10, 1e-14)


@pytest.mark.x64
@pytest.mark.parametrize("name", ["matrices", "shared"])
def test_a_pickle_reads_the_same(name, tmp_path):
    data, _ = blocks_and_observed(name, tmp_path)
    same = pickle.loads(pickle.dumps(data))
    for one, other in zip(data, same, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.noise, other.noise)
    assert same.fingerprint() == data.fingerprint()
    part = data.part(range(2, 4))
    np.testing.assert_array_equal(part.load(3).noise, data.load(3).noise)


@pytest.mark.x64
def test_float32_data_is_computed_in_the_type_of_the_mixture():
    y = np.float32(faithful_with_gaps())
    few = {"solver": gx.EM(tol=0.0, max_steps=3), "throw": False}
    data = gx.blocks(y, 50, noise=np.full(y.shape, 0.01, np.float32), missing=True)
    found = gx.fit(faithful_start(), data, **few)
    expected = gx.fit(faithful_start(), gx.Observed(np.float64(y), R=0.01), **few)
    assert found.mixture.means.dtype == np.float64
    # The noise is that of float32.
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-7)


@pytest.mark.x64
def test_restarts_and_choices_share_passes(tmp_path):
    data, observed = blocks_and_observed("variances", tmp_path)
    options = {"n_restarts": 2, "key": jr.key(0), "solver": gx.SQUAREM(tol=1e-10)}
    found = gx.fit_restarts(data, 2, **options).best
    expected = gx.fit_restarts(observed, 2, **options).best
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-9)
    table = gx.select(data, [1, 2], ["full"], **options)
    np.testing.assert_allclose(
        table.best.solution.log_likelihood, expected.log_likelihood, rtol=1e-9
    )
    for cell in table.cells:
        mixture = cell.solution.mixture
        np.testing.assert_allclose(cell.icl, mixture.icl(observed), rtol=1e-9)


@pytest.mark.x64
def test_a_singular_optimum_is_named():
    x = np.random.default_rng(0).normal(size=(300, 1)) * [1.0, 1.0]
    x = x + 0.1 * np.random.default_rng(1).normal(size=x.shape)
    start = gx.GaussianMixture.from_k_means(jnp.asarray(x), 1, key=jr.key(0))
    for data in (gx.blocks(x, 70, noise=0.02), gx.Observed(x, R=0.02)):
        assert gx.fit(start, data).status == "singular"


@pytest.mark.x32
def test_what_cannot_be_right_is_refused():
    y = np.float32(faithful_with_gaps())
    start = faithful_start()
    with pytest.raises(ValueError, match="or say that NaN is a missing value"):
        gx.fit(start, gx.blocks(y, 50))
    with pytest.raises(ValueError, match="`noise` must be a number, or have shape"):
        gx.blocks(y, 50, noise=np.ones(3))
    variances = np.ones(y.shape)
    variances[130, 1] = -1
    with pytest.raises(ValueError, match="`noise` holds variances") as error:
        gx.fit(start, gx.blocks(y, 50, noise=variances, missing=True))
    assert "In block 2" in error.value.__notes__[0]
    y[130, 0] = np.inf
    with pytest.raises(ValueError, match="sample 130"):
        gx.fit(start, gx.blocks(y, 50, missing=True))
    y[:, 0] = np.nan
    with pytest.raises(ValueError, match="Feature 0 is never observed"):
        gx.fit(start, gx.blocks(y, 50, missing=True))
    with pytest.raises(ValueError, match="Blocks with missing values or noise are for"):
        gx.fit(start, gx.blocks(y, 50, missing=True), solver=gx.Stepwise())
