"""Packed features for most components and residuals for a few, against residuals for
all, and fits in float32 against float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._em import choice
from gmmx_eqx._em.guard import all_that_count
from gmmx_eqx._em.split import can_split, Split

from .helpers import leaves, make_data, make_mixture


FAMILIES = ["full", "diag", "spherical"]


def narrow_components(n_narrow, seed=0):
    """Sixteen clusters in 4 dimensions, some of a thousandth of the others' width."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(16, 4))
    width = np.where(np.arange(16) < n_narrow, 1e-3, 1.0)
    label = np.arange(3200) % 16
    noise = width[label, None] * rng.normal(size=(3200, 4))
    return (centres[label] + noise).astype(np.float32), label


def fits(name, n_narrow):
    """In float32, and in float64 of the same numbers by residuals."""
    x, label = narrow_components(n_narrow)
    solver = gx.EM(tol=0.0, max_steps=5)
    for dtype, kernel in ((np.float32, "auto"), (np.float64, "residual")):
        data = jnp.asarray(x, dtype)
        start = gx.GaussianMixture.from_labels(data, label, covariance_type=name)
        yield gx.fit(
            start, data, solver=solver, reg_covar=0.0, throw=False, kernel=kernel
        )


def error(got, expected):
    """Of the covariances, each in units of its own size."""
    values, exact = (np.float64(f.mixture.covariances.values) for f in (got, expected))
    axes = (0, 2, 3)
    return (np.abs(values - exact).max(axes) / np.abs(exact).max(axes)).max()


def test_it_is_for_many_components_with_covariances_of_their_own():
    assert all(can_split(make_mixture(name, 8)) for name in FAMILIES)
    assert not can_split(make_mixture("full", 7))
    assert not can_split(make_mixture("tied", 8))


def test_the_worst_are_found():
    mixture = make_mixture("diag", 17)
    values = mixture.covariances.values.at[0, (3, 11)].set(1e-8)
    mixture = eqx.tree_at(lambda m: m.covariances.values, mixture, values)
    split = Split.of(mixture, mixture.covariances.whitening(mixture.n_features))
    assert set(split.worst.tolist()) == {3, 11}
    assert np.flatnonzero(split.is_worst).tolist() == [3, 11]
    assert split.position[split.worst].tolist() == [0, 1]
    pivot = split.pivot(mixture)[0, :, :, 0]
    means = mixture.means[0, :, :, 0]
    np.testing.assert_array_equal(pivot[split.worst], means[split.worst])
    assert not pivot[~split.is_worst].any()


def test_components_that_are_not_numbers_are_the_worst():
    mixture = make_mixture("diag", 16)
    whitening = mixture.covariances.whitening(mixture.n_features)
    u = gx.Diagonal(whitening.scale.at[0, 5].set(jnp.nan), mixture.n_features)
    assert 5 in Split.of(mixture, u).worst
    # Those of weight zero are not: they need no moments.
    weights = mixture.weights.at[0, 5].set(0.0)
    empty = eqx.tree_at(lambda m: m.weights, mixture, weights / weights.sum())
    split = Split.of(empty, u)
    assert 5 not in split.worst
    good = split.is_accurate(mixture, 0 * mixture.means, u)
    assert not good[0, 5] and good.sum() == 15
    assert all_that_count(empty, good) and not all_that_count(mixture, good)


@pytest.mark.parametrize("name, d", [(name, 3) for name in FAMILIES] + [("full", 32)])
@pytest.mark.parametrize("size", [64, 200])
def test_moments_are_those_of_residuals(name, d, size, dtype):
    x = jnp.asarray(make_data(150, d), dtype)
    weight = jnp.asarray(np.arange(150) % 3, dtype)
    source = gx.InMemory.from_data(x, weight, size)
    mixture = make_mixture(name, 19, d)
    mixture = eqx.tree_at(lambda m: m.means, mixture, mixture.means - source.pivot)
    u = mixture.covariances.whitening(mixture.n_features)
    split = Split.of(mixture, u)
    pivot = split.pivot(mixture)
    rule = gx.packing(mixture.covariances, source)
    run = eqx.filter_jit(lambda fn, *args: fn(*args))
    got = run(split.expect, mixture, source, rule, u)
    expected = run(gx.expect, mixture, source, pivot)
    tol = 1e-10 if dtype == np.float64 else 3e-4
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, tol, tol * np.abs(b).max())


@pytest.mark.x64
@pytest.mark.parametrize("name", FAMILIES)
def test_few_narrow_components_need_no_residuals_of_all(name):
    for n_narrow in (1, 2):
        got, expected = fits(name, n_narrow)
        assert got.n_residual_steps == 0
        assert error(got, expected) < 2e-4, n_narrow


@pytest.mark.x64
@pytest.mark.parametrize("name", FAMILIES)
def test_many_narrow_components_do(name):
    got, expected = fits(name, 5)
    assert got.n_residual_steps == got.n_steps
    assert error(got, expected) < 2e-4


@pytest.mark.x64
def test_many_features():
    """Two of sixteen components far for their widths, in 32 dimensions."""
    rng = np.random.default_rng(0)
    label = np.arange(4800) % 16
    width = np.where(label < 2, 0.05, 1.0)[:, None]
    x = 2 * rng.normal(size=(16, 32))[label] + width * rng.normal(size=(4800, 32))
    x = x.astype(np.float32)
    solver = gx.EM(tol=0.0, max_steps=3)
    got, packed, expected = (
        gx.fit(
            gx.GaussianMixture.from_labels(jnp.asarray(x, dtype), label),
            jnp.asarray(x, dtype),
            solver=solver,
            reg_covar=0.0,
            throw=False,
            kernel=kernel,
        )
        for dtype, kernel in (
            (np.float32, "auto"),
            (np.float32, "packed"),
            (np.float64, "residual"),
        )
    )
    assert got.n_residual_steps == 0
    assert error(got, expected) < 5e-5 < error(packed, expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_does_the_work_where_packed_features_cannot(name, monkeypatch):
    x, label = narrow_components(1)
    start = gx.GaussianMixture.from_labels(jnp.asarray(x), label, covariance_type=name)
    source = gx.InMemory.from_data(jnp.asarray(x), None, len(x))
    start = eqx.tree_at(lambda m: m.means, start, start.means - source.pivot)
    step = gx.EMStep.create(start.covariances, source, gx.Ridge(0.0))
    used = []

    def mark(owner, attribute, label):
        kernel = getattr(owner, attribute)

        def marked(*args):
            jax.debug.callback(lambda: used.append(label))
            return kernel(*args)

        monkeypatch.setattr(owner, attribute, marked)

    mark(choice, "expect_packed", "packed")
    mark(Split, "expect", "split")
    # A function of its own, which nothing is known of yet.
    jax.block_until_ready(eqx.filter_jit(lambda m: step(m))(start))
    jax.effects_barrier()
    assert used == ["split"]
