"""Bayes' rule for a mixture, against dense algebra, quadrature and Monte Carlo."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import mpmath as mp
import numpy as np
import pytest

import gmmx_eqx as gx

from . import dense
from .helpers import every_family, leaves, make_mixture, parameters


N_FEATURES = 3
MATRIX = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, 1.0]])
NOISE = np.array([[1.0, 0.3], [0.3, 0.5]])
DIAGONAL = np.array([1.0, 2.0, -0.5])

EYE = np.eye(N_FEATURES)
# What is handed in, and the dense matrix that it stands for.
H = {
    "dense": (MATRIX, MATRIX),
    "row": (MATRIX[:1], MATRIX[:1]),
    "tall": (np.vstack([MATRIX, MATRIX + 1]), np.vstack([MATRIX, MATRIX + 1])),
    "diagonal": (DIAGONAL, np.diag(DIAGONAL)),
    "scalar": (-2.0, -2.0 * EYE),
    "features": (gx.Features([2, 0]), EYE[[2, 0]]),
    "slice": (gx.Features(slice(1, None)), EYE[1:]),
}
R = {
    "dense": lambda m: (NOISE[:m, :m], NOISE[:m, :m]),
    "diagonal": lambda m: (0.1 + np.arange(m), np.diag(0.1 + np.arange(m))),
    "scalar": lambda m: (0.3, 0.3 * np.eye(m)),
}
CASES = [
    # family, H, R, family of the posterior
    ("full", "dense", "dense", "full"),
    ("full", "row", "dense", "full"),
    ("full", "diagonal", "diagonal", "full"),
    ("full", "scalar", "scalar", "full"),
    ("full", "features", "dense", "full"),
    ("tied", "tall", "diagonal", "tied"),
    ("tied", "slice", "scalar", "tied"),
    ("diag", "dense", "scalar", "full"),
    ("diag", "features", "dense", "full"),
    ("diag", "diagonal", "diagonal", "diag"),
    ("diag", "scalar", "scalar", "diag"),
    ("diag", "features", "diagonal", "diag"),
    ("spherical", "dense", "dense", "full"),
    ("spherical", "diagonal", "scalar", "diag"),
    ("spherical", "scalar", "diagonal", "diag"),
    ("spherical", "scalar", "scalar", "spherical"),
    ("spherical", "features", "scalar", "diag"),
]


def rtol_of(dtype) -> float:
    return 2000 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("name, h, r, family", CASES)
def test_agrees_with_dense_algebra(name, h, r, family, dtype):
    mixture = make_mixture(name, n_features=N_FEATURES)
    operator, matrix = H[h]
    noise, noise_matrix = R[r](len(matrix))
    y = np.array([0.5, -1.0, 2.0, 0.25])[: len(matrix)]
    got, evidence = gx.observe(mixture, operator, noise, y)
    expected, expected_evidence = dense.observe(
        parameters(mixture), matrix, noise_matrix, y
    )
    assert type(got.covariances) is gx.COVARIANCE[family]
    assert got.means.dtype == evidence.dtype == dtype
    dense.assert_mixture(got, expected, rtol_of(dtype))
    np.testing.assert_allclose(evidence, expected_evidence, rtol_of(dtype))


@pytest.mark.x64
def test_products_are_enough(dtype):
    """An operator without a matrix; one that says it is diagonal keeps the family."""
    mixture = make_mixture("diag", n_features=N_FEATURES)
    structure = jax.ShapeDtypeStruct((N_FEATURES,), dtype)
    difference = lx.FunctionLinearOperator(jnp.diff, structure)
    y = jnp.array([0.5, -1.0])
    got = gx.observe(mixture, difference, 0.1, y)
    same = gx.observe(mixture, np.diff(EYE, axis=0), 0.1, y)
    for one, other in zip(leaves(got), leaves(same), strict=True):
        np.testing.assert_allclose(one, other, rtol_of(dtype), rtol_of(dtype))
    diagonal = lx.DiagonalLinearOperator(jnp.asarray(DIAGONAL))
    got, _ = gx.observe(mixture, diagonal, 0.1, jnp.ones(N_FEATURES))
    same, _ = gx.observe(mixture, DIAGONAL, 0.1, jnp.ones(N_FEATURES))
    assert type(got.covariances) is gx.DiagCovariances
    for one, other in zip(leaves(got), leaves(same), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.x64
@every_family
def test_posterior_is_prior_times_likelihood(name, dtype):
    """One feature, by quadrature."""
    mixture = make_mixture(name, n_features=1)
    posterior, evidence = gx.observe(mixture, [[2.0]], 0.5, 1.0)
    weights, means, values = parameters(mixture)
    x = np.linspace(-40, 40, 40001)
    density = lambda x, mean, variance: (
        np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    )
    prior = sum(
        w * density(x, mean[0], value[0, 0])
        for w, mean, value in zip(weights, means, values, strict=True)
    )
    joint = prior * density(1.0, 2 * x, 0.5)
    total = np.trapezoid(joint, x)
    rtol = rtol_of(dtype)
    np.testing.assert_allclose(evidence, np.log(total), rtol)
    got = np.exp(posterior.log_prob(jnp.asarray(x[::100, None])))
    np.testing.assert_allclose(got, (joint / total)[::100], rtol, rtol)


@pytest.mark.x32
def test_monte_carlo():
    """The mean of prior samples, weighted with their likelihood."""
    mixture = make_mixture("full", n_features=N_FEATURES)
    y = np.array([0.5, -1.0])
    noise = 10 * NOISE
    posterior, evidence = gx.observe(mixture, MATRIX, noise, y)
    x = np.asarray(mixture.sample(jax.random.key(0), 100_000), np.float64)
    residuals = y - x @ MATRIX.T
    distance = np.sum(residuals @ np.linalg.inv(noise) * residuals, axis=1)
    likelihood = np.exp(-0.5 * distance) / np.sqrt(np.linalg.det(2 * np.pi * noise))
    error = likelihood.std() / np.sqrt(len(x)) / likelihood.mean()
    assert error < 0.02
    assert abs(np.log(likelihood.mean()) - float(evidence)) < 4 * error
    share = likelihood / likelihood.sum()
    mean = share @ x
    error = np.sqrt(share**2 @ (x - mean) ** 2)
    assert np.all(np.abs(mean - gx.mean(posterior)) < 4 * error)


@pytest.mark.parametrize("name", ["full", "diag"])
@pytest.mark.parametrize("noise", [1e-3, 1e-8, 1e-13])
def test_a_small_noise_is_not_lost(name, noise, dtype):
    """The variance of what was seen is that of the noise, however much smaller than the
    prior's, whose difference from itself it would otherwise be."""
    mixture = make_mixture(name, n_features=N_FEATURES)
    got, _ = gx.observe(mixture, gx.Features([0, 2]), noise, [1.0, -1.0])
    variances = np.asarray(got.covariances.variances)[0, :, [0, 2], 0]
    prior = np.asarray(mixture.covariances.variances)[0, :, [0, 2], 0]
    assert prior.min() > 0.3
    # Rounding enters squared, by Joseph's form.
    eps = float(jnp.finfo(dtype).eps)
    atol = 2 * noise**2 + 4 * eps**2 * prior.max()
    np.testing.assert_allclose(variances, noise, atol=atol, rtol=1e-2)
    # The prior's mean counts for as much as its share of the precision.
    np.testing.assert_allclose(got.means[0, :, 0, 0], 1.0, rtol_of(dtype) + 20 * noise)
    # Nothing at all is enough where the rest keeps its width.
    exact, evidence = gx.observe(mixture, gx.Features([0, 2]), 0.0, [1.0, -1.0])
    assert np.isfinite(evidence)
    seen = np.asarray(exact.covariances.variances)[0, :, [0, 2], 0]
    assert np.all(np.abs(seen) < eps)


@pytest.mark.parametrize("name", ["full", "tied"])
def test_a_precise_observation_of_a_wide_prior(name, dtype):
    """Rotated, so that no matrix is diagonal: against the information form, to 50
    digits. The smallest variance is 1e-9 of the prior's."""
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    values = rotation @ np.diag([1e6, 4e6]) @ rotation.T
    values = np.asarray(0.5 * (values + values.T), dtype)
    mixture = gx.GaussianMixture.from_squeezed(
        np.zeros((2, 2), dtype),
        values if name == "tied" else [values] * 2,
        [0.5, 0.5],
        name,
    )
    operator = np.asarray([[1.0, 0.5], [-0.25, 1.0]], dtype)
    noise = np.asarray([1e-3, 2e-3], dtype)
    got, _ = gx.observe(mixture, operator, noise, np.ones(2, dtype))
    as_matrix = lambda a: mp.matrix(np.asarray(a, np.float64).tolist())
    with mp.workdps(50):
        h, r = as_matrix(operator), as_matrix(np.diag(noise))
        precision = mp.inverse(as_matrix(values)) + h.T * mp.inverse(r) * h
        expected = np.array(mp.inverse(precision).tolist(), float)
    for matrix in np.asarray(got.covariances.dense(got.n_features)[0], np.float64):
        np.testing.assert_allclose(matrix, expected, 1e-3, 1e-3 * expected.max())
        assert np.all(np.linalg.eigvalsh(matrix) > 0)


@pytest.mark.parametrize("name", ["full", "tied"])
def test_near_singular_prior(name, dtype):
    gap = 1e-3 if dtype == np.float32 else 1e-9
    values = np.array([[1.0, 1 - gap], [1 - gap, 1.0]], dtype)
    mixture = gx.GaussianMixture.from_squeezed(
        np.array([[0.0, 0.0], [1.0, 3.0]], dtype),
        values if name == "tied" else [values] * 2,
        [0.5, 0.5],
        name,
    )

    @eqx.filter_jit
    def of(mixture, y):
        posterior, evidence = gx.observe(mixture, [[1.0, -1.0]], gap, y)
        return evidence + jnp.sum(posterior.covariances.values), posterior

    gradient = eqx.filter_grad(of, has_aux=True)
    by_mixture, posterior = eqx.filter_jit(gradient)(mixture, jnp.array([0.1], dtype))
    assert all(np.isfinite(leaf).all() for leaf in leaves(by_mixture))
    expected, _ = dense.observe(
        parameters(mixture), np.array([[1.0, -1.0]]), np.array([[gap]]), np.array([0.1])
    )
    # The variance along (1, -1) is known to within rounding over itself.
    rtol = 20 * float(jnp.finfo(dtype).eps) / gap
    assert rtol < 0.01
    dense.assert_mixture(posterior, expected, rtol)


def result_of(mixture, operator, noise, y, tangents):
    """A number that depends on all results."""
    result = gx.observe(mixture, operator, noise, y)
    pairs = zip(jax.tree.leaves(result), tangents, strict=True)
    return sum(jnp.sum(a * b) for a, b in pairs)


@pytest.mark.x64
@pytest.mark.parametrize(
    "name, h, r, weights",
    [
        ("full", "dense", "dense", (0.25, 0.0, 0.75)),
        ("tied", "diagonal", "diagonal", (0.2, 0.3, 0.5)),
        ("diag", "features", "scalar", (0.25, 0.0, 0.75)),
        ("spherical", "scalar", "scalar", (0.2, 0.3, 0.5)),
    ],
)
def test_gradients_agree_with_finite_differences(name, h, r, weights):
    mixture = make_mixture(name, n_features=N_FEATURES)
    weights = jnp.asarray(weights)[None, :, None, None]
    mixture = dataclasses.replace(mixture, weights=weights)
    operator, matrix = H[h]
    noise, _ = R[r](len(matrix))
    as_array = lambda a: a if isinstance(a, gx.Features) else jnp.asarray(a)
    inputs = (mixture, as_array(operator), jnp.asarray(noise), jnp.ones(len(matrix)))
    rng = np.random.default_rng(0)
    random = lambda a: jnp.asarray(rng.normal(size=a.shape))
    cotangents = [random(a) for a in jax.tree.leaves(gx.observe(*inputs))]
    fn = lambda inputs: result_of(*inputs, cotangents)
    direction = jax.tree.map(random, inputs)
    direction = eqx.tree_at(lambda i: i[0].weights, direction, replace_fn=jnp.abs)
    # A covariance is symmetric.
    symmetrised = lambda a: 0.5 * (a + jnp.swapaxes(a, -1, -2))
    if name in ("full", "tied"):
        where = lambda inputs: inputs[0].covariances.values
        direction = eqx.tree_at(where, direction, replace_fn=symmetrised)
    if r == "dense":
        direction = eqx.tree_at(lambda i: i[2], direction, replace_fn=symmetrised)
    gradient = jax.jit(jax.grad(fn))(inputs)
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    got = sum(float(jnp.sum(a * b)) for a, b in pairs)
    # To one side, since there is no other at a weight of zero.
    step = 1e-5
    at = lambda n: jitted(
        jax.tree.map(lambda a, b: a + n * step * b, inputs, direction)
    )
    jitted = jax.jit(fn)
    expected = (4 * at(1) - at(2) - 3 * at(0)) / (2 * step)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["full", "spherical"])
def test_far_points_and_weights_of_zero(name, dtype):
    """Two equal components: the shares are those of the prior, however small both
    densities. Far beyond a third of weight zero nothing is lost either."""
    values = {"full": [np.eye(2)] * 3, "spherical": np.ones(3)}[name]
    mixture = gx.GaussianMixture.from_squeezed(
        jnp.asarray([[-1.0, 0.0], [1.0, 0.0], [0.0, 500.0]], dtype),
        jnp.asarray(values, dtype),
        jnp.asarray([0.25, 0.75, 0.0], dtype),
        name,
    )

    def of(mixture, noise, y):
        posterior, evidence = gx.observe(mixture, 1.0, noise, y)
        parts = (posterior.weights, posterior.means, posterior.covariances.values)
        total = evidence + sum(jnp.sum(part) for part in parts)
        return total, (posterior, evidence)

    fn = jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2), has_aux=True))
    for distance in (0.0, 1e2, 1e4, 1e6):
        y = jnp.asarray([0.0, distance], dtype)
        (_, (posterior, evidence)), gradients = fn(mixture, jnp.ones((), dtype), y)
        rtol = rtol_of(dtype)
        np.testing.assert_allclose(posterior.weights_numpy, [0.25, 0.75, 0.0], rtol)
        np.testing.assert_allclose(posterior.means_numpy[:2, 1], distance / 2, rtol)
        log_density = -(distance**2 + 1) / 4 - np.log(4 * np.pi)
        np.testing.assert_allclose(evidence, log_density, rtol)
        assert all(np.isfinite(leaf).all() for leaf in leaves(gradients))


@pytest.mark.x64
def test_many_observations_and_many_mixtures():
    mixture = make_mixture("full", n_features=N_FEATURES)
    other = make_mixture("full", n_features=N_FEATURES, seed=5)
    y = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
    one = lambda mixture, y: gx.observe(mixture, MATRIX, NOISE, y)
    by_y = eqx.filter_vmap(one, in_axes=(None, 0))
    many = eqx.filter_vmap(by_y, in_axes=(eqx.if_array(0), None))
    got = many(gx.stack([mixture, other]), y)
    for i, m in enumerate((mixture, other)):
        for n in (0, 3):
            lane = jax.tree.map(lambda leaf, i=i, n=n: leaf[i, n], got)
            expected = leaves(one(m, y[n]))
            for a, b in zip(leaves(lane), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol_of(a.dtype), rtol_of(a.dtype))
    with pytest.raises(ValueError, match="ensemble"):
        one(gx.stack([mixture, other]), y[0])


@pytest.mark.x64
def test_types():
    """A Python number takes the mixture's type; arrays are not narrowed."""
    mixture = make_mixture("diag", dtype=np.float32)
    y = np.ones(2, np.float32)
    posterior, evidence = gx.observe(mixture, 2, 0.1, y)
    assert posterior.means.dtype == evidence.dtype == np.float32
    posterior, evidence = gx.observe(mixture, 2, 0.1, np.ones(2))
    assert posterior.means.dtype == evidence.dtype == np.float64


@pytest.mark.x32
@pytest.mark.parametrize(
    "operator, noise, y, message",
    [
        (np.ones((2, 4)), 1.0, [0.0, 0.0], "`H` must have shape"),
        (np.ones(2), 1.0, [0.0, 0.0], "`H` must have shape"),
        (np.full((1, 3), np.nan), 1.0, [0.0], "`H` must be finite; it holds nan"),
        (gx.Features([0, 3]), 1.0, [0.0, 0.0], "index 3"),
        (MATRIX, np.ones(3), [0.0, 0.0], "`R` must be a covariance of shape"),
        (MATRIX, -1.0, [0.0, 0.0], "at least zero"),
        (MATRIX, [[1.0, 2.0], [2.0, 1.0]], [0.0, 0.0], "positive semidefinite"),
        (MATRIX, [[1.0, 0.5], [0.0, 1.0]], [0.0, 0.0], "symmetric"),
        (MATRIX, 1.0, [0.0], r"`y` must have shape \(2,\)"),
        (MATRIX, 1.0, [0.0, np.inf], "`y` must be finite; it holds inf"),
        (MATRIX, "1.0", [0.0, 0.0], "`R` must be numeric"),
        (lx.MatrixLinearOperator(jnp.ones((2, 2))), 1.0, [0.0, 0.0], "size 2"),
    ],
)
def test_bad_input(operator, noise, y, message):
    mixture = make_mixture("full", n_features=N_FEATURES)
    with pytest.raises(ValueError, match=message):
        gx.observe(mixture, operator, noise, y)


DIAGONAL_LOOKALIKES = [
    [1, 0, 0],
    [0.0, 1.0, 1.0],
    np.array([0, 1, 0]),
    (True, False, False),
]


@pytest.mark.x32
@pytest.mark.parametrize("vector", DIAGONAL_LOOKALIKES)
def test_zeros_and_ones_are_no_diagonal(vector):
    mixture = make_mixture("full", 2, 3)
    chosen = str(np.flatnonzero(vector).tolist())
    for name, call in {
        "H": lambda: gx.observe(mixture, vector, 1.0, np.zeros(3)),
        "A": lambda: gx.affine(mixture, vector),
    }.items():
        with pytest.raises(ValueError) as caught:
            call()
        for text in (f"`{name}`", "[[", f"Features({chosen})", "np.diag", "diagonal"):
            assert text in str(caught.value)
    assert gx.observe(mixture, [np.array(vector, float)], 1.0, [0.0])[0].n_features == 3


@pytest.mark.x32
@pytest.mark.parametrize("vector", [[1.0, 1.0, 1.0], [2.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
def test_other_vectors_are_diagonals(vector):
    mixture = make_mixture("full", 2, 3)
    y = np.zeros(3)
    short, _ = gx.observe(mixture, vector, 1.0, y)
    long, _ = gx.observe(mixture, np.diag(vector), 1.0, y)
    np.testing.assert_allclose(short.means, long.means, rtol=1e-5, atol=1e-6)
    line = make_mixture("full", 2, 1)
    for one in ([1], [0], [True]):
        gx.observe(line, one, 1.0, [0.0])
