"""Bootstraps, tests by them, and fits without each sample."""

import importlib

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_diabetes, load_iris, load_wine

import gmmx_eqx as gx
from gmmx_eqx._inference.matching import assignment, matched

from .helpers import leaves, make_data, make_mixture, old_faithful, start
from .test_standard_errors import (
    fit_of_faithful,
    in_order,
    INFORMATION,
    numbers,
    SANDWICH,
    TIGHT,
)


def relative(boot, solution, expected) -> np.ndarray:
    own = in_order(boot.standard_errors, solution.mixture)
    return own / numbers(expected) - 1


@pytest.mark.x64
@pytest.mark.parametrize(
    "kind, expected, within",
    [
        # The sandwich but for terms of 1 / n, which a component of 97 samples shows.
        ("jackknife", SANDWICH, 0.035),
        # 2 % is the standard deviation of one of 999, and a covariance's errors are
        # larger in 272 samples than in many.
        ("weighted", SANDWICH, 0.15),
        ("nonparametric", SANDWICH, 0.15),
        ("parametric", INFORMATION, 0.08),
    ],
)
def test_spread_is_near_the_standard_errors(kind, expected, within):
    solution = fit_of_faithful()
    key = jr.key(1)
    boot = gx.bootstrap(solution, old_faithful(), 999, key=key, kind=kind, **TIGHT)
    assert len(boot) == (272 if kind == "jackknife" else 999)
    assert boot.n_kept == len(boot)
    assert np.max(np.abs(relative(boot, solution, expected))) < within


@pytest.mark.x64
def test_jackknife_leaves_one_out():
    """A lane is the fit to the other samples."""
    x, solution = old_faithful()[:60], None
    solution = gx.fit(start("diag", x, 2), x, **TIGHT)
    boot = gx.bootstrap(solution, x, 999, key=jr.key(0), kind="jackknife", **TIGHT)
    assert len(boot) == 60
    for i in (0, 17, 59):
        other = gx.fit(solution.mixture, np.delete(x, i, axis=0), **TIGHT)
        own = boot.solutions[i].mixture
        for got, want in zip(leaves(own), leaves(other.mixture), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5)
    means = np.asarray(boot.values(lambda m: m.means_squeezed))
    expected = np.sqrt(59 / 60 * np.sum((means - means.mean(axis=0)) ** 2, axis=0))
    np.testing.assert_allclose(boot.standard_errors.means_squeezed, expected)
    few = gx.bootstrap(solution, x, 20, key=jr.key(0), kind="jackknife", **TIGHT)
    assert len(few) == 20
    lower, upper = few.interval(lambda m: m.means)
    assert np.all(lower < upper)


@pytest.mark.x64
def test_weights_of_a_bootstrap():
    """Of one Gaussian the mean of a fit is the weighted mean: its spread is known, and
    weights of two are two samples."""
    x = make_data(n_samples=50, n_clusters=1)
    weight = np.repeat([2.0, 1.0, 0.0], [20, 20, 10])
    solution = gx.fit(gx.GaussianMixture.create(1, 2), x, sample_weight=weight)
    repeated = np.repeat(x, weight.astype(int), axis=0)
    expected = repeated.std(axis=0) / np.sqrt(len(repeated))
    for kind in ("weighted", "nonparametric", "parametric"):
        boot = gx.bootstrap(
            solution, x, 2000, key=jr.key(3), kind=kind, sample_weight=weight
        )
        got = boot.standard_errors.means_squeezed[0]
        # Twice what 2000 leave to chance.
        np.testing.assert_allclose(got, expected, rtol=4 / np.sqrt(2 * 2000))
    with pytest.raises(ValueError, match="jackknife leaves out one"):
        gx.bootstrap(solution, x, key=jr.key(0), kind="jackknife", sample_weight=weight)


@pytest.mark.x64
def test_intervals():
    x = make_data(n_samples=50, n_clusters=1)
    solution = gx.fit(gx.GaussianMixture.create(1, 2), x)
    boot = gx.bootstrap(solution, x, 500, key=jr.key(3))
    fn = lambda m: {"mean": m.means[0, 0, 0, 0], "all": m}
    values = np.asarray(boot.values(fn)["mean"])
    own = float(solution.mixture.means[0, 0, 0, 0])
    low, high = np.quantile(values, (0.1, 0.9))
    ends = lambda method: [float(e["mean"]) for e in boot.interval(fn, 0.8, method)]
    np.testing.assert_allclose(ends("percentile"), [low, high])
    np.testing.assert_allclose(ends("basic"), [2 * own - high, 2 * own - low])
    width = 1.2815515655446004 * values.std(ddof=1)
    np.testing.assert_allclose(ends("normal"), [own - width, own + width])
    np.testing.assert_allclose(boot.bias(fn)["mean"], values.mean() - own)
    with pytest.raises(ValueError, match="`method` must be one of"):
        boot.interval(fn, method="bca")
    with pytest.raises(ValueError, match="`level` must be"):
        boot.interval(fn, 95)
    with pytest.raises(ValueError, match="`kind` must be one of"):
        gx.bootstrap(solution, x, key=jr.key(0), kind="wild")


@pytest.mark.x32
def test_failed_fits_do_not_count():
    x = old_faithful().astype(np.float32)
    solution = gx.fit(start("full", x, 2), x)
    solver = gx.EM(max_steps=2)
    boot = gx.bootstrap(solution, x, 50, key=jr.key(0), solver=solver)
    assert 0 < boot.n_kept < 50
    assert boot.n_kept == int(boot.solutions.converged.sum())
    assert len(boot.values(lambda m: m.weights)) == boot.n_kept
    assert "max_steps_reached" in repr(boot) and "Bootstrap: weighted, 50" in repr(boot)
    none = gx.bootstrap(
        solution, x, 50, key=jr.key(0), solver=gx.EM(max_steps=0), kind="nonparametric"
    )
    with pytest.raises(ValueError, match="Only 0 of 50 fits"):
        none.standard_errors  # noqa: B018


@pytest.mark.x64
def test_components_are_matched():
    mixture = make_mixture("full", 5, 2)
    rng = np.random.default_rng(0)
    orders = np.array([rng.permutation(5) for _ in range(8)])
    take = lambda i: jax.tree.map(lambda leaf: leaf[:, i], mixture)
    found = matched(gx.stack([take(order) for order in orders]), mixture)
    for leaf, own in zip(leaves(found), leaves(mixture), strict=True):
        np.testing.assert_array_equal(leaf, np.broadcast_to(own, leaf.shape))
    for n in (1, 2, 4, 7):
        cost = rng.exponential(size=(n, n))
        rows, columns = linear_sum_assignment(cost)
        own = assignment(cost)
        assert sorted(own) == list(range(n))
        assert cost[own, np.arange(n)].sum() == pytest.approx(cost[rows, columns].sum())


@pytest.mark.x64
def test_likelihood_ratio_of_old_faithful():
    """mclust's statistics, with its rule for when to stop: 1e-5 of the log-likelihood;
    and from a start that leads to the maximum that its own leads to."""
    tol = 1e-5 * 1131 / 272
    tests = gx.likelihood_ratio_test(
        old_faithful(),
        range(1, 4),
        n_boot=99,
        key=jr.key(0),
        initialiser=gx.Hierarchical(model="EEE"),
        solver=gx.EM(tol=tol),
        reg_covar=0.0,
    )
    first, second = tests
    assert first.statistic == pytest.approx(319.0654, abs=1e-3)
    assert first.p_value == 0.01
    assert second.statistic == pytest.approx(6.1305, abs=0.02)
    # About .58 of 999, of which the standard deviation in 99 is .05.
    assert 0.4 < second.p_value < 0.75
    assert tests.best.mixture.n_components == 2
    assert "319.065" in repr(tests)


@pytest.mark.x32
def test_what_cannot_be_tested():
    x = make_data(n_samples=30)
    for counts in (3, [2], [2, 1], "12"):
        with pytest.raises(ValueError, match="`n_components` must be"):
            gx.likelihood_ratio_test(x, counts, key=jr.key(0))


@pytest.mark.x64
@pytest.mark.parametrize(
    "data, family, k, has_prior",
    [
        ("faithful", "full", 2, False),
        ("iris", "full", 3, True),
        ("wine", "diag", 3, False),
        ("body", "full", 2, False),
        ("iris", "full", 3, False),
    ],
)
def test_leave_one_out_is_near_refits(data, family, k, has_prior):
    x = {
        "faithful": old_faithful,
        "iris": lambda: load_iris().data,
        "wine": lambda: load_wine().data[:, [0, 6, 9, 10, 12]],
        "body": lambda: load_diabetes().data[:, [2, 3, 8]] * 20,
    }[data]()
    prior = gx.Prior.from_data(x) if has_prior else None
    solution = gx.fit(start(family, x, k), x, prior=prior, **TIGHT)
    found = gx.leave_one_out(solution, x, prior=prior)
    options = {"solver": gx.SQUAREM(tol=1e-9), "prior": prior}
    boot = gx.bootstrap(solution, x, len(x), key=jr.key(0), kind="jackknife", **options)
    of_one = lambda m, row: m.log_prob(row[None])[0]
    refits = jax.vmap(of_one)(boot.solutions.mixture, jnp.asarray(x))
    assert float(found.score) == pytest.approx(float(jnp.mean(refits)), rel=0.01)
    # What a sample adds to its own density is seen.
    own = float(solution.mixture.score(x))
    assert own - found.score == pytest.approx(own - float(jnp.mean(refits)), rel=0.03)


@pytest.mark.x64
def test_leave_one_out_improves_the_largest_leverages(monkeypatch):
    """Where there is time for some; the others are as first order puts them."""
    x = old_faithful()
    solution = gx.fit(start("full", x, 2), x, **TIGHT)
    every = gx.leave_one_out(solution, x)
    module = importlib.import_module("gmmx_eqx._inference.leave_one_out")
    monkeypatch.setattr(module, "_products", lambda *_: module._PRODUCTS // 20)
    some = gx.leave_one_out(solution, x)
    largest = np.argsort(-np.asarray(every.leverages))[:20]
    np.testing.assert_array_equal(some.improved, largest)
    np.testing.assert_allclose(some.log_probs[largest], every.log_probs[largest])
    first = some.coordinates.chart()(some.shifts[100])
    assert 100 not in largest
    assert float(first.log_prob(x[100:101])[0]) == pytest.approx(some.log_probs[100])


@pytest.mark.x64
def test_leave_one_out_of_weights():
    """One of the two of a weight of two, and all of a half; zero is not there."""
    x = old_faithful()
    weight = np.resize([1.0, 2.0, 0.5, 0.0], len(x))
    solution = gx.fit(start("full", x, 2), x, sample_weight=weight, **TIGHT)
    found = gx.leave_one_out(solution, x, sample_weight=weight)
    for i, left in (5, 1.0), (6, 0.0), (132, 0.0), (7, 0.0):
        changed = np.where(np.arange(len(x)) == i, left, weight)
        refit = gx.fit(solution.mixture, x, sample_weight=changed, **TIGHT)
        expected = float(refit.mixture.log_prob(x[i : i + 1])[0])
        assert float(found.log_probs[i]) == pytest.approx(expected, abs=0.01)
        own = found.mixtures[i].log_prob(x[i : i + 1])
        assert float(own[0]) == pytest.approx(float(found.log_probs[i]))
    assert found.leverages[7] == 0


@pytest.mark.x64
def test_a_parametric_bootstrap_keeps_the_prior_where_it_is():
    """The most probable mean of samples that are drawn is between theirs and that of
    the prior."""
    n, strength, middle = 40, 60.0, 50.0
    x = np.random.default_rng(0).normal(size=(n, 1)) + 55
    own = gx.NormalInverseWishart([middle], strength, 5.0, np.eye(1))
    prior = gx.Prior(components=own)
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x, prior=prior, **TIGHT)
    options = {"kind": "parametric", "prior": prior, "key": jr.key(0)}
    boot = gx.bootstrap(solution, x, 999, **options)
    means = boot.values(lambda m: m.means_squeezed[0, 0])
    centre, deviation = (
        float(solution.mixture.means_squeezed[0, 0]),
        float(solution.mixture.covariances.values_squeezed[0, 0, 0]) ** 0.5,
    )
    expected = (n * centre + strength * middle) / (n + strength)
    error = deviation * n**0.5 / (n + strength)
    # Five times what 999 fits leave to chance.
    assert float(jnp.mean(means)) == pytest.approx(expected, abs=5 * error / 999**0.5)
    assert float(jnp.std(means)) == pytest.approx(error, rel=5 / (2 * 999) ** 0.5)


@pytest.mark.x64
def test_leave_one_out_of_one_gaussian():
    """The leverage of the mean and variance of a Gaussian, and the mixtures, which are
    exact after a step of EM."""
    x = make_data(n_samples=40, n_features=1, n_clusters=1)
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x, **TIGHT)
    found = gx.leave_one_out(solution, x)
    z = (x[:, 0] - x.mean()) / x.std()
    expected = (z**2 + (z**2 - 1) ** 2 / 2) / len(x)
    np.testing.assert_allclose(found.leverages, expected, rtol=1e-6)
    means = np.asarray(found.mixtures.means)[:, 0, 0, 0, 0]
    np.testing.assert_allclose(means, (x.sum() - x[:, 0]) / (len(x) - 1))
    other = found.mixtures[3]
    assert float(other.log_prob(x[3:4])[0]) == pytest.approx(float(found.log_probs[3]))
    assert float(found.score) == pytest.approx(float(jnp.mean(found.log_probs)))
