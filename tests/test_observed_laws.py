"""Laws of fits to observations, their derivatives, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._em import Incomplete
from gmmx_eqx._sources import Layout, Records

from .helpers import every_family, make_data, make_mixture, parameters


N, D = 60, 2
Y = make_data(N, D, 2)
NOISE = np.random.default_rng(0).uniform(0.05, 0.6, (N, D)) * Y.var(0) * 0.1
TIGHT = gx.SQUAREM(tol=1e-15, max_steps=3000)


def start(name="full", n_components=2):
    return gx.GaussianMixture.from_k_means(
        Y, n_components, key=jr.key(0), covariance_type=name
    )


@pytest.mark.x64
@every_family
def test_without_noise_a_step_is_that_of_complete_samples(name):
    mixture = make_mixture(name, 2, D)

    @eqx.filter_jit
    def steps(mixture):
        observed = gx.Observed(Y)
        layout = Layout(None, None, N, misses=False)
        source = Records.create(observed, layout, D)
        ridge = jnp.full_like(source.pivot, 1e-3)
        about = lambda m, by: eqx.tree_at(lambda m: m.means, m, m.means + by)
        step = gx.extend.EMStep(Incomplete(source), ridge)
        new, info = step(about(mixture, -source.pivot))
        plain = gx.extend.InMemory.from_data(jnp.asarray(Y), None, N)
        e_step = gx.extend.Complete.create(plain, mixture.covariances)
        other = gx.extend.EMStep(e_step, ridge)
        expected, known = other(about(mixture, -plain.pivot))
        return (new, info.log_likelihood), (expected, known.log_likelihood)

    found, expected = map(jax.tree.leaves, steps(mixture))
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10)


@pytest.mark.x64
def test_the_same_noise_for_all_is_taken_off_the_scatter_matrix():
    noise = np.array([[0.4, 0.1], [0.1, 0.3]])
    solution = gx.fit(start(n_components=1), gx.Observed(Y, R=noise), solver=TIGHT)
    expected = np.cov(Y.T, bias=True) - noise
    values = solution.mixture.covariances.values_numpy[0]
    np.testing.assert_allclose(values, expected, rtol=1e-10)
    assert solution.status == "successful"
    # All of the noise is common if it is independent: one step is enough.
    diagonal = gx.Observed(Y, R=np.diag(noise))
    assert gx.fit(start(n_components=1), diagonal, solver=gx.EM(tol=1e-12)).n_steps < 4


@pytest.mark.x64
def test_noise_without_end_is_a_missing_value():
    gaps = np.where(np.arange(N)[:, None] % 5 == [0, 3], np.nan, Y)
    noise = np.where(np.isnan(gaps), 1e12, NOISE)
    fits = [gx.fit(start(), gx.Observed(y, R=noise), solver=TIGHT) for y in (gaps, Y)]
    for got, want in zip(*(parameters(fit.mixture) for fit in fits), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


@pytest.mark.x64
@pytest.mark.parametrize("name", ["full", "diag", "spherical", "VEV", "low_rank"])
def test_the_likelihood_never_falls(name):
    gaps = np.where(np.arange(N)[:, None] % 7 == [0, 3], np.nan, Y)
    solver = gx.EM(tol=0.0, max_steps=12)
    observed = gx.Observed(gaps, R=3 * NOISE)
    solution = gx.fit(start(name), observed, solver=solver, throw=False)
    rises = np.diff(np.asarray(solution.objectives[:13]))
    assert np.all(rises > -1e-10 * abs(float(solution.log_likelihood)))
    np.testing.assert_allclose(
        solution.log_likelihood, N * solution.mixture.score(observed), rtol=1e-12
    )


@pytest.mark.x64
def test_derivatives_in_y_and_r_and_h():
    H = np.eye(D) + 0.1 * np.random.default_rng(1).normal(size=(D, D))
    first = start()

    @eqx.filter_jit
    def outcome(y, H, R):
        solution = gx.fit(first, gx.Observed(y, H, R), solver=TIGHT, throw=False)
        weights, means, values = (
            leaf.ravel() for leaf in jax.tree.leaves(solution.mixture)
        )
        own = weights[0] + means @ jnp.arange(4.0) + values @ jnp.arange(8.0)
        return own + solution.mean_log_likelihood

    args = [jnp.asarray(array) for array in (Y, H, NOISE)]
    gradients = jax.grad(outcome, argnums=(0, 1, 2))(*args)
    for i, (array, gradient) in enumerate(zip(args, gradients, strict=True)):
        way = np.random.default_rng(i).normal(size=array.shape)
        way = way * np.asarray(array if i == 2 else 1.0)
        ends = []
        for sign in (1, -1):
            moved = list(args)
            moved[i] = array + sign * 1e-4 * way
            ends.append(outcome(*moved))
        expected = (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(np.sum(gradient * way), expected, rtol=1e-4)


@pytest.mark.x64
def test_lanes_are_fits_of_their_own():
    solver = gx.EM(tol=1e-8)
    scales = jnp.array([0.5, 1.0, 3.0])
    first = start()

    def fitted(scale):
        observed = gx.Observed(jnp.asarray(Y), R=scale * NOISE)
        return gx.fit(first, observed, solver=solver, throw=False)

    lanes = eqx.filter_vmap(fitted)(scales)
    for i, scale in enumerate(scales):
        alone = fitted(scale)
        assert lanes[i].n_steps == alone.n_steps
        np.testing.assert_allclose(
            lanes[i].log_likelihood, alone.log_likelihood, rtol=1e-10
        )


@pytest.mark.x32
def test_starts_restarts_and_choices_of_a_model():
    gaps = np.where(np.arange(N)[:, None] % 7 == [0, 3], np.nan, Y)
    observed = gx.Observed(gaps, R=NOISE)
    first = gx.GaussianMixture.from_k_means(observed, 2, key=jr.key(0))
    assert np.all(np.isfinite(first.means_numpy))
    population = gx.fit_restarts(observed, 2, n_restarts=4, key=jr.key(0))
    alone = gx.fit(first, observed)
    assert population.best.log_likelihood > alone.log_likelihood - 0.1
    table = gx.select(observed, [1, 2], ["full"], n_restarts=2, key=jr.key(0))
    best = table.best.solution
    np.testing.assert_allclose(
        best.log_likelihood, N * best.mixture.score(observed), rtol=1e-5
    )


@pytest.mark.x64
def test_a_sample_without_a_value_has_no_influence():
    fits = []
    for y in (Y, np.concatenate([Y, np.full((3, D), np.nan)])):
        fits.append(gx.fit(start(), gx.Observed(y, R=0.1), solver=TIGHT))
    without, with_ = fits
    for got, want in zip(*(parameters(fit.mixture) for fit in fits), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9)
    np.testing.assert_allclose(with_.log_likelihood, without.log_likelihood)
    np.testing.assert_allclose(
        with_.mean_log_likelihood, with_.log_likelihood / (N + 3)
    )


X = np.ones((4, 2))
REFUSED = {
    "`R` must be positive semidefinite": lambda: gx.Observed(
        X, R=[[1.0, 2.0], [2.0, 1.0]]
    ),
    "variances, which must be at least zero": lambda: gx.Observed(X, R=-1.0),
    "`R` must be a number, or have shape": lambda: gx.Observed(X, R=np.ones(3)),
    "`R` must be finite": lambda: gx.Observed(X, R=[np.nan, 1.0]),
    "`H` must be finite": lambda: gx.Observed(X, np.full((2, 2), np.nan)),
    "`H` must have shape": lambda: gx.Observed(X, np.ones((3, 2))),
    "`H` has rank 1 for 2 outputs": lambda: gx.Observed(X, np.ones((2, 2))),
    "`y` must be finite, or NaN": lambda: gx.Observed(np.full((4, 2), np.inf)),
    "Feature 1 is never observed": lambda: gx.fit(
        start(), gx.Observed(np.where([True, False], Y, np.nan))
    ),
    "must be given to `gmmx_eqx.Observed`": lambda: gx.fit(
        start(), gx.Observed(Y), sample_weight=np.ones(N)
    ),
    "the box is empty": lambda: gx.Uniform([0.0], [0.0]),
    "`background` must hold all data": lambda: gx.fit(
        start(), Y, background=gx.Uniform([0, 0], [1e-3, 1e-3])
    ),
    "`y` has 3 outputs, but the mixture": lambda: gx.fit(
        start(), gx.Observed(np.ones((4, 3)))
    ),
}


@pytest.mark.x64
@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_right_is_refused(message):
    with pytest.raises(ValueError) as error:
        REFUSED[message]()
    assert message in str(error.value)
