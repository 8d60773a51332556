"""EM against scikit-learn from the same start, and against published figures."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.mixture

import gmmx_eqx as gx

from .helpers import (
    every_family,
    every_sklearn_family,
    FAMILIES,
    families_in_turn,
    make_data,
    old_faithful,
    start,
)


pytestmark = pytest.mark.optimised


def sklearn_steps(mixture, x, n_steps, reg_covar):
    """scikit-learn's EM in float64 from the parameters of `mixture`."""
    cov = mixture.covariances
    u = np.float64(cov.precisions_cholesky_numpy)
    has_matrices = cov.type in ("full", "tied")
    precisions = u @ u.swapaxes(-1, -2) if has_matrices else u**2
    weights = np.float64(mixture.weights_numpy)
    estimator = sklearn.mixture.GaussianMixture(
        mixture.n_components,
        covariance_type=str(cov.type),
        tol=0.0,
        reg_covar=reg_covar,
        max_iter=n_steps,
        weights_init=weights / weights.sum(),
        means_init=np.float64(mixture.means_numpy),
        precisions_init=precisions,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        return estimator.fit(np.float64(x))


@every_sklearn_family
@pytest.mark.parametrize("n_steps", [1, 7])
@pytest.mark.parametrize("reg_covar", [0.0, 1e-3])
def test_same_steps_as_sklearn(name, n_steps, reg_covar, dtype):
    x = make_data(300, n_features=3).astype(dtype)
    mixture = start(name, x, 4)
    solution = gx.fit(
        mixture,
        x,
        solver=gx.EM(tol=0.0, max_steps=n_steps),
        reg_covar=reg_covar,
        throw=False,
    )
    assert solution.n_steps == n_steps
    expected = sklearn_steps(mixture, x, n_steps, reg_covar)
    rtol = 1e-8 if dtype == np.float64 else 1e-4
    got = solution.mixture
    np.testing.assert_allclose(got.weights_numpy, expected.weights_, rtol)
    scale = np.abs(expected.means_).max()
    np.testing.assert_allclose(got.means_numpy, expected.means_, rtol, rtol * scale)
    scale = np.abs(expected.covariances_).max()
    np.testing.assert_allclose(
        got.covariances.values_numpy, expected.covariances_, rtol, rtol * scale
    )
    total = expected.score(np.float64(x)) * len(x)
    np.testing.assert_allclose(solution.log_likelihood, total, rtol)


def test_published_steps_on_waiting_times():
    """Totals after 0, 1, 2, 3 steps of the tied model on the waiting times."""
    x = old_faithful()[:, 1:]
    mixture = gx.GaussianMixture.from_squeezed(
        [[55.0], [80.0]], [[25.0]], [0.5, 0.5], "tied"
    )
    solution = gx.fit(
        mixture,
        x,
        solver=gx.EM(tol=0.0, max_steps=3),
        reg_covar=0.0,
        throw=False,
    )
    published = [-1051.0896, -1034.1739, -1034.0139, -1034.0028]
    np.testing.assert_allclose(solution.log_likelihoods[:4], published, atol=3e-4)


def test_published_answer_on_old_faithful(getkey, dtype):
    """The best model by BIC: tied covariances, three components (mclust's EEE, 3)."""
    x = old_faithful()
    fits = [
        gx.fit(
            gx.GaussianMixture.from_k_means(x, 3, key=getkey(), covariance_type="tied"),
            x,
            solver=gx.EM(tol=1e-9, max_steps=5000),
            reg_covar=0.0,
        )
        for _ in range(5)
    ]
    best = max(fits, key=lambda solution: float(solution.log_likelihood))
    # In float32 a total of a thousand nats is known to a few hundredths, after the
    # steps that no longer change it.
    atol = 2e-3 if dtype == np.float64 else 3e-2
    np.testing.assert_allclose(best.log_likelihood, -1126.3159, atol=atol)
    np.testing.assert_allclose(best.mixture.bic(x), 2314.3, atol=0.1)


@every_family
def test_likelihood_never_falls(name, getkey):
    x = make_data(400, n_features=3, n_clusters=4)
    initialiser = gx.RandomResponsibilities()
    mixture = gx.GaussianMixture.from_initialiser(
        initialiser, x, 4, key=getkey(), covariance_type=name, reg_covar=0.0
    )
    solver = gx.EM(tol=0.0, max_steps=60)
    solution = gx.fit(mixture, x, solver=solver, reg_covar=0.0, throw=False)
    history = np.float64(solution.log_likelihoods[: int(solution.n_steps) + 1])
    assert len(history) > 5
    rounding = 10 * np.finfo(solution.log_likelihood.dtype).eps * np.abs(history[-1])
    assert np.all(np.diff(history) > -rounding)


@pytest.mark.x64
@every_family
def test_history_is_of_the_mixtures_on_the_way(name):
    x = make_data()
    mixture = start(name, x, 3)
    solution = gx.fit(mixture, x, solver=gx.EM(tol=0.0, max_steps=4), throw=False)
    assert len(set(solution.log_likelihoods[:5].tolist())) == 5
    assert np.all(solution.log_likelihoods[5:] == solution.log_likelihood)
    for n_steps in range(5):
        part = gx.fit(mixture, x, solver=gx.EM(0.0, n_steps), throw=False)
        total = part.mixture.score(x) * len(x)
        np.testing.assert_allclose(part.log_likelihood, total, rtol=1e-5)
        np.testing.assert_allclose(
            part.log_likelihood, solution.log_likelihoods[n_steps], rtol=1e-5
        )
        np.testing.assert_allclose(
            part.mean_log_likelihood * len(x), part.log_likelihood, rtol=1e-6
        )


@pytest.mark.x64
@pytest.mark.parametrize("name", FAMILIES)
def test_sample_weight_is_multiplicity(name, getkey):
    x = jnp.asarray(make_data(150))
    weight = np.tile([0.0, 1.0, 2.0], 50)
    mixture = start(name, x, 3)
    solver = gx.EM(tol=0.0, max_steps=10)
    weighted = gx.fit(mixture, x, sample_weight=weight, solver=solver, throw=False)
    repeated = gx.fit(
        mixture, jnp.repeat(x, weight.astype(int), axis=0), solver=solver, throw=False
    )
    rtol = 1e4 * float(jnp.finfo(x.dtype).eps)
    for got, expected in zip(
        (weighted.mixture.means, weighted.mixture.covariances.values),
        (repeated.mixture.means, repeated.mixture.covariances.values),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol, rtol)
    np.testing.assert_allclose(weighted.log_likelihood, repeated.log_likelihood, 1e-5)


@families_in_turn
def test_chunks_do_not_matter(name):
    x = make_data(333, n_features=3)
    mixture = start(name, x, 3)
    solver = gx.EM(tol=0.0, max_steps=5)
    whole = gx.fit(mixture, x, solver=solver, throw=False)
    parts = gx.fit(mixture, x, solver=solver, samples_per_chunk=64, throw=False)
    rtol = 1e3 * float(jnp.finfo(whole.log_likelihood.dtype).eps)
    values = lambda s: s.mixture.covariances.values
    np.testing.assert_allclose(values(parts), values(whole), rtol, rtol)
    np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, rtol)
