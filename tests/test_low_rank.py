"""Covariances of low rank, against dense matrices, closed forms and scikit-learn."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import FactorAnalysis

import gmmx_eqx as gx
from gmmx_eqx._covariances import take_components
from gmmx_eqx.sklearn import GaussianMixture as Estimator

from .helpers import leaves, make_data


NOISES = ["diag", "spherical"]
every_noise = pytest.mark.parametrize("noise", NOISES)


def make(noise, n_components=3, n_features=5, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    as_float = lambda x: jnp.asarray(x, float)
    covariances = gx.LowRank(rank, noise).create(n_components, n_features)
    factors = rng.normal(size=covariances.factors.shape)
    variances = rng.uniform(0.3, 2, size=covariances.noise.shape)
    return gx.GaussianMixture(
        as_float(rng.dirichlet(np.full(n_components, 5.0)))[None, :, None, None],
        as_float(3 * rng.normal(size=(1, n_components, n_features, 1))),
        dataclasses.replace(
            covariances, factors=as_float(factors), noise=as_float(variances)
        ),
    )


def dense(mixture) -> np.ndarray:
    factors = np.float64(mixture.covariances.factors)[0]
    d = factors.shape[1]
    noise = np.float64(mixture.covariances.noise)[0]
    noise = np.broadcast_to(noise, (len(factors), d, 1)) * np.eye(d)
    return factors @ factors.swapaxes(1, 2) + noise


def latent_data(n_samples, n_features, rank, seed=0):
    """Samples of one factor analyser."""
    rng = np.random.default_rng(seed)
    factors = 2 * rng.normal(size=(rank, n_features))
    noise = rng.normal(size=(n_samples, n_features))
    noise *= rng.uniform(0.3, 1.5, size=n_features)
    return rng.normal(size=(n_samples, rank)) @ factors + noise + 5


@every_noise
def test_densities_agree_with_scipy(noise, dtype):
    mixture = make(noise)
    x = make_data(50, 5)
    expected = sum(
        w * scipy.stats.multivariate_normal(m, c).pdf(x)
        for w, m, c in zip(
            np.float64(mixture.weights_numpy),
            np.float64(mixture.means_numpy),
            dense(mixture),
            strict=True,
        )
    )
    rtol = 1e-10 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(mixture.log_prob(x), np.log(expected), rtol, rtol)


@pytest.mark.x64
@every_noise
def test_the_whitening_is_that_of_the_dense_matrix(noise):
    mixture = make(noise)
    whitening = mixture.covariances.whitening(5)
    matrices = dense(mixture)
    inverse = np.linalg.inv(matrices)
    eye = jnp.broadcast_to(jnp.eye(5)[None, None], (1, 3, 5, 5))
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12)
    white = np.asarray(whitening.whiten(eye))[0]
    close(white.swapaxes(1, 2) @ white, inverse)
    colour = np.asarray(whitening.colour(eye))[0]
    close(colour @ colour.swapaxes(1, 2), matrices)
    close(whitening.solve(eye)[0], inverse)
    close(whitening.precision[0], inverse)
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)
    close(whitening.precision_diagonal[0, :, :, 0], diagonal)
    close(whitening.log_det.ravel(), np.linalg.slogdet(matrices)[1])
    u = np.asarray(whitening.factor)[0]
    assert np.all(np.tril(u, -1) == 0)
    close(u @ u.swapaxes(1, 2), inverse)
    spread = np.random.default_rng(0).uniform(0.5, 2, size=(1, 3, 5, 1))
    scaled = spread[0] * inverse * spread[0].swapaxes(1, 2)
    norms = np.linalg.norm(scaled, axis=(1, 2))
    bound = np.ravel(whitening.scaled_norm(jnp.asarray(spread)))
    # An upper bound, and not a useless one.
    assert np.all(bound >= norms) and np.all(bound < 10 * norms)


@pytest.mark.x32
@every_noise
def test_samples_have_the_moments(noise):
    mixture = make(noise, n_components=2)
    x, labels = mixture.sample_labelled(jr.key(0), 40_000)
    for k, matrix in enumerate(dense(mixture)):
        own = np.float64(x)[np.asarray(labels) == k]
        got = np.cov(own.T)
        scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
        # Five standard errors of a covariance.
        assert np.abs(got - matrix).max() < 5 * scale.max() * (2 / len(own)) ** 0.5


@pytest.mark.x64
def test_one_component_is_scikit_learns_factor_analysis():
    x = latent_data(500, 8, 3)
    start = gx.GaussianMixture.from_k_means(
        x, 1, key=jr.key(0), covariance_type=gx.LowRank(3), reg_covar=0.0
    )
    fit = gx.fit(start, x, reg_covar=0.0, solver=gx.EM(1e-14, 5000))
    peer = FactorAnalysis(3, tol=1e-12, max_iter=20_000, svd_method="lapack").fit(x)
    np.testing.assert_allclose(fit.mean_log_likelihood, peer.score(x), rtol=1e-8)


@pytest.mark.x64
def test_one_component_of_spherical_noise_is_probabilistic_pca():
    """Tipping and Bishop (1999), Probabilistic Principal Component Analysis. JRSS B
    61(3), eqs. 7 and 8."""
    x = latent_data(500, 8, 3)
    start = gx.GaussianMixture.from_labels(
        x,
        np.zeros(500, int),
        covariance_type=gx.LowRank(3, "spherical"),
        reg_covar=0.0,
    )
    fit = gx.fit(start, x, reg_covar=0.0, solver=gx.EM(1e-15, 5000), throw=False)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    noise = values[:-3].mean()
    low = vectors[:, -3:] * (values[-3:] - noise)
    expected = low @ vectors[:, -3:].T + noise * np.eye(8)
    got = fit.mixture.covariances.dense(8)[0, 0]
    np.testing.assert_allclose(got, expected, 1e-8, 1e-8)


@pytest.mark.x64
def test_of_nearly_full_rank_it_is_full():
    x, label = make_data(600, 4), np.arange(600) % 3
    ends = []
    for family in ("full", gx.LowRank(3)):
        start = gx.GaussianMixture.from_labels(
            x, label, covariance_type=family, reg_covar=1e-3
        )
        solver = gx.EM(1e-12, 20_000)
        ends.append(gx.fit(start, x, reg_covar=1e-3, solver=solver, throw=False))
    full, low = ends
    np.testing.assert_allclose(
        low.mean_log_likelihood, full.mean_log_likelihood, rtol=1e-6
    )


@pytest.mark.x64
@every_noise
@pytest.mark.parametrize("n_features", [5, 40])
def test_the_likelihood_never_falls(noise, n_features):
    """By the whole scatter, and by its products with as many columns as the rank."""
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [latent_data(100, n_features, 2, seed) + 3 * rng.normal() for seed in range(3)]
    )
    start = gx.GaussianMixture.from_initialiser(
        gx.RandomResponsibilities(),
        x,
        3,
        key=jr.key(0),
        covariance_type=gx.LowRank(2, noise),
        reg_covar=0.0,
    )
    solver = gx.EM(tol=0.0, max_steps=60)
    fit = gx.fit(start, x, reg_covar=0.0, solver=solver, throw=False)
    assert fit.status == "max_steps_reached"
    history = np.asarray(fit.log_likelihoods[:61])
    assert np.all(np.diff(history) > -1e-9 * np.abs(history).max())
    assert history[-1] > history[0] + 1


@pytest.mark.x64
@every_noise
def test_products_lead_where_the_scatter_does(noise, monkeypatch):
    x, label = latent_data(300, 6, 2), np.zeros(300, int)
    ends = []
    for few in (32, 0):
        monkeypatch.setattr("gmmx_eqx._covariances.low_rank._FEW", few)
        monkeypatch.setattr("gmmx_eqx._covariances.low_rank._FEW_FOR_EACH", few)
        family = gx.LowRank(2, noise)
        start = gx.GaussianMixture.from_labels(x, label, covariance_type=family)
        run = eqx.filter_jit(lambda m, x: gx.fit(m, x, solver=gx.EM(1e-13, 5000)))
        ends.append(run(start, jnp.asarray(x)))
        jax.clear_caches()
    scatter, products = ends
    np.testing.assert_allclose(
        products.log_likelihood, scatter.log_likelihood, rtol=1e-8
    )


@pytest.mark.x64
@every_noise
def test_units_do_not_matter(noise):
    x, label = latent_data(300, 6, 2), np.arange(300) % 2
    fits = []
    for unit in (1.0, 1e-6, 1e6):
        start = gx.GaussianMixture.from_labels(
            unit * x, label, covariance_type=gx.LowRank(2, noise)
        )
        fit = gx.fit(start, unit * x, solver=gx.EM(0.0, 20), throw=False)
        fits.append(float(fit.mean_log_likelihood) + 6 * np.log(unit))
    np.testing.assert_allclose(fits[1:], fits[0], rtol=1e-6)


@pytest.mark.x32
@every_noise
def test_restarts_batches_and_selection(noise):
    x = np.concatenate([latent_data(80, 4, 1), latent_data(80, 4, 1, 1) + 20])
    family = gx.LowRank(1, noise)
    many = gx.fit_restarts(x, 2, family, 4, key=jr.key(0))
    assert many.best.converged
    assert many.best.mixture.covariances.rank == 1
    batch = gx.fit_batch(np.stack([x, x + 1]), 2, family, key=jr.key(0))
    assert batch.converged.all()
    table = gx.select(x, [1, 2], [family, "spherical"], n_restarts=2, key=jr.key(0))
    assert table.best.covariance_type == family.type
    assert table.best.n_components == 2
    untold = gx.select(x[:40], [1], n_restarts=1, key=jr.key(0))
    assert "low_rank" not in {cell.covariance_type for cell in untold.cells}


@pytest.mark.x64
@every_noise
def test_operations_are_those_of_dense_matrices(noise):
    mixture = make(noise)
    full = gx.GaussianMixture.from_squeezed(
        mixture.means_numpy, dense(mixture), mixture.weights_numpy
    )
    cases = [
        lambda m: gx.marginal(m, [2, 0, 3]),
        lambda m: gx.affine(m, [2.0, -1.0, 0.5, 3.0, 1.0], 1.0),
        lambda m: gx.affine(m, np.arange(10.0).reshape(2, 5) ** 0.5),
        lambda m: gx.condition(m, [1], [0.3]),
        lambda m: gx.observe(m, np.ones((1, 5)), 0.1, [0.5])[0],
        lambda m: gx.convolve(m, 0.5),
        lambda m: gx.product(m, full)[0],
        lambda m: gx.merge(m, [0, 1, 0]),
        lambda m: gx.reduce(m, 2),
    ]
    for case in cases:
        got, expected = case(mixture), case(full)
        d = got.n_features
        np.testing.assert_allclose(
            got.covariances.dense(d), expected.covariances.dense(d), 1e-9, 1e-9
        )
        np.testing.assert_allclose(got.means, expected.means, 1e-9, 1e-9)
    kept = (cases[0](mixture), cases[1](mixture))
    assert all(isinstance(m.covariances, type(mixture.covariances)) for m in kept[:1])
    np.testing.assert_allclose(
        gx.divergences.kl_variational(mixture, full), 0, atol=1e-9
    )
    np.testing.assert_allclose(
        gx.divergences.wasserstein(mixture, full).squared_distance, 0, atol=1e-9
    )


@pytest.mark.x64
@every_noise
def test_trained_without_constraints(noise):
    mixture = make(noise)
    x = jnp.asarray(make_data(60, 5))
    model = gx.UnconstrainedMixture.from_mixture(mixture)
    for got, want in zip(leaves(model.mixture), leaves(mixture), strict=True):
        np.testing.assert_allclose(got, want, 1e-12)
    moved = eqx.tree_at(lambda m: m.shapes, model, model.shapes + 0.3)
    back = gx.UnconstrainedMixture.from_mixture(moved.mixture, mixture)
    np.testing.assert_allclose(back.shapes, moved.shapes, 1e-9)
    gradient = jax.grad(lambda m: m.score(x), allow_int=True)(model)
    assert np.all(np.isfinite(gradient.shapes))


@pytest.mark.x64
@every_noise
def test_frozen_stays_and_derivatives_are_finite_differences(noise):
    x = jnp.asarray(latent_data(150, 4, 1))
    start = gx.GaussianMixture.from_labels(
        x, np.arange(150) % 2, covariance_type=gx.LowRank(1, noise)
    )
    frozen = gx.Frozen(covariances=[True, False])
    fit = gx.fit(start, x, frozen=frozen, solver=gx.EM(1e-10, 5000), throw=False)
    for got, want in zip(
        leaves(take_components(fit.mixture.covariances, slice(1))),
        leaves(take_components(start.covariances, slice(1))),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)

    def value(ridge):
        solver = gx.EM(1e-12, 20_000)
        return gx.fit(start, x, reg_covar=ridge, solver=solver).mean_log_likelihood

    slope = jax.grad(value)(jnp.asarray(0.1))
    difference = (value(0.1 + 1e-4) - value(0.1 - 1e-4)) / 2e-4
    np.testing.assert_allclose(slope, difference, rtol=1e-3)


@pytest.mark.x32
@every_noise
def test_squarem_and_lanes(noise):
    x = np.concatenate([latent_data(100, 4, 1), latent_data(100, 4, 1, 1) + 3])
    start = gx.GaussianMixture.from_labels(
        x, np.arange(200) // 100, covariance_type=gx.LowRank(1, noise)
    )
    plain = gx.fit(start, x, solver=gx.EM(1e-9, 5000), throw=False)
    fast = gx.fit(start, x, solver=gx.SQUAREM(1e-9, 5000), throw=False)
    assert fast.mean_log_likelihood > plain.mean_log_likelihood - 1e-4
    starts = gx.stack([start, start])
    # A number of steps: where a slow fit stops is a matter of rounding.
    run = lambda m: gx.fit(m, x, solver=gx.EM(0.0, 30), throw=False)
    lanes, alone = eqx.filter_vmap(run)(starts), run(start)
    np.testing.assert_allclose(lanes.log_likelihood, alone.log_likelihood, 1e-5)


@pytest.mark.x32
def test_what_cannot_be_a_rank_is_refused():
    for rank in (0, -1):
        with pytest.raises(ValueError, match="`rank`"):
            gx.LowRank(rank)
    with pytest.raises(ValueError, match="`noise` must be one of 'diag', 'spherical'"):
        gx.LowRank(2, "full")
    with pytest.raises(ValueError, match="low_rank.*`LowRankCovariances`"):
        gx.GaussianMixture.from_squeezed([[0.0]], [[1.0]], [1.0], "low_rank")


@pytest.mark.x32
def test_saved_and_estimated(tmp_path, dtype):
    x = latent_data(100, 4, 1).astype(dtype)
    mixture = gx.fit_restarts(x, 2, gx.LowRank(2), 2, key=jr.key(0)).best.mixture
    gx.save(tmp_path / "mixture.safetensors", mixture)
    loaded = gx.load(tmp_path / "mixture.safetensors")
    assert type(loaded.covariances) is gx.families.LowRankCovariances
    for got, want in zip(leaves(loaded), leaves(mixture), strict=True):
        np.testing.assert_array_equal(got, want)
    estimator = Estimator(2, covariance_type=gx.LowRank(2), random_state=0).fit(x)
    assert estimator.covariances_.shape == (2, 4, 4)
    expected = estimator.mixture_.log_prob(x)
    np.testing.assert_allclose(estimator.score_samples(x), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="no covariance type"):
        estimator.to_sklearn()
