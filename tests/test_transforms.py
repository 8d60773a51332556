"""A mixture under the transformations of JAX and Equinox, and fits under `vmap`."""

import dataclasses
import functools as ft
import pickle
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, families_in_turn, leaves, make_data, make_mixture


METHODS = "estimate_log_prob log_prob score_samples predict predict_proba score aic bic"


def assert_same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def assert_close(got, expected, rtol):
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol, rtol * np.abs(other).max())


def rounding(x) -> float:
    return 1000 * float(jnp.finfo(x.dtype).eps)


def stack(trees):
    return jax.tree.map(lambda *parts: jnp.stack(parts), *trees)


@pytest.mark.x64
@every_family
def test_jit(name):
    mixture = make_mixture(name)
    x = jnp.asarray(make_data(20))
    assert_same(jax.jit(lambda mixture: mixture)(mixture), mixture)
    got = jax.jit(lambda mixture, x: mixture.log_prob(x))(mixture, x)
    assert_close(got, mixture.log_prob(x), rounding(x))
    method = eqx.filter_jit(mixture.log_prob)(x)
    assert_close(method, mixture.log_prob(x), rounding(x))


@pytest.mark.x64
@every_family
def test_grad_is_a_mixture(name):
    mixture = make_mixture(name)
    x = jnp.asarray(make_data(20))
    of_score = jax.jit(jax.grad(lambda mixture, x, weight: mixture.score(x, weight)))
    gradient = of_score(mixture, x, None)
    assert jax.tree.structure(gradient) == jax.tree.structure(mixture)
    uphill = jax.tree.map(lambda leaf, slope: leaf + 1e-3 * slope, mixture, gradient)
    assert uphill.score(x) > mixture.score(x)
    # A sample of weight zero may hold anything.
    got = of_score(mixture, x.at[0].set(jnp.nan), jnp.ones(20).at[0].set(0))
    assert_close(got, of_score(mixture, x[1:], None), rounding(x))


@pytest.mark.x64
@every_family
def test_scan_over_steps(name):
    x = jnp.asarray(make_data(60))
    mixture = make_mixture(name)

    def improve(mixture, _):
        new = mixture.update_parameters(x, mixture.predict_proba(x))
        return new, mixture.score(x)

    last, scores = jax.lax.scan(improve, mixture, length=3)
    expected = mixture
    for score in scores:
        np.testing.assert_allclose(score, expected.score(x), rounding(x))
        expected, _ = improve(expected, None)
    assert_close(last, expected, rounding(x))


@pytest.mark.x32
@every_family
def test_tree_map_to_anything(name):
    mixture = make_mixture(name)
    marker = object()
    for value in (None, marker, "text", 1):
        replaced = jax.tree.map(lambda _, value=value: value, mixture)
        assert type(replaced) is gx.GaussianMixture
        assert replaced.weights is value
        assert replaced.covariances.values is value
    doubled = jax.tree.map(lambda leaf: 2 * leaf, mixture)
    np.testing.assert_array_equal(doubled.means, 2 * mixture.means)


@pytest.mark.x64
@every_family
def test_equinox_tools(name):
    mixture = make_mixture(name)
    x = jnp.asarray(make_data(20))
    arrays, rest = eqx.partition(mixture, eqx.is_array)
    assert jax.tree.leaves(rest) == []
    assert_same(eqx.combine(arrays, rest), mixture)

    only_means = eqx.tree_at(
        lambda m: m.means, jax.tree.map(lambda _: False, mixture), True
    )
    trainable, frozen = eqx.partition(mixture, only_means)
    gradient = jax.grad(lambda part: eqx.combine(part, frozen).score(x))(trainable)
    assert gradient.weights is None and gradient.covariances.values is None
    assert np.all(gradient.means != 0)

    shapes = eqx.filter_eval_shape(gx.GaussianMixture.create, 3, 2, name)
    template = gx.GaussianMixture.create(3, 2, name)
    as_shape = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    assert jax.tree.map(as_shape, template) == shapes
    assert (shapes.n_components, shapes.n_features) == (3, 2)
    assert shapes.n_parameters == template.n_parameters

    moved = eqx.tree_at(lambda m: m.means, mixture, mixture.means + 1)
    assert_close(moved.log_prob(x + 1), mixture.log_prob(x), rounding(x))
    replaced = dataclasses.replace(mixture, means=mixture.means + 1)
    assert_same(replaced, moved)


@pytest.mark.x32
@every_family
def test_pickle(name):
    mixture = make_mixture(name)
    assert_same(pickle.loads(pickle.dumps(mixture)), mixture)


@pytest.mark.x64
@every_family
@pytest.mark.parametrize("n_leading", [1, 2])
def test_ensemble(name, n_leading):
    mixtures = [make_mixture(name, seed=seed) for seed in range(4)]
    x = jnp.asarray(make_data(20))
    ensemble = stack(mixtures)
    log_prob = eqx.filter_vmap(lambda mixture: mixture.log_prob(x))
    if n_leading == 2:
        ensemble = jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), ensemble)
        log_prob = eqx.filter_vmap(log_prob)
    one = mixtures[0]
    assert (ensemble.n_components, ensemble.n_features) == (3, 2)
    assert ensemble.n_parameters == one.n_parameters
    for fact in ("n_components", "n_features", "n_parameters"):
        assert getattr(ensemble.covariances, fact) == getattr(one.covariances, fact)
    expected = jnp.stack([mixture.log_prob(x) for mixture in mixtures])
    assert_close(log_prob(ensemble).reshape(4, 20), expected, rounding(x))


@pytest.mark.x32
@every_family
def test_methods_of_an_ensemble_say_what_to_do(name):
    ensemble = stack([make_mixture(name, seed=seed) for seed in range(4)])
    x = jnp.asarray(make_data(20))
    resp = jnp.full((20, 3), 1 / 3)
    calls = [
        *(getattr(ensemble, method) for method in METHODS.split()),
        ensemble.icl,
        lambda x: ensemble.sample(jr.key(0), 5),
        lambda x: ensemble.update_parameters(x, resp),
        lambda x: ensemble.to_sklearn(),
        lambda x: gx.fit(ensemble, x),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="filter_vmap"):
            call(x)


def fit_lane(name, key, x, weight, tol, max_steps, ridge):
    """A start of its own and a fit of its own."""
    mixture = gx.GaussianMixture.from_initialiser(
        gx.RandomPoints(), x, 3, key=key, covariance_type=name, sample_weight=weight
    )
    solver = gx.EM(tol, max_steps)
    return gx.fit(
        mixture, x, sample_weight=weight, solver=solver, reg_covar=ridge, throw=False
    )


@eqx.filter_jit
def fit_lanes(name, *lanes):
    return eqx.filter_vmap(ft.partial(fit_lane, name))(*lanes)


def make_lanes():
    x = jnp.asarray(make_data(100))
    return (
        jr.split(jr.key(0), 4),
        jnp.stack([x, x, x + 3, 2 * x]),
        jnp.asarray(np.random.default_rng(0).uniform(size=(4, 100))),
        jnp.asarray([1e-1, 1e-4, 0.0, 1e-3]),
        jnp.asarray([60, 60, 2, 60]),
        jnp.asarray([0.1, 0.1, 0.2, 0.3]),
    )


@families_in_turn
def test_vmap_of_fits_is_a_loop(name):
    lanes = make_lanes()
    together = fit_lanes(name, *lanes)
    one_by_one = [fit_lane(name, *lane) for lane in zip(*lanes, strict=True)]
    for i, expected in enumerate(one_by_one):
        got = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        assert got.n_steps == expected.n_steps
        assert got.result == expected.result
        history = slice(int(got.n_steps) + 1)
        assert_close(
            (got.mixture, got.log_likelihoods[history]),
            (expected.mixture, expected.log_likelihoods[history]),
            rounding(lanes[1]),
        )
    # Each lane has its own number of steps and its own end.
    assert together.converged.tolist() == [True, True, False, True]
    exhausted = together.result == gx.RESULTS.max_steps_reached
    assert exhausted.tolist() == [False, False, True, False]
    assert len(set(together.n_steps.tolist())) > 1


@pytest.mark.x32
@every_family
def test_a_bad_lane_leaves_the_others_alone(name):
    key, x, *rest = make_lanes()
    good = fit_lanes(name, key, x, *rest)
    bad = fit_lanes(name, key, x.at[1, 5, 0].set(jnp.nan), *rest)
    is_bad = bad.result == gx.RESULTS.nonfinite
    assert is_bad.tolist() == [False, True, False, False]
    others = jnp.array([0, 2, 3])
    pick = lambda leaf: leaf[others]
    assert_same(jax.tree.map(pick, bad), jax.tree.map(pick, good))


@pytest.mark.x32
def test_settings_do_not_recompile(monkeypatch, dtype):
    module = sys.modules[gx.fit.__module__]
    counted = eqx.debug.assert_max_traces(module._fit.__wrapped__, max_traces=1)
    monkeypatch.setattr(module, "_fit", eqx.filter_jit(counted))
    x = make_data(100)
    settings = [
        (x, 1e-2, 40, 0.1, False),
        (x + 1, 1e-3, 50, 0.2, False),
        (jnp.asarray(x), jnp.asarray(0.1), jnp.asarray(60), jnp.asarray(1.0), False),
        (x.tolist(), np.float32(0.1), np.int64(45), np.float32(0.5), True),
        (x.astype(dtype), 1, 63, 1, True),
    ]
    for seed, (data, tol, max_steps, reg_covar, throw) in enumerate(settings):
        mixture = make_mixture("full", seed=seed)
        solver = gx.EM(tol, max_steps)
        gx.fit(mixture, data, solver=solver, reg_covar=reg_covar, throw=throw)
    # The counter counts.
    with pytest.raises(RuntimeError, match="can only be traced"):
        gx.fit(make_mixture("full"), x[:50])
