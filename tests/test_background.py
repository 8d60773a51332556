"""A background beside components that have a prior, or of which parts are frozen: the
objective by scipy, which no step lowers and whose derivatives vanish at the end."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

import gmmx_eqx as gx

from .helpers import old_faithful
from .observations import faithful_start, lattice


BOX = gx.Uniform([1.0, 40.0], [6.0, 100.0])
DENSITY = 1 / 300
ALPHA, MEAN, KAPPA, NU = 3.0, np.array([3.5, 70.0]), 0.5, 4.0
SCALE = np.diag([0.3, 60.0])
PRIOR = gx.Prior(gx.Dirichlet(ALPHA), gx.NormalInverseWishart(MEAN, KAPPA, NU, SCALE))
CASES = {
    "prior": {"prior": PRIOR},
    "frozen": {"frozen": gx.Frozen(weights=True, means=[True, False])},
    "both": {"prior": PRIOR, "frozen": gx.Frozen(covariances=[False, True])},
    "one weight": {"frozen": gx.Frozen(weights=[True, False])},
    "equal": {"equal_weights": True},
}


def log_prior(weights, means, dense):
    total = scipy.stats.dirichlet([ALPHA] * 2).logpdf(weights)
    for mean, covariance in zip(means, dense, strict=True):
        total += scipy.stats.multivariate_normal(MEAN, covariance / KAPPA).logpdf(mean)
        total += scipy.stats.invwishart(NU, SCALE).logpdf(covariance)
    return total


def log_likelihood(x, rest, weights, means, dense):
    rows = [np.full(len(x), np.log(rest * DENSITY))]
    for weight, mean, covariance in zip(weights, means, dense, strict=True):
        normal = scipy.stats.multivariate_normal(mean, covariance)
        rows.append(np.log((1 - rest) * weight) + normal.logpdf(x))
    return np.sum(np.asarray(scipy.special.logsumexp(rows, axis=0)))


@pytest.mark.x64
@pytest.mark.parametrize("name", CASES)
def test_the_objective_rises_to_where_its_derivatives_vanish(name):
    options = CASES[name]
    x = np.concatenate([old_faithful(), lattice()])
    start = faithful_start()
    solution = gx.fit(
        start,
        x,
        background=BOX,
        solver=gx.EM(tol=1e-14, max_steps=3000),
        reg_covar=0.0,
        **options,
    )
    objectives = np.asarray(solution.objectives)[: int(solution.n_steps) + 1]
    assert np.all(np.diff(objectives) > -1e-10 * abs(objectives[-1]))
    mixture = solution.mixture
    weights, means = mixture.weights_numpy, mixture.means_numpy
    dense = mixture.covariances.values_numpy
    rest = float(solution.background_weight)
    value = log_likelihood(x, rest, weights, means, dense)
    np.testing.assert_allclose(solution.log_likelihood, value, rtol=1e-11)
    has_prior = "prior" in options
    if has_prior:
        prior = log_prior(weights, means, dense)
        np.testing.assert_allclose(solution.log_prior, prior, rtol=1e-9)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-14)
    frozen = options.get("frozen", gx.Frozen())
    held = [
        np.broadcast_to(m, 2)
        for m in (frozen.weights, frozen.means, frozen.covariances)
    ]
    for mask, got, expected in zip(
        held,
        (weights, means, dense),
        (start.weights_numpy, start.means_numpy, start.covariances.values_numpy),
        strict=True,
    ):
        np.testing.assert_array_equal(got[mask], expected[mask])

    def objective(p):
        """Of offsets of the background's logit, the weights' one, means and factors."""
        own_rest = scipy.special.expit(scipy.special.logit(rest) + p[0])
        share = scipy.special.expit(scipy.special.logit(weights[0]) + p[1])
        own = np.array([share, 1 - share])
        moved = means + p[2:6].reshape(2, 2) * [1, 10]
        factors = np.linalg.cholesky(dense)
        low = p[6:12].reshape(2, 3)
        change = np.zeros((2, 2, 2))
        change[:, [0, 1, 1], [0, 0, 1]] = low * [0.3, 1, 6]
        new = factors + change
        values = new @ new.swapaxes(1, 2)
        value = log_likelihood(x, own_rest, own, moved, values)
        return value + (log_prior(own, moved, values) if has_prior else 0)

    fixed = [False, held[0].any() or name == "equal"]
    fixed += [*held[1].repeat(2), *held[2].repeat(3)]
    for i in np.flatnonzero(~np.array(fixed)):
        e = np.eye(12)[i] * 1e-4
        up, here, down = objective(e), objective(0 * e), objective(-e)
        slope, bend = (up - down) / 2e-4, (up - 2 * here + down) / 1e-8
        # How far away the top is, in the units of the offsets; they are of order one.
        assert bend < 0
        assert abs(slope / bend) < 1e-5, i


@pytest.mark.x64
def test_the_weight_of_the_background_has_no_prior():
    # With known components, it is the weight of a mixture of two known densities.
    x = np.concatenate([old_faithful(), lattice()])
    start = faithful_start()
    frozen = gx.Frozen(weights=True, means=True, covariances=True)
    solution = gx.fit(
        start,
        x,
        background=BOX,
        frozen=frozen,
        prior=PRIOR,
        solver=gx.SQUAREM(tol=1e-15),
    )
    joint = np.exp(np.asarray(start.log_prob(jnp.asarray(x))))
    score = lambda rest: np.sum(
        (DENSITY - joint) / (rest * DENSITY + (1 - rest) * joint)
    )
    expected = scipy.optimize.brentq(score, 1e-6, 1 - 1e-6, xtol=1e-14)
    np.testing.assert_allclose(solution.background_weight, expected, rtol=1e-6)
