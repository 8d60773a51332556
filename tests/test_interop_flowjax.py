"""A mixture as the base of a flow, against affine maps in closed form."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import paramax
import pytest
from flowjax.bijections import Affine, TriangularAffine
from flowjax.distributions import Transformed
from flowjax.train import fit_to_data
from flowjax.train.losses import MaximumLikelihoodLoss

import gmmx_eqx as gx
from gmmx_eqx.interop.flowjax import MixtureDistribution

from .helpers import every_family, leaves, make_mixture


pytestmark = pytest.mark.usefixtures("standard_promotion")

LOWER = np.array([[1.5, 0.0], [-0.7, 0.4]])
SHIFT = np.array([1.0, -2.0])


@pytest.mark.x64
@every_family
def test_flow_of_one_affine_map(name, dtype):
    mixture = make_mixture(name, 3, 2)
    base = MixtureDistribution(mixture)
    lower, shift = LOWER.astype(dtype), SHIFT.astype(dtype)
    flow = Transformed(base, TriangularAffine(shift, lower))
    exact = gx.affine(mixture, lower, shift)
    x = 3 * np.random.default_rng(0).normal(size=(2, 3, 2)).astype(dtype)
    rtol = 100 * float(np.finfo(dtype).eps)
    got, of_one = jax.jit(lambda x: (flow.log_prob(x), flow.log_prob(x[0, 0])))(x)
    assert got.dtype == dtype and got.shape == (2, 3)
    np.testing.assert_allclose(got.ravel(), exact.log_prob(x.reshape(-1, 2)), rtol)
    np.testing.assert_allclose(of_one, got[0, 0], rtol)


@pytest.mark.x64
def test_samples_of_a_flow(getkey):
    mixture = make_mixture("full", 3, 2)
    flow = Transformed(MixtureDistribution(mixture), TriangularAffine(SHIFT, LOWER))
    exact = gx.affine(mixture, LOWER, SHIFT)
    n_samples = 20_000
    x, log_prob = eqx.filter_jit(flow.sample_and_log_prob)(getkey(), (n_samples,))
    np.testing.assert_allclose(log_prob, exact.log_prob(x), 1e-9)
    covariance = gx.covariance(exact)
    error = 6 * np.sqrt(np.diagonal(covariance) / n_samples)
    assert np.all(np.abs(x.mean(axis=0) - gx.mean(exact)) < error)
    assert flow.sample(getkey()).shape == (2,)


def data(key):
    return 2 * make_mixture("full", 3, 2, seed=1).sample(key, 300) + 1


@pytest.mark.x32
@pytest.mark.parametrize("trained", [True, False])
def test_training(trained, getkey):
    """A plain mixture stays what it is: trained, it would leave the simplex."""
    mixture = make_mixture("diag", 3, 2)
    base = MixtureDistribution(mixture)
    if trained:
        base = MixtureDistribution(gx.UnconstrainedMixture.from_mixture(mixture))
    flow = Transformed(base, Affine(jnp.zeros(2), jnp.ones(2)))
    x = data(getkey())

    is_fixed = lambda leaf: isinstance(leaf, paramax.NonTrainable)
    parts = eqx.partition(flow, eqx.is_inexact_array, is_leaf=is_fixed)
    slopes = eqx.filter_grad(MaximumLikelihoodLoss())(*parts, x)
    for slope in leaves(slopes):
        assert np.all(np.isfinite(slope)) and np.any(slope != 0)
    assert len(leaves(slopes)) == (5 if trained else 2)

    after, losses = fit_to_data(
        getkey(), flow, x, learning_rate=3e-2, max_epochs=8, show_progress=False
    )
    assert np.all(np.isfinite(losses["train"]))
    assert losses["train"][-1] < losses["train"][0] - 0.05
    inner = paramax.unwrap(after).base_dist.mixture
    moved = not np.array_equal(inner.means, mixture.means)
    assert moved == trained
    # Still a mixture.
    assert np.all(inner.covariances.values > 0)
    np.testing.assert_allclose(np.sum(inner.weights), 1, rtol=1e-5)


@pytest.mark.x32
def test_bad_input():
    base = MixtureDistribution(make_mixture("full"))
    with pytest.raises(ValueError, match="trailing dimensions"):
        base.log_prob(np.zeros(3))
    with pytest.raises(ValueError, match="ensemble"):
        MixtureDistribution(gx.stack([make_mixture("full")] * 2))


@pytest.mark.x32
def test_without_flowjax(monkeypatch):
    monkeypatch.delitem(sys.modules, "gmmx_eqx.interop.flowjax")
    monkeypatch.setitem(sys.modules, "flowjax.distributions", None)
    with pytest.raises(ImportError, match=r'pip install "gmmx_eqx\[flowjax\]"'):
        import gmmx_eqx.interop.flowjax  # noqa: F401
