"""Restarts, batches, ensembles: many fits as one program."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import sklearn.datasets

import gmmx_eqx as gx

from .helpers import (
    counted,
    families_in_turn,
    leaves,
    make_data,
    make_mixture,
    old_faithful,
)


def assert_same(got, expected, rtol):
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        scale = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol, rtol * scale)


@families_in_turn
def test_each_restart_is_the_fit_done_alone(name):
    x = jnp.asarray(make_data(120))
    keys = jr.split(jr.key(0), 6)
    solver = gx.EM(tol=1e-4, max_steps=50)
    population = gx.fit_restarts(
        x, 3, name, n_restarts=6, key=jr.key(0), solver=solver, width=4
    )
    for lane, key in enumerate(keys):
        start = gx.GaussianMixture.from_initialiser(
            gx.Mixed(turn=lane), x, 3, key=key, covariance_type=name
        )
        alone = gx.fit(start, x, solver=solver, throw=False)
        solution = population[lane]
        assert solution.n_steps == alone.n_steps
        assert bool(solution.result == alone.result)
        rtol = 1e-9 if x.dtype == np.float64 else 2e-3
        assert_same(solution.mixture, alone.mixture, rtol)


@pytest.mark.x32
def test_the_pool_does_not_compute_lanes_that_have_ended():
    x = old_faithful()
    population = gx.fit_restarts(x, 3, "full", n_restarts=64, key=jr.key(0), width=8)
    n_steps = np.asarray(population.solutions.n_steps) + 1
    computed = int(population.n_turns) * population.width
    # Slots can wait for each other only when no lane is left to begin.
    assert n_steps.sum() <= computed <= n_steps.sum() + population.width * n_steps.max()
    assert computed < n_steps.max() * len(population)  # what a plain vmap computes


@pytest.mark.x32
def test_restarts_find_the_best_of_iris_for_every_key():
    x = sklearn.datasets.load_iris().data
    for seed in range(5):
        population = gx.fit_restarts(
            x,
            5,
            "spherical",
            n_restarts=20,
            key=jr.key(seed),
            solver=gx.EM(tol=1e-8, max_steps=4000),
            reg_covar=0.0,
        )
        np.testing.assert_allclose(population.best.log_likelihood, -298.647, atol=2e-2)


@pytest.mark.x32
def test_the_number_of_restarts_has_an_effect():
    x = make_data(200, n_clusters=8)
    run = lambda n, seed: gx.fit_restarts(x, 8, "full", n, key=jr.key(seed), width=4)
    singles = [run(1, seed) for seed in range(4)]
    assert {len(single) for single in singles} == {1}
    many = run(24, 3)
    assert len(many) == 24
    values = np.asarray(many.solutions.log_likelihood)
    assert len(np.unique(values)) > 4
    # Of fits that differ by rounding alone, the best is the first.
    rounding = 64 * np.finfo(values.dtype).eps * abs(values.max())
    assert many.best.log_likelihood >= values.max() - rounding
    # Nats, far more than what `tol` leaves open.
    assert many.best.log_likelihood > np.median(values) + 1
    worst = min(float(single.best.log_likelihood) for single in singles)
    assert many.best.log_likelihood > worst + 1


@pytest.mark.x64
def test_label_switching_does_not_split_an_optimum():
    x = old_faithful()
    solver = gx.EM(tol=1e-7, max_steps=2000)
    # Other starts find further optima.
    options = {"solver": solver, "initialiser": gx.KMeans()}
    population = gx.fit_restarts(x, 2, "full", 16, key=jr.key(0), **options)
    first = np.asarray(population.solutions.mixture.means)[:, 0, 0, 0, 0]
    assert len(np.unique(np.round(first))) > 1  # the labels are switched in some lanes
    (optimum,) = population.optima()
    assert optimum.count == 16
    assert population.chance_of_new() == 0
    assert population.chance_of_better() == 0


@pytest.mark.x32
def test_chances_by_hand():
    """Three optima hit 1, 1 and 4 times, the best of them once."""
    x = old_faithful()
    population = gx.fit_restarts(
        x, 2, "full", 6, key=jr.key(0), initialiser=gx.KMeans()
    )
    shift = jnp.asarray([2.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    values = population.solutions.mean_log_likelihood
    population = eqx.tree_at(
        lambda p: p.solutions.mean_log_likelihood,
        population,
        values + shift.astype(values.dtype),
    )
    assert [optimum.count for optimum in population.optima()] == [1, 1, 4]
    assert population.chance_of_new() == pytest.approx(2 / 6)
    # Of all ordered choices of 2 lanes and one more: the best last, or the second last
    # after two of the four.
    expected = 1 / 6 + (1 / 6) * (4 * 3) / (5 * 4)
    assert population.chance_of_better(after=2) == pytest.approx(expected)
    assert population.chance_of_better(after=5) == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="`after`"):
        population.chance_of_better(after=6)


@families_in_turn
def test_batches_are_a_loop(name):
    xs = np.stack([make_data(60, seed=seed) for seed in range(5)])
    key = jr.key(1)
    solver = gx.EM(tol=1e-4, max_steps=60)
    solutions = gx.fit_batch(xs, 2, name, key=key, solver=solver, width=3)
    keys = jr.split(key, (5, 1))[:, 0]
    for i in range(5):
        start = gx.GaussianMixture.from_k_means(
            xs[i], 2, key=keys[i], covariance_type=name
        )
        alone = gx.fit(start, xs[i], solver=solver, throw=False)
        lane = jax.tree.map(lambda leaf, i=i: leaf[i], solutions)
        assert lane.n_steps == alone.n_steps
        rtol = 1e-9 if alone.log_likelihood.dtype == np.float64 else 2e-3
        assert_same(lane.mixture, alone.mixture, rtol)


@pytest.mark.x64
def test_ragged_batches():
    xs = [make_data(n, seed=n) for n in (60, 45, 30)]
    solver = gx.EM(tol=1e-4, max_steps=60)
    ragged = gx.fit_batch(xs, 2, key=jr.key(0), solver=solver, n_restarts=8)
    for i, x in enumerate(xs):
        lane = jax.tree.map(lambda leaf, i=i: leaf[i], ragged)
        assert lane.converged
        total = lane.mixture.score(x) * len(x)
        np.testing.assert_allclose(lane.log_likelihood, total, rtol=1e-5)
        # Nothing is left to gain on the data set alone, without what filled it up.
        more = gx.fit(lane.mixture, x, solver=solver)
        np.testing.assert_allclose(more.log_likelihood, total, atol=len(x) * 5e-4)


@pytest.mark.x32
def test_a_nan_stays_in_its_data_set():
    xs = np.stack([make_data(60, seed=seed) for seed in range(6)])
    broken = xs.copy()
    broken[2, 7, 1] = np.nan
    key = jr.key(0)
    whole = gx.fit_batch(xs, 2, key=key, width=6)
    partly = gx.fit_batch(broken, 2, key=key, width=6)
    assert bool((partly.result == gx.RESULTS.nonfinite)[2])
    for a, b in zip(leaves(partly), leaves(whole), strict=True):
        np.testing.assert_array_equal(np.delete(a, 2, axis=0), np.delete(b, 2, axis=0))


@pytest.mark.x32
def test_one_program_while_settings_and_data_change():
    x = make_data(100)
    run = lambda seed, tol, reg_covar: gx.fit_restarts(
        x + seed,
        2,
        n_restarts=4,
        key=jr.key(seed),
        solver=gx.EM(tol=tol, max_steps=40 + seed),
        reg_covar=reg_covar,
    )
    run(0, 1e-3, 1e-6)
    with counted() as compiled:
        for seed in range(1, 4):
            run(seed, 10.0**-seed, 10.0**-seed)
    assert not compiled


@pytest.mark.x32
def test_an_ensemble_knows_that_it_is_one():
    mixtures = [make_mixture("full", seed=seed) for seed in range(3)]
    ensemble = gx.stack(mixtures)
    assert len(ensemble) == 3
    assert (ensemble.n_components, ensemble.n_features) == (3, 2)
    for member, mixture in zip(ensemble, mixtures, strict=True):
        assert_same(member, mixture, 0.0)
    assert len(ensemble[1:]) == 2
    with pytest.raises(IndexError):
        ensemble[3]
    with pytest.raises(TypeError, match="single"):
        len(mixtures[0])
    with pytest.raises(ValueError, match="family or shape"):
        gx.stack([mixtures[0], make_mixture("diag")])
    with pytest.raises(ValueError, match="filter_vmap"):
        gx.fit(ensemble, make_data())
    x = make_data()
    values = eqx.filter_vmap(lambda mixture: mixture.score(x))(ensemble)
    expected = [float(mixture.score(x)) for mixture in mixtures]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.x64
def test_a_race_drops_all_but_the_best():
    x = make_data(150, n_clusters=5)
    options = {"key": jr.key(2), "n_restarts": 20, "solver": gx.EM(1e-6, 300)}
    every = gx.fit_restarts(x, 4, "full", **options).solutions
    raced = gx.fit_restarts(x, 4, "full", keep=5, short_steps=6, **options)
    status = np.asarray(raced.solutions.status)
    kept = np.flatnonzero(status != "dropped")
    # Known of a mixture is the log-likelihood before its last step.
    histories = np.asarray(every.log_likelihoods)[:, 5]
    assert 5 <= len(kept) < 20
    # The best of all.
    assert set(np.argsort(-histories)[:5]) <= set(kept)
    for lane in kept:
        got, expected = raced[int(lane)], every[int(lane)]
        assert got.n_steps == expected.n_steps and got.status == expected.status
        assert_same(got.mixture, expected.mixture, 1e-9)
    dropped = raced.solutions[status == "dropped"]
    assert np.all(np.asarray(dropped.n_steps) == 6)
    assert raced.best.converged
    # Whoever was dropped says nothing about optima.
    assert sum(optimum.count for optimum in raced.optima()) == len(kept)
    assert np.isnan([raced.chance_of_new(), raced.chance_of_better()]).all()


@pytest.mark.x32
def test_a_race_that_keeps_all_is_none():
    x = make_data(90)
    options = {"key": jr.key(2), "n_restarts": 5, "solver": gx.SQUAREM(1e-4, 200)}
    every = gx.fit_restarts(x, 3, "diag", **options)
    raced = gx.fit_restarts(x, 3, "diag", keep=9, short_steps=2, **options)
    assert list(raced.solutions.status) == list(every.solutions.status)
    assert list(raced.solutions.n_steps) == list(every.solutions.n_steps)
    np.testing.assert_allclose(
        raced.solutions.log_likelihood, every.solutions.log_likelihood, rtol=1e-4
    )
