"""Numbers of samples, and of components, that share a program: nothing shows of what
data and mixtures are filled up with, and a loop over many sizes compiles few
programs."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import gmmx_eqx as gx
from gmmx_eqx._core import buckets
from gmmx_eqx._mixture import padding
from gmmx_eqx.sklearn import GaussianMixture as Estimator

from .helpers import (
    counted,
    every_family,
    families_in_turn,
    make_data,
    make_mixture,
)


N = 45
X = make_data(N)
WEIGHT = (np.arange(N) % 3).astype(float)
# Far above what rounding does in float32: it must not decide when to stop.
SOLVER = gx.EM(1e-4, 200)
OPTIONS = {"key": jr.key(3), "solver": SOLVER}


def sets():
    return [make_data(n) for n in (20, N, 33)] * 7


def near(*trees):
    """Arrays of two trees: equal if they count, else to within rounding."""
    one, other = map(jax.tree.leaves, trees)
    assert len(one) == len(other)
    for got, expected in zip(one, other, strict=True):
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.dtype == expected.dtype
        if got.dtype.kind in "iub":
            np.testing.assert_array_equal(got, expected)
            continue
        # A Python float comes from JAX, too.
        rtol = 3e4 * float(jnp.finfo(jnp.zeros(()).dtype).eps)
        np.testing.assert_allclose(got, expected, rtol, rtol)


def unfilled(monkeypatch):
    """Neither samples, nor lanes, nor components that do not count."""
    monkeypatch.setattr(buckets, "size", lambda n_samples, n_lanes=1: n_samples)
    monkeypatch.setattr(padding, "padded_size", lambda n_components, _: n_components)


FITS = {
    "from_k_means": lambda name, weight: gx.GaussianMixture.from_k_means(
        X, 3, key=jr.key(0), covariance_type=name, sample_weight=weight
    ),
    "from_labels": lambda name, weight: gx.GaussianMixture.from_labels(
        X, np.arange(N) // 15, covariance_type=name, sample_weight=weight
    ),
    "fit": lambda name, weight: gx.fit(
        make_mixture(name), X, sample_weight=weight, solver=SOLVER, throw=False
    ),
}
MANY_FITS = {
    "contraction_rate": lambda name, weight: gx.contraction_rate(
        make_mixture(name), X, sample_weight=weight
    ),
    "fit_restarts": lambda name, weight: (
        gx.fit_restarts(X, 3, name, 5, sample_weight=weight, **OPTIONS).solutions
    ),
    "fit_batch": lambda name, weight: gx.fit_batch(sets(), 3, name, 2, **OPTIONS),
    "a batch of arrays": lambda name, weight: gx.fit_batch(
        np.stack([X, 2 * X]), 3, name, 2, **OPTIONS
    ),
    "select": lambda name, weight: [
        (cell.bic, cell.icl, cell.n_converged, cell.solution)
        for cell in gx.select(
            X, [1, 3], [name], 3, sample_weight=weight, **OPTIONS
        ).cells
    ],
}


@pytest.mark.x64
@pytest.mark.parametrize("run", FITS)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["all", "weighted"])
@every_family
def test_fits_do_not_show_what_data_is_filled_up_with(name, weight, run, monkeypatch):
    filled = FITS[run](name, weight)
    unfilled(monkeypatch)
    near(filled, FITS[run](name, weight))


# Much to compile, and the M-step is that of one fit: one family in each world.
@pytest.mark.parametrize("run", MANY_FITS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("full", marks=pytest.mark.x64),
        pytest.param("tied_spherical", marks=pytest.mark.x32),
    ],
)
def test_many_fits_do_not_show_it(name, run, monkeypatch):
    weight = WEIGHT if name == "full" else None
    filled = MANY_FITS[run](name, weight)
    unfilled(monkeypatch)
    near(filled, MANY_FITS[run](name, weight))


def evaluate(mixture, x):
    criteria = [mixture.score, mixture.aic, mixture.bic, mixture.icl]
    return (
        *(fn(x) for fn in (mixture.log_prob, mixture.predict, mixture.predict_proba)),
        mixture.estimate_log_prob(x),
        [fn(x, weight) for fn in criteria for weight in (None, WEIGHT[-len(x) :])],
        gx.score_function(mixture, x),
        gx.denoise(mixture, x, 0.1),
        gx.log_prob_observed(mixture, np.where(x > 0, x, np.nan)),
        gx.impute(mixture, np.where(x > 0, x, np.nan)),
    )


@families_in_turn
@pytest.mark.parametrize("n_samples", [1, N])
def test_densities_do_not_show_what_data_is_filled_up_with(
    name, n_samples, monkeypatch
):
    mixture, x = make_mixture(name), X[-n_samples:]
    filled = evaluate(mixture, x)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(filled))
    unfilled(monkeypatch)
    near(filled, evaluate(mixture, x))


def estimated(n_init, weight):
    estimator = Estimator(3, random_state=0, n_init=n_init, reg_covar=1e-3)
    estimator.fit(X, sample_weight=weight)
    attributes = {k: v for k, v in vars(estimator).items() if k.endswith("_")}
    found = (estimator.predict(X), estimator.score(X), estimator.bic(X))
    return attributes, found


@pytest.mark.x64
@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["all", "weighted"])
def test_the_estimator_does_not_show_it(n_init, weight, monkeypatch):
    filled = estimated(n_init, weight)
    unfilled(monkeypatch)
    near(filled, estimated(n_init, weight))


def fit_core(x):
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(0))
    gx.fit(start, x, solver=gx.EM(max_steps=2), throw=False)


def fit_weighted(x):
    weight = np.ones(len(x), x.dtype)
    start = gx.GaussianMixture.from_labels(
        x, np.arange(len(x)) % 2, sample_weight=weight
    )
    gx.fit(start, x, sample_weight=weight, solver=gx.EM(max_steps=2), throw=False)


def fit_estimator(x):
    with pytest.warns(ConvergenceWarning):
        Estimator(2, max_iter=2, tol=1e-12, random_state=0).fit(x)


def use_estimator(estimator, x):
    for method in (estimator.predict, estimator.predict_proba, estimator.score_samples):
        assert len(method(x)) == len(x)
    assert np.isfinite([estimator.score(x), estimator.bic(x), estimator.aic(x)]).all()


def use_core(mixture, x):
    for fn in (mixture.log_prob, mixture.predict, mixture.predict_proba):
        assert len(fn(x)) == len(x)
    mixture.score(x), mixture.bic(x, np.ones(len(x), x.dtype))
    gx.log_prob_observed(mixture, x)


def loops():
    x = make_data(440, 1).astype(float)
    return {
        "core": fit_core,
        "weighted": fit_weighted,
        "estimator": fit_estimator,
        "densities": ft.partial(use_core, make_mixture("full", 2, 1)),
        "methods": ft.partial(use_estimator, Estimator(2, random_state=0).fit(x)),
    }


@pytest.mark.parametrize(
    "loop",
    [
        pytest.param("core", marks=pytest.mark.x64),
        pytest.param("weighted", marks=pytest.mark.x32),
        pytest.param("estimator", marks=pytest.mark.x32),
        pytest.param("densities", marks=pytest.mark.x32),
        pytest.param("methods", marks=pytest.mark.x32),
    ],
)
def test_three_hundred_lengths_are_few_programs(loop, dtype):
    x, run = make_data(440, 1).astype(dtype), loops()[loop]
    lengths = range(141, 441)
    sizes = sorted({buckets.size(n) for n in lengths})
    assert len(sizes) < 10
    # The longest that share each program, and one whose own size it is.
    for n_samples in sizes[:-1]:
        run(x[:n_samples])
    run(x)
    with counted() as compiled:
        for n_samples in lengths:
            run(x[:n_samples])
    assert not compiled


def sweep(dtype):
    x = make_data(90).astype(dtype)
    for n_components in range(1, 9):
        for n_init in (1, 3):
            estimator = Estimator(n_components, n_init=n_init, random_state=0).fit(x)
            assert estimator.means_.shape == (n_components, 2)
            assert estimator.predict_proba(x).shape == (len(x), n_components)
            assert np.isfinite([estimator.score(x), estimator.bic(x)]).all()


@pytest.mark.x64
def test_a_sweep_over_numbers_of_components_is_few_programs(dtype):
    jax.clear_caches()
    with counted() as compiled:
        sweep(dtype)
    # A fit from one start, fits from several, probabilities, and log-densities.
    assert len(compiled) == 4
    with counted() as compiled:
        sweep(dtype)
    assert not compiled


def session(x):
    """Thirty calls, as they follow each other in a notebook."""
    for n in (len(x), len(x) - 3):
        own = x[:n]
        start = gx.GaussianMixture.from_k_means(own, 3, key=jr.key(0))
        solution = gx.fit(start, own, solver=SOLVER, throw=False)
        population = gx.fit_restarts(own, 3, n_restarts=5, **OPTIONS)
        chosen = gx.select(own, [1, 2, 3], ["full", "diag"], 2, **OPTIONS)
        batch = gx.fit_batch([own, own[5:]], 2, "tied", **OPTIONS)
        for mixture in (solution.mixture, population.best.mixture):
            mixture.log_prob(own), mixture.predict(own), mixture.bic(own)
        str(chosen), batch.status, population.n_converged, solution.status
        fitted = Estimator(3, max_iter=500, random_state=0).fit(own)
        fitted.predict(own), fitted.score(own), fitted.sample(7)


@pytest.mark.x32
def test_nothing_is_compiled_twice(dtype):
    x = make_data(93).astype(dtype)
    jax.clear_caches()
    with counted() as compiled:
        session(x)
    assert 0 < len(compiled) <= 24
    with counted() as compiled:
        session(x)
        session(x[1:])
    assert not compiled


SHARED = {
    "fit_restarts": lambda xs: gx.fit_restarts(xs[0], 2, n_restarts=2, **OPTIONS),
    "fit_batch": lambda xs: gx.fit_batch(xs, 2, **OPTIONS),
    "select": lambda xs: gx.select(xs[0], [2], ["diag"], 2, **OPTIONS),
}


@pytest.mark.x32
@pytest.mark.parametrize("run", SHARED)
def test_many_fits_share_programs_too(run):
    make = lambda n_samples, n_sets: [
        make_data(n_samples, 2) + i for i in range(n_sets)
    ]
    SHARED[run](make(80, 40))
    with counted() as compiled:
        for n_samples, n_sets in ((73, 39), (79, 40), (75, 40)):
            SHARED[run](make(n_samples, n_sets))
    assert not compiled


@pytest.mark.x32
def test_programs_are_counted():
    with counted() as compiled:
        jax.jit(lambda x: x + 1)(jnp.zeros(7))
    assert compiled


@pytest.mark.x32
def test_sizes():
    sizes = [buckets.size(n) for n in range(1, 10_000)]
    assert sizes == sorted(sizes)
    for lanes in (1, 1000):
        for n in (*range(1, 3000, 7), 5000, 70_001, 123_457, 999_999):
            size = buckets.size(n, lanes)
            assert n <= size == buckets.size(size, lanes)
            allowed = 1 / 16 if n * lanes > 4096 else 1 / 4
            assert n <= 16 or size < (1 + allowed) * n
    for n in (16, 256, 4096, 2**17, 5000, 100_000, 10**6, 2**20 + 1):
        assert buckets.size(n) == n
    assert buckets.size(200, 1000) == 200


@pytest.mark.x64
def test_what_is_traced_or_spread_is_not_filled_up():
    mixture = make_mixture("full")
    x = jnp.asarray(X, dtype=float)
    shape = jax.eval_shape(mixture.log_prob, x)
    assert shape.shape == (N,)

    def loss(x):
        assert buckets.fill(x, None)[1] is None
        return gx.fit(mixture, x, throw=False).log_likelihood

    assert np.isfinite(np.asarray(jax.grad(loss)(x))).all()
    # Nor anything where one of its companions is traced.
    run = lambda scale: gx.fit(mixture, x, reg_covar=scale, throw=False).log_likelihood
    assert np.isfinite(float(jax.grad(run)(1e-2)))
    mapped = eqx.filter_vmap(lambda m: m.log_prob(x))(gx.stack([mixture] * 2))
    assert mapped.shape == (2, N)


@pytest.mark.x64
def test_results_stay_on_their_device():
    (device,) = jax.devices()[:1]
    x = jax.device_put(jnp.asarray(X, dtype=float), device)
    result = make_mixture("full").log_prob(x)
    assert result.committed and result.devices() == {device}
    assert not make_mixture("full").log_prob(X).committed


@pytest.mark.x32
def test_a_far_sample_is_not_filled_up_with_zeros():
    """Where zero is so far that its density is no number."""
    mixture = make_mixture("full")
    far = eqx.tree_at(lambda m: m.means, mixture, mixture.means + 1e6)
    with jax.debug_nans(True):
        values = far.log_prob(X + 1e6), far.predict_proba(X + 1e6)
    assert all(np.isfinite(np.asarray(value)).all() for value in values)
