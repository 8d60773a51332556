"""Entropies and divergences against NumPy, numerical integration and samples."""

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special

import gmmx_eqx as gx

from .helpers import every_family, FAMILIES, leaves, make_mixture, parameters


def rounding(mixture):
    return 200 * float(jnp.finfo(mixture.means.dtype).eps)


def exact_kl(p, q):
    """From the textbook, in float64."""
    _, mean_p, matrix_p = p
    _, mean_q, matrix_q = q
    residual = mean_q - mean_p
    precision = np.linalg.inv(matrix_q)
    log_ratio = np.linalg.slogdet(matrix_q)[1] - np.linalg.slogdet(matrix_p)[1]
    trace = np.trace(precision @ matrix_p)
    distance = residual @ precision @ residual
    return (trace - len(residual) + distance + log_ratio) / 2


@every_family
def test_single_gaussians(name):
    first = make_mixture(name, 3, 3)
    for other in FAMILIES:
        second = make_mixture(other, 2, 3, 1)
        expected = [
            [exact_kl(p, q) for q in zip(*parameters(second), strict=True)]
            for p in zip(*parameters(first), strict=True)
        ]
        got = gx.divergences.kl_pairwise(first, second)
        np.testing.assert_allclose(got, expected, rounding(first))
    own = np.diagonal(gx.divergences.kl_pairwise(first, first))
    np.testing.assert_allclose(own, 0, atol=rounding(first))


def log_densities(weights, means, matrices, x):
    """Of points, in NumPy."""
    residuals = x[:, None] - means
    solved = np.linalg.solve(matrices, residuals[..., None])[..., 0]
    distance = np.sum(residuals * solved, axis=-1)
    log_det = np.linalg.slogdet(2 * np.pi * matrices)[1]
    return scipy.special.logsumexp(-(distance + log_det) / 2, axis=1, b=weights)


def integrals(first, second):
    """The entropy of the first, and its divergence from the second, on a grid."""
    _, means, matrices = parameters(first)
    width = 9 * np.sqrt(np.diagonal(matrices, axis1=1, axis2=2))
    ends = np.min(means - width, axis=0), np.max(means + width, axis=0)
    n_points = 20_001 if first.n_features == 1 else 401
    axes = [np.linspace(*pair, n_points) for pair in zip(*ends, strict=True)]
    x = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))
    log_p, log_q = (log_densities(*parameters(m), x) for m in (first, second))
    p = np.exp(log_p) * np.prod([axis[1] - axis[0] for axis in axes])
    assert abs(np.sum(p) - 1) < 1e-6
    return -np.sum(p * log_p), np.sum(p * (log_p - log_q))


bounds = eqx.filter_jit(
    lambda p, q: (gx.divergences.entropy_bounds(p), gx.divergences.kl_bounds(p, q))
)


def check_bounds(first, second):
    entropy, divergence = integrals(first, second)
    of_entropy, of_divergence = bounds(first, second)
    for truth, bound in ((entropy, of_entropy), (divergence, of_divergence)):
        slack = 1e-5 * (1 + abs(truth))
        assert bound.lower <= truth + slack, (bound.lower, truth)
        assert truth <= bound.upper + slack, (truth, bound.upper)
    return entropy, divergence, of_entropy, of_divergence


@pytest.mark.x64
@pytest.mark.parametrize(
    ("name", "n_features"), [*((name, 2) for name in FAMILIES), ("full", 1)]
)
def test_bounds_bracket_the_truth(name, n_features):
    @hypothesis.given(
        seed=st.integers(0, 2**20),
        spread=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0]),
        empty=st.booleans(),
    )
    @hypothesis.settings(deadline=None, max_examples=6)
    def bracket(seed, spread, empty):
        first, second = (make_mixture(name, 3, n_features, seed + i) for i in (0, 1))
        first, second = (
            eqx.tree_at(lambda m: m.means, m, spread * m.means) for m in (first, second)
        )
        if empty:
            weights = jnp.array([0.4, 0.0, 0.6], first.means.dtype)
            weights = weights[None, :, None, None]
            first = eqx.tree_at(lambda m: m.weights, first, weights)
        check_bounds(first, second)

    bracket()


@every_family
def test_where_bounds_meet(name):
    """Far apart, and all alike."""
    mixture = make_mixture(name, 3, 2)
    for scale, alike in ((1e3, False), (0.0, True)):
        apart = eqx.tree_at(lambda m: m.means, mixture, scale * mixture.means)
        if alike and apart.covariances.values.shape[1] > 1:
            same = jnp.broadcast_to(
                apart.covariances.values[:, :1], apart.covariances.values.shape
            )
            apart = eqx.tree_at(lambda m: m.covariances.values, apart, same)
        weights, _, matrices = parameters(apart)
        expected = weights @ np.linalg.slogdet(2 * np.pi * np.e * matrices)[1] / 2
        if not alike:
            expected -= weights @ np.log(weights)
        of_entropy, of_divergence = bounds(apart, apart)
        rtol = rounding(apart)
        np.testing.assert_allclose(of_entropy.upper, expected, rtol)
        np.testing.assert_allclose(of_entropy.lower, expected, rtol)
        np.testing.assert_allclose(of_divergence.lower, 0, atol=rtol)
        np.testing.assert_allclose(of_divergence.upper, 0, atol=rtol)
        np.testing.assert_allclose(
            gx.divergences.kl_variational(apart, apart), 0, atol=rtol
        )


@pytest.mark.x64
@pytest.mark.parametrize("name", ["full", "spherical"])
def test_the_approximation_is_that_of_the_paper(name):
    first, second = make_mixture(name, 3, 2), make_mixture("diag", 2, 2, 1)
    parts = [list(zip(*parameters(m), strict=True)) for m in (first, second)]
    mix = lambda p, others: sum(q[0] * np.exp(-exact_kl(p, q)) for q in others)
    expected = sum(p[0] * np.log(mix(p, parts[0]) / mix(p, parts[1])) for p in parts[0])
    got = gx.divergences.kl_variational(first, second)
    np.testing.assert_allclose(got, expected, rounding(first))


@pytest.mark.x64
@every_family
def test_samples_agree_with_integrals(name, getkey):
    first, second = (make_mixture(name, 3, 2, seed) for seed in (0, 1))
    truths = integrals(first, second)
    n_samples = 20_000
    estimates = (
        gx.divergences.entropy_monte_carlo(first, getkey(), n_samples),
        gx.divergences.kl_monte_carlo(first, second, getkey(), n_samples),
    )
    for estimate, truth in zip(estimates, truths, strict=True):
        assert abs(estimate.value - truth) < 4 * estimate.standard_error
        assert 0 < estimate.standard_error < 10 * (1 + truth) / n_samples**0.5


@pytest.mark.x64
def test_the_standard_error_is_one(getkey):
    """The spread of many estimates is what each of them says."""
    mixture = make_mixture("full", 3, 2)
    many = jax.vmap(lambda key: gx.divergences.entropy_monte_carlo(mixture, key, 200))
    estimates = many(jr.split(getkey(), 500))
    spread = np.std(estimates.value)
    np.testing.assert_allclose(np.mean(estimates.standard_error), spread, rtol=0.15)


def derivatives_of(fn, mixture, step=1e-6):
    """The derivative along a random direction, and the same by differences."""
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), mixture)
    # Symmetric, and the weights' sum stays one.
    weights = direction.weights - jnp.mean(direction.weights)
    values = direction.covariances.values
    if values.shape[-1] > 1:
        values = values + jnp.swapaxes(values, -1, -2)
    direction = eqx.tree_at(
        lambda m: (m.weights, m.covariances.values), direction, (weights, values)
    )
    fn = eqx.filter_jit(fn)
    move = lambda by: jax.tree.map(lambda x, dx: x + by * dx, mixture, direction)
    slope = (fn(move(step)) - fn(move(-step))) / (2 * step)
    gradient = eqx.filter_jit(eqx.filter_grad(fn))(mixture)
    pairs = zip(leaves(gradient), leaves(direction), strict=True)
    return sum(np.sum(g * d) for g, d in pairs), slope


@pytest.mark.x64
@pytest.mark.parametrize("name", ["full", "diag"])
def test_derivatives(name):
    mixture, other = make_mixture(name, 3, 2), make_mixture("full", 3, 2, 1)

    def fn(mixture):
        both = (
            gx.divergences.kl_bounds(mixture, other),
            gx.divergences.kl_bounds(other, mixture),
        )
        own = gx.divergences.entropy_bounds(mixture)
        total = sum(b.lower + 2 * b.upper for b in (*both, own))
        return total + gx.divergences.kl_variational(mixture, other)

    got, expected = derivatives_of(fn, mixture)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.x32
@pytest.mark.parametrize("name", ["tied", "spherical"])
def test_far_apart_and_without_weight_all_is_finite(name):
    mixture, other = make_mixture(name, 3, 2), make_mixture(name, 3, 2, 1)
    weights = jnp.array([0.0, 1.0, 0.0], mixture.means.dtype)[None, :, None, None]
    mixture = eqx.tree_at(lambda m: m.weights, mixture, weights)
    mixture = eqx.tree_at(lambda m: m.means, mixture, 1e6 * mixture.means)

    def fn(pair):
        first, second = pair
        both = (
            gx.divergences.kl_bounds(first, second),
            gx.divergences.kl_bounds(second, first),
        )
        bounds = (*both, gx.divergences.entropy_bounds(first))
        return sum(b.lower + b.upper for b in bounds) + gx.divergences.kl_variational(
            first, second
        )

    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(fn))((mixture, other))
    # What a component that is not there would change near another is no number: the
    # derivative in its weight overflows. It is not NaN, and nothing else overflows.
    by_weights, *others = leaves(gradient)
    assert not np.isnan(by_weights).any()
    assert all(np.isfinite(leaf).all() for leaf in (*leaves(value), *others))


@pytest.mark.x64
def test_gradients_of_estimates_are_unbiased(getkey):
    """Of the entropy of one feature, in all parameters."""
    mixture = make_mixture("full", 2, 1)
    grad = eqx.filter_grad(
        lambda m, key: gx.divergences.entropy_monte_carlo(m, key, 500).value
    )
    many = eqx.filter_jit(eqx.filter_vmap(grad, in_axes=(None, 0)))
    lanes = many(mixture, jr.split(getkey(), 400))

    def truth(mixture):
        x = jnp.linspace(-20, 20, 4001, dtype=mixture.means.dtype)
        log_p = mixture.log_prob(x[:, None])
        return -jnp.sum(jnp.exp(log_p) * log_p) * (x[1] - x[0])

    expected = eqx.filter_grad(truth)(mixture)
    for got, want in zip(leaves(lanes), leaves(expected), strict=True):
        mean, error = np.mean(got, axis=0), np.std(got, axis=0) / 20
        assert np.all(np.abs(mean - want) < 4 * error + 1e-5)


@pytest.mark.x32
def test_bad_input(getkey):
    one, two = make_mixture("full", 2, 1), make_mixture("full", 2, 2)
    with pytest.raises(ValueError, match="same number of features; got 1 and 2"):
        gx.divergences.kl_bounds(one, two)
    with pytest.raises(ValueError, match="`n_samples` must be at least 2"):
        gx.divergences.entropy_monte_carlo(one, getkey(), 1)
    with pytest.raises(ValueError, match="ensemble"):
        gx.divergences.entropy_bounds(gx.stack([one, one]))
