"""Products of mixtures, scores, denoising and missing values, against dense algebra,
quadrature, derivatives and Tweedie's formula."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from . import dense
from .helpers import every_family, leaves, make_data, make_mixture, parameters
from .test_observe import rtol_of


N_FEATURES = 3


def product_of(p, q):
    """Every component of `p`, observed at the means of `q`'s."""
    eye = np.eye(p[1].shape[1])
    joint, means, values = [], [], []
    for weight, mean, matrix in zip(*q, strict=True):
        parts, evidence = dense.observe(p, eye, matrix, mean)
        joint.append(np.log(weight) + evidence + np.log(parts[0]))
        means.append(parts[1])
        values.append(parts[2])
    # Those of `q` vary fastest.
    ordered = lambda parts: np.concatenate(np.stack(parts, axis=1))
    joint = ordered(joint)
    total = dense.log_sum(joint)
    return (np.exp(joint - total), ordered(means), ordered(values)), total


@pytest.mark.parametrize(
    "left, right, family",
    [
        ("full", "diag", "full"),
        ("full", "one", "full"),
        ("tied", "one", "tied"),
        ("tied", "tied", "tied"),
        ("tied", "full", "full"),
        ("diag", "tied", "full"),
        ("diag", "spherical", "diag"),
        ("spherical", "diag", "diag"),
        ("spherical", "spherical", "spherical"),
    ],
)
def test_product(left, right, family, dtype):
    p = make_mixture(left, 3, N_FEATURES)
    if right == "one":
        q = make_mixture("full", 1, N_FEATURES, seed=7)
    else:
        q = make_mixture(right, 2, N_FEATURES, seed=7)
    got, log_normaliser = gx.product(p, q)
    expected, total = product_of(parameters(p), parameters(q))
    assert type(got.covariances) is gx.COVARIANCE[family]
    dense.assert_mixture(got, expected, rtol_of(dtype))
    np.testing.assert_allclose(log_normaliser, total, rtol_of(dtype))
    x = jnp.asarray(make_data(8, N_FEATURES))
    both = p.log_prob(x) + q.log_prob(x) - log_normaliser
    np.testing.assert_allclose(got.log_prob(x), both, 10 * rtol_of(dtype))


@pytest.mark.x64
@pytest.mark.parametrize("left, right", [("full", "tied"), ("spherical", "diag")])
def test_product_by_quadrature(left, right, dtype):
    """Two features, on a grid; sums over it are exact to rounding."""
    p, q = make_mixture(left, 2), make_mixture(right, 2, seed=7)
    got, log_normaliser = gx.product(p, q)
    side = jnp.linspace(-12, 12, 241)
    grid = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    cell = float(side[1] - side[0]) ** 2
    both = np.exp(np.asarray(p.log_prob(grid) + q.log_prob(grid), np.float64))
    np.testing.assert_allclose(
        log_normaliser, np.log(both.sum() * cell), atol=rtol_of(dtype)
    )
    density = np.exp(np.asarray(got.log_prob(grid), np.float64))
    np.testing.assert_allclose(density.sum() * cell, 1.0, rtol_of(dtype))


@pytest.mark.x32
def test_product_of_distant_mixtures(dtype):
    """Pairs whose densities nowhere overlap, and a weight of zero."""
    p = make_mixture("diag", 2, N_FEATURES)
    weights = jnp.asarray([0.0, 1.0], dtype)[None, :, None, None]
    p = dataclasses.replace(p, weights=weights)
    q = make_mixture("diag", 2, N_FEATURES, seed=7)
    q = dataclasses.replace(q, means=q.means + 1e5)

    def of(p, q):
        result = gx.product(p, q)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(result)), result

    fn = jax.jit(jax.value_and_grad(of, argnums=(0, 1), has_aux=True))
    (_, (got, log_normaliser)), gradients = fn(p, q)
    assert all(np.isfinite(leaf).all() for leaf in leaves((got, gradients)))
    assert log_normaliser < -1e8
    np.testing.assert_allclose(np.sum(got.weights), 1.0, rtol_of(dtype))
    assert np.all(got.weights_numpy[:2] == 0)


@pytest.mark.x32
def test_product_of_different_features():
    with pytest.raises(ValueError, match="`p` and `q` must have the same number"):
        gx.product(make_mixture("full"), make_mixture("full", n_features=N_FEATURES))


@every_family
def test_score_is_the_gradient(name, dtype):
    mixture = make_mixture(name, n_features=N_FEATURES)
    x = jnp.asarray(make_data(8, N_FEATURES))
    gradient = jax.jit(jax.vmap(jax.grad(lambda row: mixture.log_prob(row[None])[0])))
    expected = np.asarray(gradient(x))
    atol = rtol_of(dtype) * np.abs(expected).max()
    np.testing.assert_allclose(gx.score_function(mixture, x), expected, atol=atol)
    step = 1e-5 if dtype == np.float64 else 1e-2
    for feature, move in enumerate(step * np.eye(N_FEATURES, dtype=dtype)):
        rise = mixture.log_prob(x + move[None]) - mixture.log_prob(x - move[None])
        got = gx.score_function(mixture, x)[:, feature]
        # The error of the difference, and the rounding of what is subtracted.
        atol = 30 * step**2 + float(jnp.finfo(dtype).eps) * 100 / step
        np.testing.assert_allclose(got, rise / (2 * step), atol=atol)


@pytest.mark.parametrize("name", ["tied", "diag"])
def test_score_far_away(name, dtype):
    mixture = make_mixture(name)
    weights = jnp.asarray([0.5, 0.0, 0.5], dtype)[None, :, None, None]
    mixture = dataclasses.replace(mixture, weights=weights)
    x = jnp.asarray(np.outer([1e2, 1e4, 1e6, 1e8], [0.6, -0.8]), dtype)
    fn = jax.jit(
        jax.value_and_grad(lambda m, x: jnp.sum(gx.score_function(m, x)), (0, 1))
    )
    got, gradients = fn(mixture, x)
    assert all(np.isfinite(leaf).all() for leaf in leaves((got, gradients)))
    scores = np.asarray(gx.score_function(mixture, x), np.float64)
    # One component is left, and its pull grows as the distance.
    np.testing.assert_allclose(scores[3] / scores[2], 100, 1e-4)
    # Downhill.
    assert np.all(np.sum(scores * np.asarray(x), axis=1) < 0)


@pytest.mark.parametrize(
    "name, noise",
    [
        ("full", np.diag([0.5, 0.1, 2.0]) + 0.05),
        ("tied", np.array([0.5, 0.1, 2.0])),
        ("diag", np.array([0.5, 0.1, 2.0])),
        ("spherical", 0.5),
    ],
)
def test_denoise_is_tweedies_formula(name, noise, dtype):
    """E[x | y] = y + R grad log p(y), with p(y) the density of noisy samples: the prior
    with wider covariances."""
    mixture = make_mixture(name, n_features=N_FEATURES)
    y = jnp.asarray(make_data(8, N_FEATURES))
    weights, means, values = parameters(mixture)
    matrix = {0: lambda: noise * np.eye(3), 1: lambda: np.diag(noise), 2: lambda: noise}
    matrix = matrix[np.ndim(noise)]()
    noisy = gx.GaussianMixture.from_squeezed(
        jnp.asarray(means, dtype),
        jnp.asarray(values + matrix, dtype),
        mixture.weights_numpy,
    )
    expected = y + gx.score_function(noisy, y) @ jnp.asarray(matrix, dtype)
    got = gx.denoise(mixture, y, noise)
    np.testing.assert_allclose(got, expected, atol=rtol_of(dtype) * np.abs(y).max())
    one, _ = gx.observe(mixture, 1.0, noise, y[0])
    np.testing.assert_allclose(got[0], gx.mean(one), rtol_of(dtype), rtol_of(dtype))


@pytest.mark.x64
def test_denoising_is_the_best_estimate():
    mixture = make_mixture("full", n_features=N_FEATURES)
    x = mixture.sample(jax.random.key(0), 20_000)
    y = x + jax.random.normal(jax.random.key(1), x.shape)
    error = lambda estimate: float(jnp.mean((estimate - x) ** 2))
    best = error(gx.denoise(mixture, y, 1.0))
    # The mean of squared errors is known to within one per cent.
    assert best < 0.97 * error(y)
    assert best < error(gx.denoise(mixture, y, 0.5))
    assert best < error(gx.denoise(mixture, y, 2.0))


@pytest.mark.x32
def test_chunks_do_not_matter():
    mixture = make_mixture("full")
    few = jnp.asarray(make_data(500)).at[::2, 1].set(jnp.nan)
    # A chunk has at most 2**16 samples.
    part, whole = (gx.impute(mixture, x) for x in (few, jnp.tile(few, (300, 1))))
    rtol = rtol_of(part.dtype)
    np.testing.assert_allclose(whole[-500:], part, rtol, rtol)
    part, whole = (gx.score_function(mixture, x) for x in (part, whole))
    np.testing.assert_allclose(whole[-500:], part, rtol, 100 * rtol)


def with_gaps(n_samples=9, seed=0):
    """Every pattern of missing values, nothing and everything among them."""
    x = make_data(n_samples, N_FEATURES, seed=seed)
    patterns = (np.arange(n_samples)[:, None] >> np.arange(N_FEATURES)) & 1
    return np.where(patterns[:, :N_FEATURES] == 1, np.nan, x)


@every_family
def test_missing_values(name, dtype):
    mixture = make_mixture(name, n_features=N_FEATURES)
    x = with_gaps()
    filled = gx.impute(mixture, x)
    log_prob = gx.log_prob_observed(mixture, x)
    assert filled.dtype == log_prob.dtype == dtype
    parts = weights, means, values = parameters(mixture)
    for row, got, got_log in zip(x, filled, log_prob, strict=True):
        given = np.flatnonzero(~np.isnan(row))
        missing = np.flatnonzero(np.isnan(row))
        np.testing.assert_array_equal(got[given], row[given].astype(dtype))
        if not given.size:
            np.testing.assert_allclose(got, weights @ means, rtol_of(dtype))
            # The weights sum to one to within rounding.
            assert abs(got_log) < rtol_of(dtype)
            continue
        logs = [
            np.log(w) + dense.log_normal(row[given], m[given], v[np.ix_(given, given)])
            for w, m, v in zip(weights, means, values, strict=True)
        ]
        np.testing.assert_allclose(
            got_log, dense.log_sum(np.array(logs)), rtol_of(dtype)
        )
        if missing.size:
            shares, others, _ = dense.condition(parts, given, row[given])
            expected = shares @ others
            np.testing.assert_allclose(
                got[missing], expected, rtol_of(dtype), rtol_of(dtype)
            )


@pytest.mark.x32
@pytest.mark.parametrize("name", ["full", "spherical"])
def test_gradients_with_missing_values(name, dtype):
    """Far away, at a weight of zero and where nothing is there: finite, and zero for
    what is missing."""
    mixture = make_mixture(name, n_features=N_FEATURES)
    weights = jnp.asarray([0.25, 0.0, 0.75], dtype)[None, :, None, None]
    mixture = dataclasses.replace(mixture, weights=weights)
    x = jnp.asarray(np.concatenate([with_gaps(8), 1e6 * with_gaps(8)]), dtype)

    def of(mixture, x):
        log_prob = gx.log_prob_observed(mixture, x)
        return jnp.sum(gx.impute(mixture, x)) + jnp.sum(log_prob), log_prob

    fn = jax.jit(jax.value_and_grad(of, argnums=(0, 1), has_aux=True))
    (_, log_prob), gradients = fn(mixture, x)
    assert np.isfinite(log_prob).all()
    # A component of weight zero can have an infinite share of many samples.
    assert not np.isnan(gradients[0].weights).any()
    by_others = (gradients[0].means, gradients[0].covariances, gradients[1])
    assert all(np.isfinite(leaf).all() for leaf in leaves(by_others))
    assert np.all(gradients[1][np.isnan(x)] == 0)


@pytest.mark.x32
def test_bad_input():
    mixture = make_mixture("full")
    for operation in (gx.impute, gx.log_prob_observed, gx.score_function):
        with pytest.raises(ValueError, match="must have shape"):
            operation(mixture, np.zeros(2))
        with pytest.raises(ValueError, match="has 3 features"):
            operation(mixture, np.zeros((1, 3)))
        with pytest.raises(ValueError, match="infinity"):
            operation(mixture, [[np.inf, 0.0]])
        with pytest.raises(ValueError, match="ensemble"):
            operation(gx.stack([mixture, mixture]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="NaN"):
        gx.score_function(mixture, [[np.nan, 0.0]])
    with pytest.raises(ValueError, match="`noise_covariance` must be a covariance"):
        gx.denoise(mixture, np.zeros((1, 2)), [-1.0, 1.0])


@pytest.mark.x64
def test_ensembles():
    mixtures = [make_mixture("full", seed=seed) for seed in (0, 5)]
    x = jnp.asarray([[0.5, jnp.nan], [1.0, 2.0]])

    def of(mixture):
        return (
            gx.impute(mixture, x),
            gx.log_prob_observed(mixture, x),
            gx.score_function(mixture, x[1:]),
            gx.denoise(mixture, x[1:], 0.5),
            gx.product(mixture, mixtures[0]),
        )

    many = eqx.filter_jit(eqx.filter_vmap(of))(gx.stack(mixtures))
    one_of = eqx.filter_jit(of)
    for index, mixture in enumerate(mixtures):
        lane = jax.tree.map(lambda leaf, i=index: leaf[i], many)
        for one, other in zip(leaves(lane), leaves(one_of(mixture)), strict=True):
            rtol = rtol_of(one.dtype)
            np.testing.assert_allclose(one, other, rtol, rtol)
