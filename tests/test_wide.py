"""The wide kernel against residuals, and fits that use it against scikit-learn."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.mixture

import gmmx_eqx as gx
from gmmx_eqx._em import choice
from gmmx_eqx._em.guard import amplification, is_accurate
from gmmx_eqx._em.wide import (
    expect_wide,
    is_worth_trying,
    wide_amplifications,
)

from .helpers import leaves, make_data, make_mixture


def about_pivot(mixture, source):
    return gx.GaussianMixture(
        mixture.weights, mixture.means - source.pivot, mixture.covariances
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (4, 9)])
@pytest.mark.parametrize("size", [64, 200])
def test_moments_are_those_of_residuals(shape, size, dtype):
    n_components, d = shape
    x = jnp.asarray(make_data(150, d), dtype)
    weight = jnp.asarray(np.arange(150) % 3, dtype)
    source = gx.InMemory.from_data(x, weight, size)
    mixture = about_pivot(make_mixture("full", n_components, d), source)
    u = mixture.covariances.whitening(mixture.n_features)
    got = expect_wide(mixture, source, u)
    expected = gx.expect(mixture, source, mixture.means)
    tol = 1e-10 if dtype == np.float64 else 3e-4
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, tol, tol * np.abs(b).max())


def test_it_is_used_and_only_by_auto(monkeypatch):
    few = make_mixture("full", 2, 32, dtype=np.float32)
    assert is_worth_trying(few)
    assert not is_worth_trying(make_mixture("full", 65, 32, dtype=np.float32))
    assert not is_worth_trying(make_mixture("full", 2, 16, dtype=np.float32))
    assert not is_worth_trying(make_mixture("diag", 2, 32, dtype=np.float32))
    calls = []
    record = lambda *args: calls.append(1) or expect_wide(*args)
    monkeypatch.setattr(choice, "expect_wide", record)
    source = gx.InMemory.from_data(jnp.asarray(make_data(90, 32), np.float32), None, 90)
    for kernel, expected in (("packed", 0), ("residual", 0), ("auto", 1)):
        calls.clear()
        step = gx.EMStep.create(few.covariances, source, gx.Ridge(1e-6), kernel)
        step(about_pivot(few, source))
        assert bool(calls) == expected, kernel


def test_fit_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1600, 32)) * rng.uniform(0.5, 2, size=32)
    x[::2, :4] += 100
    x = x.astype(np.float32)
    start = gx.GaussianMixture.from_labels(x, np.arange(1600) % 4)
    assert is_worth_trying(start)
    shift = start.means - jnp.mean(start.means, axis=1, keepdims=True)
    assert not is_accurate(amplification(start, shift))
    solver = gx.EM(tol=0.0, max_steps=8)
    got = gx.fit(start, x, solver=solver, reg_covar=1e-6, throw=False)
    assert got.n_residual_steps == 0
    weights = np.float64(start.weights_numpy)
    peer = sklearn.mixture.GaussianMixture(
        4,
        max_iter=8,
        tol=0.0,
        weights_init=weights / weights.sum(),
        means_init=np.float64(start.means_numpy),
        precisions_init=np.linalg.inv(np.float64(start.covariances.values_numpy)),
    )
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        peer.fit(np.float64(x))
    rtol = 1e-3
    mixture = got.mixture
    np.testing.assert_allclose(mixture.weights_numpy, peer.weights_, rtol)
    np.testing.assert_allclose(mixture.means_numpy, peer.means_, rtol, 10 * rtol)
    values = mixture.covariances.values_numpy
    np.testing.assert_allclose(values, peer.covariances_, rtol, 10 * rtol)


@pytest.mark.x64
@pytest.mark.parametrize("n_clusters", [2, 5])
@pytest.mark.parametrize("ratio", [1.0, 1e1, 1e2, 1e3, 1e4, 1e5])
def test_float32_is_that_of_float64_at_any_separation(ratio, n_clusters):
    """Clusters `ratio` widths apart: whichever kernel the guard lets through, the
    covariances are right."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 32)).astype(np.float32)
    label = np.arange(2000) * n_clusters // 2000
    x += np.float32(ratio) * np.eye(32, dtype=np.float32)[label]
    narrow = gx.GaussianMixture.from_labels(jnp.asarray(x), label)
    wide = gx.GaussianMixture.from_labels(jnp.asarray(x, jnp.float64), label)
    assert is_worth_trying(narrow) and not is_worth_trying(wide)
    fits = [
        gx.fit(m, data, solver=gx.EM(tol=0.0, max_steps=5), reg_covar=0.0, throw=False)
        for m, data in ((narrow, jnp.asarray(x)), (wide, jnp.asarray(x, jnp.float64)))
    ]
    values, expected = (np.float64(f.mixture.covariances.values_numpy) for f in fits)
    error = np.abs(values - expected).max(axis=(1, 2)) / expected.max(axis=(1, 2))
    # Samples about the pivot are themselves rounded to eps times their distance.
    assert error.max() < max(5e-5, 0.1 * ratio * np.finfo(np.float32).eps)
    assert (fits[0].n_residual_steps == 0) == (ratio <= 1e3), fits[0].n_residual_steps


@pytest.mark.parametrize("distance", [1.0, 8.0, 1e6])
def test_the_first_accurate_kernel_does_the_work(distance, monkeypatch):
    mixture = make_mixture("full", 5, 32, dtype=np.float32)
    mixture = eqx.tree_at(lambda m: m.means, mixture, distance * mixture.means)
    x = jnp.asarray(make_data(90, 32), np.float32)
    source = gx.InMemory.from_data(x, None, 90)
    step = gx.EMStep.create(mixture.covariances, source, gx.Ridge(1.0))
    names, used = ("packed", "wide"), []
    for name in names:
        kernel = getattr(choice, f"expect_{name}")

        def marked(*args, kernel=kernel, name=name):
            jax.debug.callback(lambda: used.append(name))
            return kernel(*args)

        monkeypatch.setattr(choice, f"expect_{name}", marked)
    # A function of its own, which nothing is known of yet.
    jax.block_until_ready(eqx.filter_jit(lambda m: step(m))(mixture))
    jax.effects_barrier()
    assert used == {1.0: ["packed"], 8.0: ["wide"], 1e6: []}[distance]


def covariances_of(expectation):
    count, first, second = (
        np.float64(getattr(expectation.moments, name))[0]
        for name in ("count", "first", "second")
    )
    shift = first / count
    return second / count - shift * shift.swapaxes(1, 2)


@pytest.mark.x64
def test_errors_are_as_small_as_the_guard_takes_them_to_be():
    """In units of each covariance, against residuals in float64."""
    rng = np.random.default_rng(0)
    d, n_components, n = 32, 4, 2048
    eps = float(np.finfo(np.float32).eps)
    run = eqx.filter_jit(lambda expect, *args: expect(*args))
    for separation in (1, 10, 100, 1000):
        for decades in (0.0, 1.5):
            bases = np.linalg.qr(rng.normal(size=(n_components, d, d)))[0]
            scales = 10 ** -rng.uniform(0, decades, (n_components, 1, d))
            factors = bases * scales
            label = np.arange(n) % n_components
            centres = separation * rng.normal(size=(n_components, d))
            noise = np.einsum("nij,nj->ni", factors[label], rng.normal(size=(n, d)))
            x = (centres[label] + noise).astype(np.float32)
            start = gx.GaussianMixture.from_labels(x, label)
            narrow, exact = (
                gx.GaussianMixture.from_squeezed(
                    start.means_numpy.astype(dtype),
                    (factors @ factors.swapaxes(1, 2)).astype(dtype),
                    np.full(n_components, 1 / n_components, dtype),
                )
                for dtype in (np.float32, np.float64)
            )
            sources = [
                gx.InMemory.from_data(jnp.asarray(x, m.means.dtype), None, n)
                for m in (narrow, exact)
            ]
            narrow, exact = map(about_pivot, (narrow, exact), sources)
            u = narrow.covariances.whitening(narrow.n_features)
            rule = gx.packing(narrow.covariances, sources[0])
            expected = covariances_of(run(gx.expect, exact, sources[1], exact.means))
            whitening = np.float64(exact.covariances.precisions_cholesky)[0]

            def error(expectation, expected=expected, whitening=whitening):
                difference = covariances_of(expectation) - expected
                error = whitening.swapaxes(1, 2) @ difference @ whitening
                return np.linalg.norm(error, ord=2, axis=(1, 2)).max()

            lost = float(wide_amplifications(narrow, 0 * narrow.means, u).max())
            packed = error(run(gx.expect_packed, narrow, sources[0], rule, u))
            wide = error(run(expect_wide, narrow, sources[0], u))
            assert wide < 0.8 * eps * lost, (separation, decades, wide, lost)
            assert wide < packed / 10, (separation, decades, wide, packed)


def test_amplification_grows_with_the_distance_not_its_square():
    def at(distance):
        mixture = gx.GaussianMixture.from_squeezed(
            [[-distance], [distance]], [[[1.0]], [[1.0]]], [0.5, 0.5], "full"
        )
        u = mixture.covariances.whitening(mixture.n_features)
        return float(wide_amplifications(mixture, 0 * mixture.means, u).max())

    np.testing.assert_allclose(at(1e3) / at(1e2), 10, rtol=1e-2)
