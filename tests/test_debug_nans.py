"""Nothing that succeeds computes a NaN, which research code often has JAX look for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx.sklearn import GaussianMixture as Estimator

from .helpers import families_in_turn, make_data, make_mixture, start


@pytest.fixture(autouse=True)
def no_nan():
    with jax.debug_nans(True):
        yield


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(make_data(80), dtype=float)


@pytest.fixture(scope="module")
def weight():
    return jnp.ones(80).at[::7].set(0.0)


def with_empty(mixture):
    """The same with one more component, of weight zero."""
    more = lambda a: jnp.concatenate([a, a[:, :1]], axis=1)
    covariances = mixture.covariances
    if covariances.values.shape[1] > 1:
        covariances = type(covariances)(more(covariances.values))
    weights = more(mixture.weights).at[:, -1].set(0.0)
    return gx.GaussianMixture(weights, more(mixture.means), covariances)


def check(*trees):
    """Waits for what has been computed: it raises if there is a NaN, and so do we."""
    for leaf in jax.tree.leaves(eqx.filter(trees, eqx.is_inexact_array)):
        assert not np.any(np.isnan(leaf))


def test_it_is_looked_for(x):
    with pytest.raises(FloatingPointError):
        jnp.log(x - 1e6)


@families_in_turn
def test_fits(name, x, weight):
    begin = start(name, x, 3)
    for solver in (gx.EM(), gx.SQUAREM(), gx.EM(0.0, 0)):
        check(gx.fit(begin, x, solver=solver, throw=False))
    check(gx.fit(begin, x, sample_weight=weight))
    check(gx.fit(with_empty(begin), x))
    check(gx.fit(begin, x, frozen=gx.Frozen(means=True)))
    check(gx.fit(begin, x, samples_per_chunk=32))


@pytest.mark.x32
@pytest.mark.parametrize("name", ["full", "diag"])
def test_many_fits(name, x, weight):
    kwargs = {"key": jr.key(0), "n_restarts": 3, "width": 2}
    population = gx.fit_restarts(x, 3, name, sample_weight=weight, **kwargs)
    check(population, population.best, population[1])
    assert population.optima()[0].count > 0
    many = gx.fit_batch([x, x[:50], x[:30]], 2, name, **kwargs)
    check(many, many[1], many[many.converged])
    table = gx.select(x, [1, 3], [name], 2, key=jr.key(0))
    assert table.best.is_valid and "nan" not in str(table)


@pytest.mark.x32
def test_collapses_leave_a_mixture(x):
    crowd = x.at[:5].set(40.0)
    begin = start("full", crowd, 2)
    solution = gx.fit(begin, crowd, reg_covar=0.0, throw=False)
    assert solution.status == "component_collapsed"
    check(solution)
    squared = gx.fit(begin, crowd, reg_covar=0.0, solver=gx.SQUAREM(), throw=False)
    assert squared.status == "component_collapsed"
    check(squared)


@pytest.mark.x32
def test_starts(x, weight):
    constant = jnp.concatenate([x, jnp.ones((80, 1))], axis=1)
    few = jnp.tile(x[:3], (10, 1))
    for initialiser in (
        gx.KMeans(),
        gx.KMeans("none"),
        gx.KMeansPlusPlus(),
        gx.RandomPoints(),
        gx.RandomResponsibilities(),
    ):
        for data, w in ((x, weight), (constant, None), (few, None)):
            make = gx.GaussianMixture.from_initialiser
            check(make(initialiser, data, 4, key=jr.key(0), sample_weight=w))


@pytest.mark.x32
def test_derivatives_of_fits(x, weight):
    begin = start("full", x, 2)

    def value(x, weight):
        solution = gx.fit(begin, x, sample_weight=weight, throw=False)
        return solution.log_likelihood + jnp.sum(solution.mixture.means)

    check(jax.grad(value, (0, 1))(x, weight))
    check(jax.jit(jax.grad(value, (0, 1)))(x, weight))
    check(jax.jvp(value, (x, weight), (x, weight)))
    check(gx.contraction_rate(gx.fit(begin, x).mixture, x))
    run = eqx.filter_jit(eqx.filter_vmap(lambda x: gx.fit(begin, x, throw=False)))
    check(run(jnp.stack([x, 2 * x])))


@families_in_turn
def test_densities(name, x, weight):
    """Far from all modes, and of components without weight, too."""
    mixture = with_empty(make_mixture(name))
    far = x[:5] + 1e8
    for points in (x, far):
        check(mixture.log_prob(points), mixture.predict_proba(points))
        check(mixture.predict(points), gx.score_function(mixture, points))
        total = lambda mixture, points: jnp.sum(mixture.log_prob(points))
        check(eqx.filter_grad(total)(mixture, points))
        check(jax.grad(total, 1)(mixture, points))
    check(mixture.score(x, weight), mixture.bic(x, weight), mixture.icl(x, weight))
    check(mixture.sample(jr.key(0), 20))
    check(gx.sample_relaxed(mixture, jr.key(0), 20, 0.5))
    unconstrained = gx.UnconstrainedMixture.from_mixture(mixture)
    value_and_grad = eqx.filter_value_and_grad(lambda u: u.score(x))
    check(*value_and_grad(unconstrained))


@families_in_turn
def test_operations(name, x):
    mixture = with_empty(make_mixture(name))
    y = x[0]
    check(gx.observe(mixture, 1.0, 0.1, y), gx.observe(mixture, jnp.eye(2)[:1], 0, 1.0))
    check(gx.condition(mixture, 0, 1.0), gx.condition(mixture, 0, 1e8))
    check(gx.affine(mixture, 2.0, 1.0), gx.convolve(mixture, 0.1))
    check(gx.product(mixture, mixture), gx.denoise(mixture, x, 0.1))
    check(gx.mean(mixture), gx.covariance(mixture))
    gaps = np.array([[1.0, np.nan], [np.nan, 2.0], [np.nan, np.nan]])
    check(gx.impute(mixture, gaps), gx.log_prob_observed(mixture, gaps))
    check(
        gx.divergences.entropy_bounds(mixture),
        gx.divergences.entropy_monte_carlo(mixture, jr.key(0), 50),
    )
    check(
        gx.divergences.kl_bounds(mixture, mixture),
        gx.divergences.kl_variational(mixture, mixture),
    )
    check(gx.divergences.kl_pairwise(mixture, mixture))
    check(gx.divergences.kl_monte_carlo(mixture, mixture, jr.key(0), 50))
    check(gx.divergences.wasserstein(mixture, mixture))
    check(gx.merge(mixture, [0] * mixture.n_components), gx.reduce(mixture, 2))
    line = gx.marginal(mixture, 0)
    ends = jnp.asarray([-1e8, 0.0, 1e8])
    check(gx.univariate.cdf(line, ends), gx.univariate.survival(line, ends))
    check(gx.univariate.log_cdf(line, ends), gx.univariate.log_survival(line, ends))
    check(gx.univariate.quantile(line, jnp.asarray([1e-6, 0.5, 1 - 1e-6])))
    check(gx.sample_implicit(line, jr.key(0), 20))


@pytest.mark.x64
def test_the_estimator():
    data = make_data(80)
    for kwargs in ({"n_init": 3}, {"init_params": "random"}, {"max_iter": 0}):
        estimator = Estimator(2, random_state=0, **kwargs).fit(data)
        check(estimator.predict_proba(data), estimator.score_samples(data))
        estimator.sample(5)
