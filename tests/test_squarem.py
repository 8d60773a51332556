"""Squared extrapolation against plain EM."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._em.chart import Chart

from .helpers import every_family, leaves, make_data, make_mixture, start


def overlapping(n_samples=600):
    """Components two standard deviations apart, where EM crawls."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_samples, 2))
    x[: n_samples // 2, 0] += 2
    return jnp.asarray(x, dtype=float)


def both(begin, x, **options):
    return tuple(
        gx.fit(begin, x, solver=solver(**options), reg_covar=0.0, throw=False)
        for solver in (gx.EM, gx.SQUAREM)
    )


# In float32 rounding ends both long before.
@pytest.mark.x64
@every_family
def test_it_ends_at_least_as_high_in_fewer_steps(name):
    x = overlapping()
    tol = 1e-8
    plain, squared = both(start(name, x, 2), x, tol=tol, max_steps=20_000)
    assert plain.converged and squared.converged
    # Neither ends at the maximum: the gain of a step is small, not that of all to come.
    slack = 10 * tol * len(x)
    assert squared.log_likelihood >= plain.log_likelihood - slack
    assert squared.n_steps < plain.n_steps


@every_family
@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_never_falls(name, seed):
    x = jnp.asarray(make_data(300, 3, n_clusters=4, seed=seed), dtype=float)
    solver = gx.SQUAREM(tol=0.0, max_steps=60)
    solution = gx.fit(start(name, x, 4), x, solver=solver, reg_covar=0.0, throw=False)
    history = np.asarray(solution.log_likelihoods)[: int(solution.n_steps) + 1]
    assert np.all(np.isfinite(history))
    relative = 1e-12 if history.dtype == np.float64 else 6e-5
    rounding = relative * np.abs(history).max()
    assert np.all(np.diff(history) >= -rounding)
    np.testing.assert_allclose(
        solution.mixture.score(x), solution.mean_log_likelihood, rtol=1e-5
    )


@pytest.mark.x64
@pytest.mark.parametrize("max_steps", range(8))
def test_it_keeps_to_max_steps(max_steps):
    """And ends where the likelihood is the best so far, wherever in a cycle that is."""
    x = overlapping()
    solver = gx.SQUAREM(tol=0.0, max_steps=max_steps)
    solution = gx.fit(start("full", x, 2), x, solver=solver, throw=False)
    assert solution.n_steps == max_steps
    assert solution.result == gx.RESULTS.max_steps_reached
    known = np.asarray(solution.log_likelihoods)[: max_steps + 1]
    np.testing.assert_allclose(known.max(), solution.log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(
        solution.mixture.score(x), solution.mean_log_likelihood, rtol=1e-5
    )


@pytest.mark.x64
def test_a_leap_that_does_not_help_is_dropped():
    """With a step that is judged badly whenever it follows a leap, only the steps of
    plain EM remain."""
    x = overlapping(200)
    begin = start("full", x, 2)
    source = gx.extend.InMemory.from_data(x, None, 200)
    step = gx.extend.EMStep.create(begin.covariances, source, gx.Ridge(0.0))
    solver = gx.SQUAREM(tol=0.0, max_steps=9)

    @eqx.filter_jit
    def advance(mixture, leap, state):
        def reluctant(mixture):
            new, info = step(mixture)
            worse = jnp.where(leap, -jnp.inf, info.log_likelihood)
            return new, eqx.tree_at(lambda i: i.log_likelihood, info, worse)

        return solver.step(reluctant, mixture, state)

    plain = eqx.filter_jit(step)
    state = solver.init(begin)
    y = expected = begin
    for _ in range(3):
        for phase in range(3):
            assert state.phase == phase
            leap = jnp.asarray(phase == 2)
            y, state = advance(y, leap, state)
            if phase < 2:
                expected, _ = plain(expected)
        for got, want in zip(leaves(y), leaves(expected), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6)
    assert not state.record.stop and state.record.n_steps == 9


@pytest.mark.x64
@every_family
def test_units_do_not_matter(name):
    x = overlapping()
    solver = gx.SQUAREM(tol=0.0, max_steps=12)
    options = {"solver": solver, "reg_covar": 0.0, "throw": False}
    begin = start(name, x, 2)
    factor = 2.0**20
    wide = gx.GaussianMixture(
        begin.weights,
        factor * begin.means,
        eqx.tree_at(
            lambda c: c.values, begin.covariances, factor**2 * begin.covariances.values
        ),
    )
    narrow = gx.fit(begin, x, **options)
    scaled = gx.fit(wide, factor * x, **options)
    rtol = 1e-8 if x.dtype == np.float64 else 1e-3
    np.testing.assert_allclose(
        scaled.mixture.means, factor * narrow.mixture.means, rtol, rtol * factor
    )


@every_family
def test_the_chart_there_and_back(name, dtype):
    mixture = make_mixture(name, 3, 4)
    mixture = eqx.tree_at(
        lambda m: m.weights, mixture, jnp.asarray([0.4, 0.0, 0.6]).reshape(1, 3, 1, 1)
    )
    scale = jnp.sqrt(make_mixture(name, 3, 4, seed=1).covariances.variances)
    back = Chart.of(mixture, scale).mixture(mixture, scale)
    for got, want in zip(leaves(back), leaves(mixture), strict=True):
        np.testing.assert_allclose(
            got, want, 1e3 * np.finfo(dtype).eps, 1e-6 * (dtype != np.float64)
        )
    assert back.weights[0, 1, 0, 0] == 0


class NearSamples(gx.extend.AbstractInitialiser):
    """Each sample to the nearest of three, that few random starts would choose."""

    scaling: gx.Scaling = eqx.field(static=True, default=gx.Scaling.auto)

    def partition_scaled(self, source, scaling, n_components, n_active, key):
        del n_components, n_active, key
        samples = source.columns[0][:, jnp.array([28, 410, 136])]
        return gx.extend.Partition(scaling=scaling, centres=(scaling @ samples).T)


@pytest.mark.x64
def test_a_collapse_after_a_leap_is_begun_again_without():
    """From this start, extrapolation passes a maximum by that plain EM finds."""
    x = overlapping()
    begin = gx.GaussianMixture.from_initialiser(NearSamples(), x, 3, key=jr.key(0))
    options = {"tol": 1e-8, "max_steps": 20_000}
    plain, squared = both(begin, x, **options)
    assert plain.converged and squared.converged
    np.testing.assert_allclose(squared.log_likelihood, plain.log_likelihood, rtol=1e-9)
    history = np.asarray(squared.log_likelihoods)[: int(squared.n_steps) + 1]
    falls = np.flatnonzero(np.diff(history) < -1e-9)
    assert len(falls) == 1
    # All plain steps, once more from the start.
    assert squared.n_steps == falls[0] + 1 + plain.n_steps


@pytest.mark.x64
@every_family
def test_lanes_are_the_fits_done_alone(name):
    x = jnp.asarray(make_data(200), dtype=float)
    starts = [start(name, x, 3, seed) for seed in range(3)]
    solver = gx.SQUAREM(tol=1e-4)
    run = lambda begin: gx.fit(begin, x, solver=solver, throw=False)
    lanes = eqx.filter_vmap(run)(gx.stack(starts))
    for i, begin in enumerate(starts):
        alone = run(begin)
        assert lanes.n_steps[i] == alone.n_steps
        assert lanes.converged[i] and alone.converged
        np.testing.assert_allclose(
            lanes.log_likelihood[i], alone.log_likelihood, rtol=1e-5
        )


@pytest.mark.x64
def test_restarts_and_selection_take_it():
    x = make_data(150)
    solver = gx.SQUAREM(tol=1e-4)
    options = {"solver": solver, "n_restarts": 4, "key": jr.key(0)}
    assert gx.fit_restarts(x, 3, **options).best.converged
    table = gx.select(x, [1, 2, 3], ["full"], **options)
    assert all(cell.status == "successful" for cell in table.cells)


@pytest.mark.x32
def test_a_nan_is_a_status():
    x = overlapping().at[3, 1].set(jnp.nan)
    begin = start("full", overlapping(), 2)
    run = eqx.filter_jit(lambda x: gx.fit(begin, x, solver=gx.SQUAREM(), throw=False))
    assert run(x).result == gx.RESULTS.nonfinite
