"""Cumulative probabilities and quantiles of one feature, against mpmath."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, FAMILIES, leaves, make_mixture, parameters
from .test_divergence import derivatives_of


def with_weights(mixture, weights):
    weights = jnp.asarray(weights, mixture.means.dtype)[None, :, None, None]
    return eqx.tree_at(lambda m: m.weights, mixture, weights)


def exact(mixture, x, upper=False):
    """The probability below `x`, or above it, to 40 digits."""
    weights, means, matrices = parameters(mixture)
    sign = -1 if upper else 1
    with mp.workdps(40):
        terms = [
            mp.mpf(w) * mp.ncdf(sign * (mp.mpf(x) - mp.mpf(m)) / mp.sqrt(mp.mpf(v)))
            for w, m, v in zip(weights, means[:, 0], matrices[:, 0, 0], strict=True)
        ]
        return mp.fsum(terms) / mp.fsum(map(mp.mpf, weights))


POINTS = [-1e3, -30.0, -8.0, -3.0, -0.5, 0.0, 1.0, 4.0, 9.0, 40.0, 1e3]


@every_family
@pytest.mark.parametrize("upper", [False, True])
def test_cumulative_probabilities(name, upper, dtype):
    mixture = make_mixture(name, 3, 1)
    points = jnp.asarray(POINTS, dtype)
    plain, log = (
        (gx.univariate.survival, gx.univariate.log_survival)
        if upper
        else (gx.univariate.cdf, gx.univariate.log_cdf)
    )
    got, logs = plain(mixture, points), log(mixture, points)
    info = np.finfo(dtype)
    for x, p, log_p in zip(points, got, logs, strict=True):
        expected, rest = (exact(mixture, float(x), u) for u in (upper, not upper))
        with mp.workdps(40):
            # Where the one is close to one, the other has the digits.
            log_of = lambda p, rest: mp.log(p) if p < rest else mp.log1p(-rest)
            log_expected = float(log_of(expected, rest))
            other = float(log_of(rest, expected))
        # A rounding of z changes a small probability by z^2 of its own.
        eps = 20 * float(info.eps)
        rtol = eps * (4 + 2 * abs(min(log_expected, other)))
        if expected > 100 * info.tiny:
            np.testing.assert_allclose(p, float(expected), rtol)
        is_small = log_expected < other
        log_rtol = eps if is_small else rtol
        np.testing.assert_allclose(log_p, log_expected, log_rtol, info.tiny)
    ends = jnp.array([-jnp.inf, jnp.inf], dtype)
    assert plain(mixture, ends).tolist() == ([1, 0] if upper else [0, 1])
    assert log(mixture, ends).tolist() == ([0, -np.inf] if upper else [-np.inf, 0])


@pytest.mark.parametrize("name", ["tied", "spherical"])
def test_derivatives_in_the_tails(name, dtype):
    mixture = make_mixture(name, 3, 1)
    points = jnp.asarray([*POINTS, np.inf, -np.inf], dtype)
    log = jax.jit(jax.vmap(jax.grad(lambda x: gx.univariate.log_cdf(mixture, x))))(
        points
    )
    for x, got in zip(POINTS, log, strict=False):
        weights, means, matrices = parameters(mixture)
        with mp.workdps(40):
            density = mp.fsum(
                mp.mpf(w) * mp.npdf(mp.mpf(x), mp.mpf(m), mp.sqrt(mp.mpf(v)))
                for w, m, v in zip(weights, means[:, 0], matrices[:, 0, 0], strict=True)
            )
            slope = float(density / mp.fsum(map(mp.mpf, weights)) / exact(mixture, x))
        rtol = 2e3 * np.finfo(dtype).eps
        np.testing.assert_allclose(got, slope, rtol, np.finfo(dtype).tiny)
    by_parameters = eqx.filter_jit(
        eqx.filter_grad(
            lambda m: (
                jnp.sum(gx.univariate.cdf(m, points))
                + jnp.sum(jnp.maximum(gx.univariate.log_cdf(m, points), -1e30))
            )
        )
    )
    assert all(np.isfinite(leaf).all() for leaf in leaves(by_parameters(mixture)))


# Both tails, as far as the probability itself can say.
PROBABILITIES = [1e-35, 1e-12, 1e-3, 0.2, 0.5, 0.73, 1 - 1e-3, 1 - 1e-6]


def check_quantiles(mixture, probabilities, dtype):
    """F at the quantile is q, to within a few roundings of the quantile."""
    q = jnp.asarray(probabilities, dtype)
    quantiles = gx.univariate.quantile(mixture, q)
    for x, p in zip(np.float64(quantiles), np.float64(q), strict=True):
        upper = p > 0.5
        p = mp.mpf(float(p))
        want = 1 - p if upper else p
        room = 8 * float(np.finfo(dtype).eps) * max(1.0, abs(x))
        low, high = (exact(mixture, x + s * room, upper) for s in (-1, 1))
        assert min(low, high) <= want <= max(low, high), (x, p)


@every_family
def test_quantiles(name, dtype):
    check_quantiles(make_mixture(name, 3, 1), PROBABILITIES, dtype)
    check_quantiles(make_mixture(name, 1, 1), PROBABILITIES, dtype)


def test_quantiles_of_modes_far_apart(dtype):
    means, variances = [[-1e4], [0.0], [1e4]], [1e-4, 1.0, 1e4]
    mixture = gx.GaussianMixture.from_squeezed(
        means, variances, [0.25, 0.5, 0.25], "spherical"
    )
    x = gx.univariate.quantile(mixture, jnp.array([0.125, 0.5, 0.875, 0.25, 0.3, 0.9]))
    np.testing.assert_allclose(x[:3], [-1e4, 0, 1e4], rtol=1e-6, atol=1e-6)
    # Anywhere between the two modes is right.
    assert -1e4 < x[3] < 0
    np.testing.assert_allclose(gx.univariate.cdf(mixture, x[4:]), [0.3, 0.9], rtol=1e-5)
    gradient = jax.grad(
        lambda m: jnp.sum(gx.univariate.quantile(m, jnp.array([0.25])))
    )(mixture)
    assert all(np.isfinite(leaf).all() for leaf in leaves(gradient))


@pytest.mark.x64
def test_the_ends_and_what_has_no_weight():
    mixture = make_mixture("full", 3, 1)
    assert gx.univariate.quantile(mixture, jnp.array([0.0, 1.0])).tolist() == [
        -np.inf,
        np.inf,
    ]
    assert gx.univariate.quantile(mixture, 0.5).shape == ()
    assert np.isnan(
        jax.jit(lambda q: gx.univariate.quantile(mixture, q))(jnp.array(1.5))
    )
    emptied = with_weights(mixture, [0.25, 0.0, 0.75])
    kept = jax.tree.map(lambda x: x[:, jnp.array([0, 2])], emptied)
    far = eqx.tree_at(lambda m: m.means, emptied, emptied.means.at[0, 1].set(1e30))
    q = jnp.array([1e-6, 0.3, 0.9])
    for fn, points in (
        (gx.univariate.quantile, q),
        (gx.univariate.cdf, q),
        (gx.univariate.log_survival, q),
    ):
        np.testing.assert_allclose(fn(far, points), fn(kept, points), 1e-6)
    gradient = jax.grad(
        lambda m: jnp.sum(gx.univariate.quantile(m, q) + gx.univariate.cdf(m, q))
    )(far)
    assert all(np.isfinite(leaf).all() for leaf in leaves(gradient))


@pytest.mark.x64
@pytest.mark.parametrize("name", ["tied", "spherical"])
def test_derivatives(name):
    mixture = make_mixture(name, 3, 1)
    q = jnp.array([1e-8, 0.1, 0.5, 0.999])
    x = jnp.array([-4.0, 0.0, 2.0])
    fn = lambda m: (
        jnp.sum(gx.univariate.quantile(m, q))
        + jnp.sum(gx.univariate.cdf(m, x) + gx.univariate.log_survival(m, x))
    )
    got, expected = derivatives_of(fn, mixture)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    slope = jax.vmap(jax.grad(lambda q: gx.univariate.quantile(mixture, q)))(q)
    density = jnp.exp(mixture.log_prob(gx.univariate.quantile(mixture, q)[:, None]))
    np.testing.assert_allclose(slope * density, 1, rtol=1e-9)


@pytest.mark.x64
def test_second_derivatives():
    mixture = make_mixture("full", 3, 1)
    fn = jax.jit(jax.grad(lambda q: gx.univariate.quantile(mixture, q)))
    step = 1e-6
    expected = (fn(0.3 + step) - fn(0.3 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(fn))(0.3), expected, rtol=1e-6)


@pytest.mark.x64
def test_a_python_number_has_the_type_of_the_mixture():
    mixture = make_mixture("full", 3, 1, dtype=jnp.float32)
    functions = (
        gx.univariate.cdf,
        gx.univariate.survival,
        gx.univariate.log_cdf,
        gx.univariate.log_survival,
        gx.univariate.quantile,
    )
    for fn in functions:
        got = fn(mixture, 0.3)
        assert got.dtype == jnp.float32
        assert fn(mixture, 1).dtype == jnp.float32
        # What has a type of its own keeps it.
        wide = fn(mixture, jnp.array([0.3], jnp.float64))
        assert wide.dtype == jnp.float64
        np.testing.assert_allclose(got, wide[0], 1e-5)


@pytest.mark.x32
def test_bad_input():
    mixture = make_mixture(FAMILIES[0], 2, 1)
    with pytest.raises(ValueError, match="must have one feature"):
        gx.univariate.cdf(make_mixture(FAMILIES[0], 2, 2), jnp.zeros(3))
    with pytest.raises(ValueError, match="probabilities from 0 to 1; it spans -0.5"):
        gx.univariate.quantile(mixture, jnp.array([-0.5, 0.5]))
    with pytest.raises(ValueError, match=r"got shape \(2, 1\)"):
        gx.univariate.cdf(mixture, jnp.zeros((2, 1)))
