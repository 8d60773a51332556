"""Fits to samples with gaps, noise and projections: against published figures, against
one dense matrix per sample in NumPy, and against laws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import gmmx_eqx as gx
from gmmx_eqx._em import Incomplete
from gmmx_eqx._sources import Layout, Records

from .helpers import make_mixture, old_faithful, parameters
from .observations import (
    BANDS,
    faithful_start,
    faithful_with_gaps,
    faithful_with_noise,
    lattice,
    projections,
    reference_step,
    tully_fisher,
)


TIGHT = gx.SQUAREM(tol=1e-14, max_steps=2000)


@pytest.mark.x64
def test_noise_of_every_sample_has_the_published_optimum():
    solution = gx.fit(faithful_start(), faithful_with_noise(), solver=TIGHT)
    np.testing.assert_allclose(
        solution.log_likelihood, -1131.3670770863, rtol=0, atol=1e-7
    )
    mixture = solution.mixture
    np.testing.assert_allclose(mixture.weights_numpy[1], 0.64383402, rtol=1e-5)
    mean, values = mixture.means_numpy[1], mixture.covariances.values_numpy[1]
    np.testing.assert_allclose(mean, (4.28970916, 79.97984109), rtol=1e-5)
    expected = (0.15985572, 0.89941141, 32.24032878)
    np.testing.assert_allclose(values[np.triu_indices(2)], expected, rtol=1e-5)


@pytest.mark.x64
def test_gaps_have_the_published_optimum():
    observed = gx.Observed(faithful_with_gaps())
    solution = gx.fit(faithful_start(), observed, solver=TIGHT, reg_covar=0.0)
    np.testing.assert_allclose(
        solution.log_likelihood, -970.9347650118, rtol=0, atol=1e-7
    )
    mixture = solution.mixture
    np.testing.assert_allclose(mixture.weights_numpy[1], 0.64665971, rtol=1e-5)
    expected = (4.27220351, 79.90540469)
    np.testing.assert_allclose(mixture.means_numpy[1], expected, rtol=1e-5)
    # The same numbers by Bayes' rule, sample by sample.
    y = faithful_with_gaps()
    total = jnp.sum(gx.log_prob_observed(mixture, y))
    np.testing.assert_allclose(total, solution.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(mixture.score(observed), total / 272, rtol=1e-12)
    filled = gx.impute(mixture, observed)
    np.testing.assert_allclose(filled, gx.impute(mixture, y), rtol=1e-12)


@pytest.mark.x64
def test_a_uniform_background_has_the_published_weight():
    box = gx.Uniform([1.0, 40.0], [6.0, 100.0])
    x = np.concatenate([old_faithful(), lattice()])
    solution = gx.fit(faithful_start(), x, background=box, solver=TIGHT, reg_covar=0.0)
    np.testing.assert_allclose(solution.log_likelihood, -1361.048783, atol=1e-6)
    assert solution.background_weight is not None
    np.testing.assert_allclose(solution.background_weight, 0.1428834281, rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(solution.mixture.weights), 1, rtol=1e-14)


@pytest.mark.x64
def test_plain_steps_of_projections_are_those_of_extreme_deconvolution():
    # Its doctest asserts where it stops. Its start is no mixture, so the likelihood
    # rises to a top, which it passes: -1.311465040917 after 263 steps.
    observed, start = projections()
    layout = Layout.in_order(observed, 2)

    @eqx.filter_jit
    def after(mixture, n_steps):
        source = Records.create(observed, layout, 2)
        step = gx.extend.EMStep(Incomplete(source), jnp.zeros_like(source.pivot))
        about = lambda m, by: eqx.tree_at(lambda m: m.means, m, m.means + by)
        mixture = about(mixture, -source.pivot)
        run = lambda _, m: step(m)[0]
        before = jax.lax.fori_loop(0, n_steps, run, mixture)
        new, info = step(before)
        return info.log_likelihood / info.total_weight, new

    value, new = after(start, 263)
    np.testing.assert_allclose(value, -1.311465040917, rtol=0, atol=1e-11)
    np.testing.assert_allclose(new.weights_numpy, (0.13438905, 0.86561095), atol=1e-8)


@pytest.mark.x64
def test_two_of_three_values_missing_in_a_monotone_pattern_have_a_closed_form():
    # Little and Rubin's apples: the size of a crop, and the wormy fruits among a
    # hundred, which are missing for the six smallest crops. The likelihood is that of
    # all sizes, and of a regression on them where both are known.
    size = np.array([8, 6, 11, 22, 14, 17, 18, 24, 19, 23, 26, 40, 4, 4, 5, 6, 8, 10.0])
    wormy = np.array([59, 58, 56, 53, 50, 45, 43, 42, 39, 38, 30, 27.0])
    y = np.stack([size, np.append(wormy, [np.nan] * 6)], 1)
    start = gx.GaussianMixture.from_squeezed(
        [[14.0, 45.0]], [np.diag([90.0, 90.0])], [1.0]
    )
    solution = gx.fit(start, gx.Observed(y), solver=TIGHT, reg_covar=0.0)
    both = np.cov(y[:12].T, bias=True)
    slope = both[0, 1] / both[0, 0]
    rest = both[1, 1] - slope * both[0, 1]
    variance = np.var(size)
    mean = wormy.mean() + slope * (size.mean() - size[:12].mean())
    np.testing.assert_allclose(
        solution.mixture.means_numpy[0], (size.mean(), mean), rtol=1e-6
    )
    # Their table: 14.72, 49.33, 89.53, -90.70, 114.70.
    values = solution.mixture.covariances.values_numpy[0]
    expected = (variance, slope * variance, rest + slope**2 * variance)
    np.testing.assert_allclose(values[np.triu_indices(2)], expected, rtol=1e-5)
    np.testing.assert_allclose(mean, 49.3333, atol=1e-4)
    np.testing.assert_allclose(expected, (89.5340, -90.6965, 114.6949), rtol=1e-4)


@pytest.mark.x64
@pytest.mark.parametrize("band", BANDS)
def test_a_singular_optimum_is_reached_and_named(band):
    y, deviations = tully_fisher(band)
    spread = np.ptp(y, axis=0)
    start = gx.GaussianMixture.from_squeezed([y.mean(0)], [np.diag(spread**2)], [1.0])
    observed = gx.Observed(y, R=deviations**2)
    for solver in (gx.EM(tol=1e-9), gx.SQUAREM(tol=1e-9)):
        solution = gx.fit(start, observed, solver=solver)
        best, slope = line_through(y, deviations)
        assert solution.converged
        assert solution.status == ("successful" if band == "B" else "singular")
        assert solution.n_steps <= 300
        np.testing.assert_allclose(solution.log_likelihood, best, rtol=0, atol=1e-6)
        values = solution.mixture.covariances.values_numpy[0]
        _, axes = np.linalg.eigh(values)
        np.testing.assert_allclose(axes[1, 1] / axes[0, 1], slope, atol=1e-3)


def cases():
    """Samples of each kind, of which many share all but their values; and the matrices
    of every sample."""
    rng = np.random.default_rng(0)
    n, d = 96, 3
    y = rng.normal(size=(n, d)) * [1, 2, 0.5] + [1, -1, 30]
    kind = np.arange(n) % 4
    gaps = y.copy()
    gaps[kind == 1, 0] = np.nan
    gaps[kind == 2, 1:] = np.nan
    gaps[kind == 3] = np.where(np.arange(n)[kind == 3, None] < 8, np.nan, y[kind == 3])
    factor = rng.normal(size=(4, d, d))
    full = factor @ factor.swapaxes(1, 2) / 5 + 0.1 * np.eye(d)
    wide = rng.normal(size=(4, 2, d))
    eye, none = np.eye(d)[None].repeat(n, 0), np.zeros((n, d, d))
    two, square = y[:, :2], full[kind][:, :2, :2]
    diagonal = np.diagonal(full, axis1=1, axis2=2)[kind]
    return {
        "gaps": (gx.Observed(gaps), eye, none),
        "complete": (gx.Observed(y), eye, none),
        "diagonal": (gx.Observed(gaps, R=diagonal), eye, diagonal[..., None] * eye),
        "full": (gx.Observed(gaps, R=full[kind]), eye, full[kind]),
        "one": (gx.Observed(gaps, R=full[0]), eye, full[[0] * n]),
        "wide": (gx.Observed(two, wide[0], 0.2), wide[[0] * n], 0.2 * eye[:, :2, :2]),
        "wides": (gx.Observed(two, wide[kind], square), wide[kind], square),
    }


@pytest.mark.x64
@pytest.mark.parametrize("name", cases())
def test_groups_and_samples_alone_take_the_step_of_dense_matrices(name):
    observed, H, R = cases()[name]
    mixture = make_mixture("full", 2, 3)
    y, weight = np.asarray(observed.y), np.linspace(0.5, 2, 96)
    observed = eqx.tree_at(
        lambda o: o.sample_weight, observed, jnp.asarray(weight), is_leaf=is_none
    )
    value, parts = reference_step(parameters(mixture), y, H, R, weight)
    grouped = Layout.of(observed, 2)
    assert grouped.rows is not None
    for layout in (grouped, Layout.in_order(observed, 2)):
        found, new = one_step(observed, layout, mixture)
        np.testing.assert_allclose(found, value, rtol=1e-11)
        for got, expected in zip(parameters(new), parts, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


def is_none(leaf):
    return leaf is None


@eqx.filter_jit
def one_step(observed, layout, mixture, slack=False):
    records = Records.create(observed, layout, mixture.n_features)
    e_step = Incomplete(records)
    step = gx.extend.EMStep(e_step, jnp.zeros_like(records.pivot))
    own = lambda m: m.means
    moved = eqx.tree_at(own, mixture, mixture.means - records.pivot)
    new, info = step(moved)
    return info.log_likelihood, eqx.tree_at(own, new, new.means + records.pivot)


def line_through(y, deviations):
    """The highest log-likelihood of one normal with the noise given, and the slope of
    its longer axis."""
    noise = deviations[:, :, None] ** 2 * np.eye(2)
    unit = y.std(0)

    def values_of(p):
        lower = np.array([[p[2], 0], [p[3], p[4]]]) * unit[:, None]
        return lower @ lower.T

    def loss(p):
        total = values_of(p) + noise
        residuals = y - y.mean(0) - p[:2] * unit
        solved = np.linalg.solve(total, residuals[..., None])[..., 0]
        log_det = np.linalg.slogdet(total)[1]
        each = log_det + np.sum(residuals * solved, 1) + 2 * np.log(2 * np.pi)
        return 0.5 * np.sum(each)

    found = []
    # The last number is zero where the optimum is singular.
    for last in (0.0, 0.3):
        p = np.array([0.0, 0, 1, -1, last])
        for method in ("BFGS", "Nelder-Mead"):
            options = {"gtol": 1e-9} if method == "BFGS" else {"fatol": 1e-13}
            p = scipy.optimize.minimize(loss, p, method=method, options=options).x
        found.append((loss(p), p))
    value, p = min(found, key=lambda pair: pair[0])
    _, axes = np.linalg.eigh(values_of(p))
    return -value, axes[1, 1] / axes[0, 1]
