"""Frozen parameters of EM stay put, and the rest is the most likely given them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import gmmx_eqx as gx

from .dense import scatter_about
from .helpers import (
    every_family,
    make_data,
    make_mixture,
    old_faithful,
    parameters,
    start,
)


MASKS = {
    "weights": {"weights": True},
    "one weight": {"weights": [True, False, False]},
    "means": {"means": True},
    "covariances": {"covariances": True},
    "some of each": {
        "weights": [False, True, False],
        "means": [True, False, False],
        "covariances": [True, False, True],
    },
    "mean of two": {"means": [True, True, False]},
    "all": {"weights": True, "means": True, "covariances": True},
}


def frozen_for(name, mask) -> gx.Frozen:
    mask = dict(mask)
    if name.startswith("tied") and np.ndim(mask.get("covariances", False)):
        del mask["covariances"]
    # Of one shape, so that all are one program.
    shapes = {
        "weights": 3,
        "means": 3,
        "covariances": () if name.startswith("tied") else 3,
    }
    full = {k: np.broadcast_to(mask.get(k, False), s) for k, s in shapes.items()}
    return gx.Frozen(**full)


def reference_step(name, mixture, x, weight, ridge, frozen):
    """An M-step in NumPy, one component and one sample at a time where it matters."""
    w, mu, sigma = parameters(mixture)
    x = np.float64(x)
    logs = [
        np.log(w[k]) + scipy.stats.multivariate_normal.logpdf(x, mu[k], sigma[k])
        for k in range(len(w))
    ]
    resp = scipy.special.softmax(np.stack(logs, 1), axis=1) * weight[:, None]
    counts = resp.sum(0)
    mask = {k: np.broadcast_to(np.asarray(v), len(w)) for k, v in vars(frozen).items()}
    new_w = np.where(mask["weights"], w, 0)
    rest = ~mask["weights"]
    new_w[rest] = counts[rest] / counts[rest].sum() * (1 - new_w.sum())
    new_mu = np.where(mask["means"][:, None], mu, resp.T @ x / counts[:, None])
    scatter = scatter_about(new_mu, x, resp, name) + ridge * np.eye(x.shape[1])
    return new_w, new_mu, np.where(mask["covariances"][:, None, None], sigma, scatter)


@pytest.mark.x64
@every_family
def test_a_step_is_the_most_likely_given_what_is_frozen(name):
    x, weight = make_data(150), np.random.default_rng(0).uniform(0.5, 2, 150)
    mixture = make_mixture(name)
    source = gx.extend.InMemory.from_data(jnp.asarray(x), jnp.asarray(weight), 64)
    centred = eqx.tree_at(lambda m: m.means, mixture, mixture.means - source.pivot)

    @eqx.filter_jit
    def advance(frozen):
        covariances = mixture.covariances
        step = gx.extend.EMStep.create(covariances, source, gx.Ridge(0.01), frozen)
        return step(centred)[0]

    for mask in MASKS.values():
        frozen = frozen_for(name, mask)
        expected = reference_step(name, mixture, x, weight, 0.01, frozen)
        got = advance(frozen)
        for one, want in zip(
            parameters(eqx.tree_at(lambda m: m.means, got, got.means + source.pivot)),
            expected,
            strict=True,
        ):
            np.testing.assert_allclose(one, want, rtol=1e-9, atol=1e-9)
        assert np.isclose(got.weights.sum(), 1, rtol=1e-12)


@pytest.mark.x64
def test_an_optimiser_finds_nothing_more_likely():
    """Of the expected complete log-likelihood, by BFGS over the free parameters."""
    x, mixture = make_data(150), make_mixture("full")
    resp = np.asarray(mixture.predict_proba(x))
    w, mu, sigma = parameters(mixture)
    # Frozen: the weight and the mean of the first component, the covariance of the
    # second.
    rows, cols = np.tril_indices(2)

    def from_free(free):
        logits, means, factors = np.split(free, [1, 5])
        rest = scipy.special.softmax([0, *logits]) * (1 - w[0])
        covariances = sigma.copy()
        for k, factor in zip((0, 2), factors.reshape(2, 3), strict=True):
            lower = np.zeros((2, 2))
            lower[rows, cols] = factor
            covariances[k] = lower @ lower.T
        all_means = np.stack([mu[0], *means.reshape(2, 2)])
        return np.array([w[0], *rest]), all_means, covariances

    def loss(free):
        weights, means, covariances = from_free(free)
        logs = [
            np.log(weights[k])
            + scipy.stats.multivariate_normal.logpdf(x, means[k], covariances[k])
            for k in range(3)
        ]
        return -np.mean(np.sum(resp * np.stack(logs, 1), axis=1))

    factors = np.linalg.cholesky(sigma)[[0, 2]][:, rows, cols]
    begin = np.concatenate([[0.0], mu[1:].ravel(), factors.ravel()])
    found = scipy.optimize.minimize(loss, begin, method="BFGS", tol=1e-8)
    frozen = gx.Frozen(
        weights=[True, False, False],
        means=[True, False, False],
        covariances=[False, True, False],
    )
    step = reference_step("full", mixture, x, np.ones(150), 0.0, frozen)
    for one, want in zip(from_free(found.x), step, strict=True):
        np.testing.assert_allclose(one, want, rtol=1e-4, atol=1e-4)


@pytest.mark.x32
@every_family
def test_frozen_parameters_stay_and_the_likelihood_never_falls(name, dtype):
    """Bit for bit; in one program under `vmap` over the masks."""
    x = jnp.asarray(make_data(150) + 100, dtype)
    begin = start(name, x, 3, seed=1)
    # Not where they would go by themselves.
    begin = eqx.tree_at(lambda m: m.means, begin, begin.means + jnp.asarray(0.3, dtype))
    masks = [frozen_for(name, mask) for mask in MASKS.values()]
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *masks)
    solver = gx.EM(tol=1e-7, max_steps=60)

    @eqx.filter_jit
    @eqx.filter_vmap
    def run(frozen):
        return gx.fit(
            begin, x, frozen=frozen, solver=solver, reg_covar=0.0, throw=False
        )

    solutions = run(ensemble)
    for lane, frozen in enumerate(masks):
        solution = jax.tree.map(lambda leaf, i=lane: leaf[i], solutions)
        for one, first, mask in (
            (solution.mixture.weights, begin.weights, frozen.weights),
            (solution.mixture.means, begin.means, frozen.means),
            (
                solution.mixture.covariances.values,
                begin.covariances.values,
                frozen.covariances,
            ),
        ):
            held = np.broadcast_to(np.reshape(mask, (1, -1, 1, 1)), one.shape)
            np.testing.assert_array_equal(
                np.where(held, one, 0), np.where(held, first, 0)
            )
        history = np.asarray(solution.log_likelihoods)[: int(solution.n_steps) + 1]
        rounding = 30 * float(jnp.finfo(dtype).eps) * np.abs(history).max()
        assert np.all(np.diff(history) > -rounding)
        assert np.isclose(solution.mixture.weights.sum(), 1)
        value = solution.mixture.score(x) * len(x)
        np.testing.assert_allclose(solution.log_likelihood, value, rtol=1e-4)
    # With all frozen there is nothing to do.
    assert solutions.n_steps[-1] <= 1
    assert np.all(solutions.result == gx.RESULTS.successful)


@pytest.mark.x64
def test_squarem_leaves_them_as_they_are():
    x = jnp.asarray(old_faithful())
    begin = start("diag", x, 3)
    frozen = gx.Frozen(weights=[True, False, False], means=[False, True, False])
    plain = gx.fit(begin, x, frozen=frozen, solver=gx.EM(tol=1e-7, max_steps=5000))
    fast = gx.fit(begin, x, frozen=frozen, solver=gx.SQUAREM(tol=1e-7, max_steps=2000))
    np.testing.assert_array_equal(fast.mixture.weights[:, 0], begin.weights[:, 0])
    np.testing.assert_array_equal(fast.mixture.means[:, 1], begin.means[:, 1])
    gap = fast.mean_log_likelihood - plain.mean_log_likelihood
    assert np.abs(gap) < 1e-3
    assert fast.n_steps < plain.n_steps


@pytest.mark.x64
def test_pin_keeps_the_proportions_of_other_weights():
    mixture, at = make_mixture("diag", seed=1), make_mixture("diag", seed=2)
    pinned = gx.Frozen(weights=[True, False, False]).pin(mixture, at)
    w, want = np.ravel(pinned.weights), np.ravel(mixture.weights)
    assert w[0] == at.weights[0, 0, 0, 0]
    np.testing.assert_allclose(w[1] / w[2], want[1] / want[2], rtol=1e-5)
    np.testing.assert_allclose(w.sum(), 1, rtol=1e-6)


@pytest.mark.x32
def test_what_cannot_be_frozen():
    x = old_faithful()
    begin = make_mixture("tied")
    with pytest.raises(ValueError, match="`Frozen.weights` must be boolean"):
        gx.Frozen(weights=[1, 0, 0])
    with pytest.raises(ValueError, match="`Frozen.means` must be one boolean or 3"):
        gx.fit(begin, x, frozen=gx.Frozen(means=[True, False]))
    with pytest.raises(ValueError, match="one covariance serves all components"):
        gx.fit(begin, x, frozen=gx.Frozen(covariances=[True, False, True]))
