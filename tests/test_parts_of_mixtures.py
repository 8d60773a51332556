"""Marginals, conditionals, affine maps and moments of mixtures, against dense algebra
and Monte Carlo."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import gmmx_eqx as gx

from . import dense
from .helpers import every_family, leaves, make_data, make_mixture, parameters
from .test_observe import rtol_of


N_FEATURES = 3


@pytest.mark.x64
@every_family
@pytest.mark.parametrize(
    "features, indices",
    [(1, [1]), ([2, 0], [2, 0]), (slice(None, None, 2), [0, 2]), ([-1], [2])],
)
def test_marginal(name, features, indices):
    mixture = make_mixture(name, n_features=N_FEATURES)
    got = gx.marginal(mixture, features)
    weights, means, values = parameters(mixture)
    assert type(got.covariances) is type(mixture.covariances)
    rows = np.ix_(range(len(weights)), indices, indices)
    dense.assert_mixture(got, (weights, means[:, indices], values[rows]), 0.0)
    same = gx.marginal(mixture, gx.Features(features))
    for one, other in zip(leaves(got), leaves(same), strict=True):
        np.testing.assert_array_equal(one, other)


@every_family
@pytest.mark.parametrize("features, values", [(1, 0.5), ([2, 0], [-1.0, 0.5])])
def test_conditional(name, features, values, dtype):
    mixture = make_mixture(name, n_features=N_FEATURES)
    got = gx.condition(mixture, features, values)
    assert type(got.covariances) is type(mixture.covariances)
    expected = dense.condition(
        parameters(mixture), np.atleast_1d(features).tolist(), np.atleast_1d(values)
    )
    dense.assert_mixture(got, expected, rtol_of(dtype))


@pytest.mark.parametrize("name", ["full", "tied"])
def test_conditional_of_nearly_dependent_features(name, dtype):
    gap = 1e-3 if dtype == np.float32 else 1e-9
    values = np.array([[1.0, 1 - gap], [1 - gap, 1.0]], dtype)
    mixture = gx.GaussianMixture.from_squeezed(
        np.array([[0.0, 0.0]], dtype),
        values if name == "tied" else [values],
        [1.0],
        name,
    )
    of = lambda mixture, y: jnp.sum(gx.condition(mixture, 0, y).log_prob(y[None] + 0.1))
    gradient = jax.jit(jax.grad(of, argnums=(0, 1)))(mixture, jnp.ones(1, dtype))
    assert all(np.isfinite(leaf).all() for leaf in leaves(gradient))
    got = gx.condition(mixture, 0, 1.0)
    # 1 - v^2, without a difference of squares.
    v = float(values[0, 1])
    eps = float(jnp.finfo(dtype).eps)
    variance = np.squeeze(got.covariances.values_numpy)
    np.testing.assert_allclose(variance, (1 - v) * (1 + v), 4 * eps / gap)
    np.testing.assert_allclose(got.means_numpy, [[v]], 4 * eps)


def test_conditional_far_away(dtype):
    """The component of weight zero is the nearest by far."""
    mixture = make_mixture("full", n_features=N_FEATURES)
    means = mixture.means.at[0, 1, 0].set(1e3)
    weights = jnp.asarray([0.25, 0.0, 0.75], dtype)[None, :, None, None]
    mixture = dataclasses.replace(mixture, means=means, weights=weights)

    def of(mixture, y):
        got = gx.condition(mixture, [0], y)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(got)), got

    fn = jax.jit(jax.value_and_grad(of, argnums=(0, 1), has_aux=True))
    for y in (1e3, 1e6, -1e8):
        (_, got), gradients = fn(mixture, jnp.asarray([y], dtype))
        assert all(np.isfinite(leaf).all() for leaf in leaves((got, gradients)))
        np.testing.assert_allclose(np.sum(got.weights), 1.0, rtol_of(dtype))
        assert got.weights_numpy[1] == 0


MATRIX = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, 1.0]])
DIAGONAL = np.array([1.0, 2.0, -0.5])
AFFINE = [
    # family, A, its matrix, family of the result
    ("full", MATRIX, MATRIX, "full"),
    ("full", DIAGONAL, np.diag(DIAGONAL), "full"),
    ("tied", MATRIX, MATRIX, "tied"),
    ("diag", MATRIX, MATRIX, "full"),
    ("diag", DIAGONAL, np.diag(DIAGONAL), "diag"),
    ("diag", gx.Features([2, 0]), np.eye(3)[[2, 0]], "diag"),
    ("spherical", MATRIX[:1], MATRIX[:1], "full"),
    ("spherical", DIAGONAL, np.diag(DIAGONAL), "diag"),
    ("spherical", -3.0, -3.0 * np.eye(3), "spherical"),
]


@pytest.mark.parametrize("name, A, matrix, family", AFFINE)
def test_affine(name, A, matrix, family, dtype):
    mixture = make_mixture(name, n_features=N_FEATURES)
    offset = np.array([10.0, -20.0, 5.0])[: len(matrix)]
    got = gx.affine(mixture, A, offset)
    assert type(got.covariances) is gx.COVARIANCE[family]
    assert got.means.dtype == dtype
    weights, means, values = parameters(mixture)
    expected = (weights, means @ matrix.T + offset, matrix @ values @ matrix.T)
    dense.assert_mixture(got, expected, rtol_of(dtype))


@pytest.mark.x64
def test_affine_by_products_and_a_number(dtype):
    mixture = make_mixture("tied", n_features=N_FEATURES)
    structure = jax.ShapeDtypeStruct((N_FEATURES,), dtype)
    got = gx.affine(mixture, lx.FunctionLinearOperator(jnp.diff, structure), 2)
    same = gx.affine(mixture, np.diff(np.eye(3), axis=0), np.full(2, 2.0))
    for one, other in zip(leaves(got), leaves(same), strict=True):
        np.testing.assert_allclose(one, other, rtol_of(dtype), rtol_of(dtype))


@pytest.mark.x32
@every_family
def test_moments_agree_with_samples(name, dtype):
    mixture = make_mixture(name, n_features=N_FEATURES)
    mean, covariance = gx.mean(mixture), gx.covariance(mixture)
    weights, means, values = parameters(mixture)
    average = weights @ means
    expected = np.tensordot(weights, values, 1)
    expected += (weights[:, None] * (means - average)).T @ (means - average)
    np.testing.assert_allclose(mean, average, rtol_of(dtype))
    np.testing.assert_allclose(covariance, expected, rtol_of(dtype), rtol_of(dtype))
    x = np.asarray(mixture.sample(jax.random.key(0), 40_000), np.float64)
    error = x.std(axis=0) / np.sqrt(len(x))
    assert np.all(np.abs(x.mean(axis=0) - mean) < 4 * error)
    products = (x - average)[:, :, None] * (x - average)[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(x))
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 4 * error)


def test_moments_far_from_the_origin(dtype):
    """What is lost is what the means themselves cannot hold."""
    mixture = make_mixture("full", n_features=N_FEATURES)
    means = jnp.round(64 * mixture.means) / 64
    mixture = dataclasses.replace(mixture, means=means)
    moved = dataclasses.replace(mixture, means=means + 2.0**16)
    got, expected = gx.covariance(moved), gx.covariance(mixture)
    np.testing.assert_allclose(got, expected, rtol_of(dtype), rtol_of(dtype))
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(
        gx.mean(moved) - 2.0**16, gx.mean(mixture), atol=2**17 * eps
    )


@pytest.mark.x64
@every_family
def test_one_component(name):
    mixture = make_mixture(name, n_components=1, n_features=2)
    np.testing.assert_allclose(gx.mean(mixture), mixture.means_numpy[0])
    _, _, values = parameters(mixture)
    np.testing.assert_allclose(gx.covariance(mixture), values[0], 1e-6)
    assert gx.condition(mixture, 0, 100.0).weights_numpy == [1.0]


@pytest.mark.x32
@pytest.mark.parametrize(
    "features, message",
    [
        (3, "index 3"),
        ([0, -4], "index -4"),
        ([0, -3], "twice"),
        ([], "names no feature"),
        (slice(3, None), "slice with none"),
        ([True, False, True], "must be an integer"),
        ([0.0], "must be an integer"),
        ("0", "must be an integer"),
    ],
)
def test_bad_features(features, message):
    mixture = make_mixture("full", n_features=N_FEATURES)
    with pytest.raises(ValueError, match=message):
        gx.marginal(mixture, features)
    with pytest.raises(ValueError, match=message):
        gx.condition(mixture, features, [0.0])


@pytest.mark.x32
def test_bad_input():
    mixture = make_mixture("full", n_features=N_FEATURES)
    with pytest.raises(ValueError, match="leave at least one"):
        gx.condition(mixture, slice(None), np.zeros(3))
    with pytest.raises(ValueError, match=r"`values` must have shape \(2,\)"):
        gx.condition(mixture, [0, 1], [0.0])
    with pytest.raises(ValueError, match="`values` must be finite; it holds nan"):
        gx.condition(mixture, 0, np.nan)
    with pytest.raises(ValueError, match="no density"):
        gx.affine(mixture, np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"`b` must have shape \(3,\)"):
        gx.affine(mixture, 1.0, np.ones(2))
    with pytest.raises(ValueError, match="known while tracing"):
        jax.jit(lambda i: gx.marginal(mixture, i).means)(jnp.arange(2))
    ensemble = gx.stack([mixture, mixture])
    for operation in (gx.mean, gx.covariance, lambda m: gx.marginal(m, 0)):
        with pytest.raises(ValueError, match="ensemble"):
            operation(ensemble)


@pytest.mark.x64
@every_family
def test_ensembles(name):
    mixtures = [make_mixture(name, n_features=N_FEATURES, seed=seed) for seed in (0, 5)]

    def of(mixture, y):
        return (
            gx.marginal(mixture, [0, 2]),
            gx.condition(mixture, 1, y),
            gx.affine(mixture, DIAGONAL, 1.0),
            gx.mean(mixture),
            gx.covariance(mixture),
        )

    y = jnp.asarray([0.5, -0.5])
    many = eqx.filter_jit(eqx.filter_vmap(of))(gx.stack(mixtures), y)
    one_of = eqx.filter_jit(of)
    for index, mixture in enumerate(mixtures):
        lane = jax.tree.map(lambda leaf, i=index: leaf[i], many)
        for one, other in zip(
            leaves(lane), leaves(one_of(mixture, y[index])), strict=True
        ):
            np.testing.assert_allclose(
                one, other, rtol_of(one.dtype), rtol_of(one.dtype)
            )


@pytest.mark.x64
def test_density_of_parts(dtype):
    """The density is that of the given features times that of the others."""
    mixture = make_mixture("full", n_features=N_FEATURES)
    x = jnp.asarray(make_data(8, N_FEATURES))
    rest = lambda row: gx.condition(mixture, [2, 0], row[jnp.array([2, 0])]).log_prob(
        row[None, 1:2]
    )
    parts = gx.marginal(mixture, [2, 0]).log_prob(x[:, [2, 0]])
    parts = parts + jax.vmap(rest)(x)[:, 0]
    np.testing.assert_allclose(parts, mixture.log_prob(x), 10 * rtol_of(dtype))
