"""A family that the library does not ship, registered and used by its name."""

import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest

import gmmx_eqx as gx

from . import own_families
from .helpers import leaves, make_data
from .own_families import PackedCovariances, PlainCovariances


@pytest.fixture(autouse=True)
def registered():
    own_families.register()
    yield
    own_families.unregister()


def numpy_em(x, weights, means, variances, n_steps):
    """EM for one diagonal covariance, in float64."""
    for _ in range(n_steps):
        squares = ((x[:, None] - means) ** 2 / variances).sum(axis=-1)
        joint = np.log(weights) - 0.5 * squares
        resp = np.exp(joint - joint.max(axis=1, keepdims=True))
        resp /= resp.sum(axis=1, keepdims=True)
        count = resp.sum(axis=0)
        weights, means = count / len(x), resp.T @ x / count[:, None]
        residuals = (x[:, None] - means) ** 2
        variances = (resp[:, :, None] * residuals).sum(axis=(0, 1)) / len(x)
    return weights, means, variances


def test_fit_agrees_with_numpy(dtype):
    x = make_data(200, n_features=3).astype(dtype)
    start = gx.GaussianMixture.from_k_means(
        x, 3, key=jr.key(0), covariance_type="plain"
    )
    solver = gx.EM(tol=0.0, max_steps=5)
    solution = gx.fit(start, x, solver=solver, reg_covar=0.0, throw=False)
    expected = numpy_em(
        np.float64(x),
        np.float64(start.weights_numpy),
        np.float64(start.means_numpy),
        np.float64(start.covariances.spread[0, 0, :, 0]),
        5,
    )
    got = solution.mixture
    rtol = 1e-9 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(got.weights_numpy, expected[0], rtol)
    np.testing.assert_allclose(got.means_numpy, expected[1], rtol, 10 * rtol)
    np.testing.assert_allclose(got.covariances.spread[0, 0, :, 0], expected[2], rtol)


class PlainPacking(gx.extend.AbstractPacking):
    """φ = [x, 1], as for the tied family."""

    total: jax.Array

    def features(self, columns):
        return jnp.concatenate([columns, jnp.ones_like(columns[:1])])

    def quadratic(self, whitening):
        return jnp.zeros((1, 0), self.total.dtype)

    def shared(self, whitening, columns):
        whitened = whitening.whiten(columns[None, None])[0, 0]
        return -0.5 * jnp.sum(whitened**2, axis=0, keepdims=True)

    def second(self, products):
        return self.total[None, None]


@gx.extend.packing.register(PackedCovariances)
def _(covariances, source):
    scatter = lambda chunk: (chunk.weights[None] * chunk.columns**2).sum(1)[:, None]
    return PlainPacking(total=source.reduce(scatter))


@pytest.mark.x64
def test_a_packing_rule_serves_the_packed_kernel(dtype):
    x = make_data(200, n_features=3).astype(dtype)
    solver = gx.EM(tol=0.0, max_steps=5)
    labels = np.arange(200) % 3
    residual, packed = (
        gx.fit(
            gx.GaussianMixture.from_labels(x, labels, covariance_type=name),
            x,
            solver=solver,
            throw=False,
        )
        for name in ("plain", "packed")
    )
    rtol = 1e-9 if dtype == np.float64 else 1e-3
    for got, expected in zip(
        leaves(packed.mixture), leaves(residual.mixture), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol, rtol)
    np.testing.assert_allclose(packed.log_likelihood, residual.log_likelihood, rtol)


@pytest.mark.x64
def test_densities_are_those_of_the_dense_form():
    variances = [0.5, 2.0]
    means, weights = [[0.0, 1.0], [3.0, -1.0]], [0.25, 0.75]
    spread = jnp.asarray(variances)[None, None, :, None]
    parts = gx.GaussianMixture.from_squeezed(means, variances, weights, "tied_diag")
    covariances = PlainCovariances(spread)
    sparse = gx.GaussianMixture(parts.weights, parts.means, covariances)
    dense = gx.GaussianMixture.from_squeezed(means, np.diag(variances), weights, "tied")
    x = make_data(50)
    np.testing.assert_allclose(sparse.log_prob(x), dense.log_prob(x), rtol=2e-5)
    np.testing.assert_array_equal(sparse.predict(x), dense.predict(x))
    assert sparse.n_parameters == 1 + 4 + 2
    template = gx.GaussianMixture.create(2, 2, "plain")
    assert template.covariances.spread.shape == (1, 1, 2, 1)


@pytest.mark.x32
def test_samples_have_the_moments():
    spread = jnp.asarray([0.5, 2.0])[None, None, :, None]
    mixture = gx.GaussianMixture(
        jnp.ones((1, 1, 1, 1)),
        jnp.asarray([0.0, 1.0])[None, None, :, None],
        PlainCovariances(spread),
    )
    x = np.asarray(mixture.sample(jr.key(0), 20_000))
    # Five standard errors of a mean and of a variance.
    np.testing.assert_allclose(x.mean(axis=0), [0, 1], atol=5 * (2 / 20_000) ** 0.5)
    np.testing.assert_allclose(x.var(axis=0), [0.5, 2], rtol=5 * (2 / 20_000) ** 0.5)


@pytest.mark.x32
def test_restarts_and_selection_know_it():
    x = make_data(100)
    population = gx.fit_restarts(x, 2, "plain", 4, key=jr.key(0))
    assert population.best.converged
    table = gx.select(x, [1, 2], ["plain"], n_restarts=4, key=jr.key(0))
    assert table.best.covariance_type == "plain"


@pytest.mark.x32
def test_only_concrete_families_can_be_registered():
    class AbstractMore(gx.extend.AbstractCovariances):
        """Still abstract."""

    with pytest.raises(ValueError, match="concrete subclass"):
        gx.extend.register_covariance(AbstractMore)
    # The annotation refuses these first, where types are checked.
    for wrong in (gx.KMeans, "full"):
        with pytest.raises((ValueError, jaxtyping.TypeCheckError)):
            gx.extend.register_covariance(wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.x32
def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="'full', 'tied', 'diag', 'spherical'"):
        gx.GaussianMixture.create(2, 2, "banded")


@pytest.mark.x64
def test_frozen_unconstrained_and_differentiated():
    x = jnp.asarray(make_data(100))
    mixture = gx.GaussianMixture.from_k_means(
        x, 2, key=jr.key(0), covariance_type="plain"
    )
    frozen = gx.Frozen(means=[True, False])
    fit = lambda x: gx.fit(mixture, x, frozen=frozen, throw=False).mixture
    fitted = fit(x)
    np.testing.assert_array_equal(fitted.means[:, 0], mixture.means[:, 0])
    # Moving all samples of a component moves its mean and nothing else much.
    slope = jax.grad(lambda x: jnp.sum(fit(x).means[:, 1]))(x)
    np.testing.assert_allclose(jnp.sum(slope), 2, rtol=0.2)
    with pytest.raises(
        NotImplementedError, match="`gmmx_eqx.extend.unconstrain.register"
    ):
        gx.UnconstrainedMixture.from_mixture(fitted)
    gx.extend.unconstrain.register(PlainCovariances)(
        lambda own, other: 0.5 * jnp.log(own.spread / other.spread)
    )
    gx.extend.constrain.register(PlainCovariances)(
        lambda other, x: PlainCovariances(other.spread * jnp.exp(2 * x))
    )
    model = gx.UnconstrainedMixture.from_mixture(fitted)
    for one, want in zip(leaves(model.mixture), leaves(fitted), strict=True):
        np.testing.assert_allclose(one, want, rtol=1e-5)
