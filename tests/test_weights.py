"""The unit of sample weights is the user's own; and components of hardly any weight."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx.interop.sklearn import GaussianMixture as Estimator

from .helpers import every_family, leaves, make_data, make_mixture


pytestmark = pytest.mark.x32


KEY = jr.key(0)
X = make_data(60).astype(np.float32)
TINY, HUGE = 2.0**-126, 2.0**120
WEIGHTS = np.linspace(0.5, 2, 60).astype(np.float32)
WEIGHTS[3] = 0
# Starts count samples, so that their unit matters, but for extreme ones.
WEIGHTS /= WEIGHTS[WEIGHTS > 0].mean()
UNITS = (TINY, HUGE)


def in_unit(unit):
    return (WEIGHTS.astype(float) * unit).astype(np.float32)


def same(one, other):
    one, other = leaves(one), leaves(other)
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        # A weight is rounded once more; `1e-5` leaves room for what follows from that.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@every_family
@pytest.mark.parametrize("unit", [2.0**-110, 2.0**100])
def test_fits_in_any_unit(name, unit):
    start = make_mixture(name, dtype=jnp.float32)
    few = {"solver": gx.EM(max_steps=5), "throw": False}
    expected = gx.fit(start, X, sample_weight=WEIGHTS, **few)
    solution = gx.fit(start, X, sample_weight=in_unit(unit), **few)
    same(solution.mixture, expected.mixture)
    assert solution.n_steps == expected.n_steps
    same(solution.mean_log_likelihood, expected.mean_log_likelihood)
    own = np.float64(expected.log_likelihood) * unit
    np.testing.assert_allclose(solution.log_likelihood, own, rtol=1e-5)
    own = np.asarray(expected.log_likelihoods, float) * unit
    np.testing.assert_allclose(solution.log_likelihoods, own, rtol=1e-5)


@pytest.mark.parametrize("unit", UNITS)
def test_starts_and_scores_in_any_unit(unit):
    weights = in_unit(unit)
    mixture = make_mixture("full", dtype=jnp.float32)
    resp = np.full((60, 2), 0.5, np.float32)
    for call in (
        lambda w: gx.GaussianMixture.from_k_means(X, 3, key=KEY, sample_weight=w),
        lambda w: gx.GaussianMixture.from_initialiser(
            gx.KMeansPlusPlus(), X, 3, key=KEY, sample_weight=w
        ),
        lambda w: gx.GaussianMixture.from_labels(X, np.arange(60) % 2, sample_weight=w),
        lambda w: gx.GaussianMixture.from_responsibilities(X, resp, sample_weight=w),
        lambda w: mixture.update_parameters(X, resp, 1e-3, sample_weight=w),
        lambda w: mixture.score(X, w),
        lambda w: gx.contraction_rate(mixture, X, sample_weight=w, reg_covar=0.1),
    ):
        same(call(weights), call(WEIGHTS))


@pytest.mark.parametrize("criterion", ["aic", "bic", "icl"])
def test_criteria_in_any_unit(criterion):
    mixture = make_mixture("full", dtype=jnp.float32)
    call = lambda w: float(getattr(mixture, criterion)(X, w))
    unit = 2.0**-100
    total = float(WEIGHTS.sum())
    penalty = {"aic": 2.0}.get(criterion, np.log(total))
    own = {"aic": 2.0}.get(criterion, np.log(total * unit))
    n = mixture.n_parameters
    expected = (call(WEIGHTS) - n * penalty) * unit + n * own
    # Rounding in float32 of the number itself.
    np.testing.assert_allclose(call(in_unit(unit)), expected, rtol=1e-6)


@pytest.mark.parametrize("unit", [2.0**-110, 2.0**100])
def test_many_fits_in_any_unit(unit):
    few = {"key": KEY, "n_restarts": 2, "solver": gx.EM(max_steps=5)}
    restarts = lambda w: gx.fit_restarts(X, 2, "diag", sample_weight=w, **few)
    one, other = restarts(in_unit(unit)), restarts(WEIGHTS)
    same(one.solutions.mixture, other.solutions.mixture)
    own = np.float64(other.best.log_likelihood) * unit
    np.testing.assert_allclose(one.best.log_likelihood, own, rtol=1e-5)
    # Each data set in a unit of its own.
    batch = lambda *w: gx.fit_batch([X, X], 2, "diag", sample_weight=w, **few)
    one, other = batch(in_unit(unit), WEIGHTS), batch(WEIGHTS, WEIGHTS)
    same(one.mixture, other.mixture)
    own = np.asarray(other.log_likelihood, float) * [unit, 1]
    np.testing.assert_allclose(one.log_likelihood, own, rtol=1e-5)
    select = lambda w: gx.select(X, [1, 2], ["diag"], sample_weight=w, **few)
    for a, b in zip(select(in_unit(unit)).cells, select(WEIGHTS).cells, strict=True):
        same(a.solution.mixture, b.solution.mixture)
        np.testing.assert_allclose(a.log_likelihood, b.log_likelihood * unit, rtol=1e-5)
        log_n = np.log(WEIGHTS.sum()), np.log(WEIGHTS.sum() * unit)
        icl = (b.icl - b.n_parameters * log_n[0]) * unit + b.n_parameters * log_n[1]
        # icl cancels against the penalty: in units of what is rounded.
        np.testing.assert_allclose(a.icl, icl, rtol=1e-5)


@pytest.mark.parametrize("unit, what", [(2.0**125, "large"), (2.0**-148, "small")])
def test_what_cannot_be_held(unit, what):
    mixture = make_mixture("diag", dtype=jnp.float32)
    weights = in_unit(unit)
    few = {"key": KEY, "n_restarts": 2, "solver": gx.EM(max_steps=5)}
    for call in (
        lambda: gx.fit(mixture, X, sample_weight=weights),
        lambda: mixture.bic(X, weights),
        lambda: gx.fit_restarts(X, 2, "diag", sample_weight=weights, **few),
        lambda: gx.fit_batch([X], 2, "diag", sample_weight=[weights], **few),
        lambda: gx.select(X, [1], ["diag"], sample_weight=weights, **few),
    ):
        with pytest.raises(ValueError, match=f"`sample_weight` is so {what}.*float32"):
            call()
    assert np.isfinite(mixture.score(X, weights))


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**90])
def test_estimator_in_any_unit(unit):
    expected = Estimator(2, random_state=0).fit(X, sample_weight=WEIGHTS)
    estimator = Estimator(2, random_state=0).fit(X, sample_weight=in_unit(unit))
    np.testing.assert_allclose(estimator.means_, expected.means_, rtol=1e-5)
    np.testing.assert_allclose(estimator.lower_bound_, expected.lower_bound_, rtol=1e-5)


def test_traced_data_with_known_weights():
    start = make_mixture("diag", dtype=jnp.float32)
    solver = gx.EM(tol=1e-6)

    def mean(scale, weights):
        solution = gx.fit(start, X * scale, sample_weight=weights, solver=solver)
        return solution.log_likelihood

    one = jnp.float32(1)
    unit = 2.0**-100
    for fn in (mean, jax.grad(mean)):
        value = fn(one, in_unit(unit))
        np.testing.assert_allclose(value, fn(one, WEIGHTS) * unit, rtol=1e-5)


@every_family
@pytest.mark.parametrize("share", [1e-30, 1e-38, 1e-42])
def test_a_component_of_hardly_any_weight(name, share):
    mixture = make_mixture(name, 2, dtype=jnp.float32)
    weights = np.array([1 - share, share], np.float32)
    mixture = gx.GaussianMixture(
        jnp.asarray(weights).reshape(1, 2, 1, 1), mixture.means, mixture.covariances
    )
    alone = mixture.log_prob(X)
    assert np.all(np.isfinite(alone))
    total = lambda m, x: m.score(x)
    for leaf in leaves(jax.grad(total, (0, 1))(mixture, jnp.asarray(X))):
        assert np.all(np.isfinite(leaf))
    assert np.all(np.isfinite(mixture.predict_proba(X)))
    trained = gx.UnconstrainedMixture.from_mixture(mixture)
    for leaf in leaves(eqx.filter_grad(lambda m: m.score(X))(trained)):
        assert np.all(np.isfinite(leaf))
    assert np.isfinite(gx.fit(mixture, X, throw=False).log_likelihood)
