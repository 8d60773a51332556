"""Optimal transport against linear programming, and Bures' distance against SciPy."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import gmmx_eqx as gx
from gmmx_eqx._ops.transport import transport

from .helpers import every_family, leaves, make_mixture, parameters
from .test_divergence import derivatives_of


solve = jax.jit(transport)


def least_cost(cost, supply, demand):
    """By SciPy's linear programming."""
    n_rows, n_columns = cost.shape
    rows = np.kron(np.eye(n_rows), np.ones(n_columns))
    columns = np.kron(np.ones(n_rows), np.eye(n_columns))
    program = scipy.optimize.linprog(
        cost.ravel(),
        # One of the constraints follows from the others.
        A_eq=np.concatenate([rows, columns])[:-1],
        b_eq=np.concatenate([supply, demand])[:-1],
        method="highs",
    )
    assert program.success
    return program.fun


def problems(shape):
    """Costs and marginals: of any kind, with ties, and with zeros."""
    rng = np.random.default_rng(0)
    cost = 10 * rng.random(shape) ** 2
    weights = [rng.dirichlet(np.full(size, 5.0)) for size in shape]
    even = [np.full(size, 1 / size) for size in shape]
    holed = [np.where(np.arange(len(w)) % 3 == 1, 0, w) for w in weights]
    yield cost, *weights
    yield np.round(cost), *even
    yield np.zeros(shape), *weights
    yield cost, *(w / w.sum() for w in holed)
    # Points on a line, where many paths are as short as each other.
    points = [np.arange(size, dtype=float) for size in shape]
    yield np.abs(points[0][:, None] - points[1]), *weights[::1]


@pytest.mark.parametrize("shape", [(1, 4), (3, 2), (12, 17)])
def test_transport_is_optimal(shape, dtype):
    eps = np.finfo(dtype).eps
    for problem in problems(shape):
        cost, supply, demand = (np.asarray(part, dtype) for part in problem)
        value, plan = solve(*map(jnp.asarray, (cost, supply, demand)))
        plan = np.asarray(plan, np.float64)
        assert np.all(plan >= 0)
        np.testing.assert_allclose(plan.sum(1), supply, atol=20 * eps)
        np.testing.assert_allclose(plan.sum(0), demand, atol=20 * eps)
        tolerance = 20 * eps * (1 + cost.max())
        np.testing.assert_allclose(value, np.sum(plan * cost), atol=tolerance)
        assert abs(float(value) - least_cost(*problem)) < tolerance


@pytest.mark.x64
def test_derivatives_of_transport():
    """In the costs; and in the weights, at a weight of zero on its one side."""
    fn = jax.jit(jax.value_and_grad(lambda *args: transport(*args)[0], (0, 1, 2)))
    for problem in list(problems((12, 17)))[::3]:
        _, gradients = fn(*map(jnp.asarray, problem))
        cost, supply, demand = problem
        rng = np.random.default_rng(1)
        # The cost is linear until the plan changes.
        step = 1e-5
        d_cost = rng.normal(size=cost.shape)
        slope = (
            least_cost(cost + step * d_cost, supply, demand)
            - least_cost(cost, supply, demand)
        ) / step
        np.testing.assert_allclose(np.sum(gradients[0] * d_cost), slope, 1e-5)
        for i, size in ((1, len(supply)), (2, len(demand))):
            for j in range(size):
                # From the most to any other: what is zero grows.
                changed = list(problem)
                direction = np.eye(size)[j] - np.eye(size)[np.argmax(problem[i])]
                changed[i] = problem[i] + step * direction
                slope = (least_cost(*changed) - least_cost(*problem)) / step
                got = gradients[i] @ direction
                np.testing.assert_allclose(got, slope, 1e-5, 1e-6)


@pytest.mark.x64
def test_lanes():
    lanes = list(problems((3, 2)))
    stacked = [jnp.asarray(np.stack(parts)) for parts in zip(*lanes, strict=True)]
    values, plans = jax.jit(jax.vmap(transport))(*stacked)
    for i in range(len(lanes)):
        value, plan = solve(*(part[i] for part in stacked))
        np.testing.assert_allclose(values[i], value, 1e-6)
        np.testing.assert_allclose(plans[i], plan, 1e-6)


def costs(first, second):
    def cost(p, q):
        (_, mean_p, matrix_p), (_, mean_q, matrix_q) = p, q
        root = scipy.linalg.sqrtm(matrix_p).real
        cross = scipy.linalg.sqrtm(root @ matrix_q @ root).real
        bures = np.trace(matrix_p + matrix_q - 2 * cross)
        return np.sum((mean_p - mean_q) ** 2) + bures

    pairs = [list(zip(*parameters(m), strict=True)) for m in (first, second)]
    return np.array([[cost(p, q) for q in pairs[1]] for p in pairs[0]])


@every_family
def test_distance(name, dtype):
    first = make_mixture(name, 3, 3)
    for other in ("full", "spherical"):
        second = make_mixture(other, 4, 3, 1)
        weights = [
            np.float64(m.weights_numpy) / np.sum(np.float64(m.weights_numpy))
            for m in (first, second)
        ]
        expected = least_cost(costs(first, second), *weights)
        got = gx.divergences.wasserstein(first, second)
        rtol = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(got.squared_distance, expected, rtol)
        np.testing.assert_allclose(got.distance, expected**0.5, rtol)
        np.testing.assert_allclose(np.sum(got.plan, 1), weights[0], rtol)


@pytest.mark.parametrize("n_features", [1, 2, 8, 33])
def test_a_nearly_singular_covariance(n_features, dtype):
    """From one that has all directions: none of the distance is lost."""
    deviations = np.geomspace(1, 1e-10, n_features).astype(dtype)
    values = np.zeros((1, n_features, n_features), dtype)
    values[0] = np.diag(deviations**2)
    # Off the diagonal in the one, whose Cholesky factor is known.
    lower = np.tril(np.random.default_rng(0).normal(size=values.shape[1:]), -1)
    lower = (np.eye(n_features) + lower / n_features).astype(dtype)
    mixtures = [
        gx.GaussianMixture.from_squeezed(
            np.zeros((1, n_features), dtype), values, np.ones(1, dtype), "full"
        )
        for values in (values, (lower @ lower.T)[None])
    ]
    exact = np.linalg.cholesky(np.float64(mixtures[1].covariances.values_numpy[0]))
    exact = exact.T * np.float64(np.sqrt(values[0].diagonal()))
    left, _, right = np.linalg.svd(exact)
    other = np.linalg.cholesky(np.float64(mixtures[1].covariances.values_numpy[0]))
    one = np.diag(np.sqrt(np.float64(values[0].diagonal())))
    expected = np.sum((one - other @ (left @ right)) ** 2)
    got = gx.divergences.wasserstein(*mixtures).squared_distance
    np.testing.assert_allclose(got, expected, 100 * np.finfo(dtype).eps)


@pytest.mark.x32
def test_no_call_of_lapack():
    """Two at the same time can wait for each other for ever."""
    mixture = make_mixture("full", 3, 3)
    fn = lambda p, q: gx.divergences.wasserstein(p, q).squared_distance
    program = jax.jit(jax.value_and_grad(fn)).lower(mixture, mixture).as_text()
    assert "while" in program and "lapack" not in program


@every_family
def test_of_itself(name, dtype):
    """Zero to the last digits, with a gradient of zero."""
    mixture = make_mixture(name, 3, 3)

    def fn(pair):
        found = gx.divergences.wasserstein(*pair)
        return found.squared_distance, found.distance

    gradient = eqx.filter_grad(lambda pair: fn(pair)[0])
    (squared, _), found = eqx.filter_jit(lambda p: (fn(p), gradient(p)))(
        (mixture, mixture)
    )
    eps = float(np.finfo(dtype).eps)
    assert 0 <= squared < (100 * eps) ** 2 * 10
    for leaf in leaves(found):
        np.testing.assert_allclose(leaf, 0, atol=1e3 * eps)
    assert np.isfinite(
        leaves(eqx.filter_grad(lambda p: fn(p)[1])((mixture, mixture)))[0]
    ).all()


@pytest.mark.x64
@pytest.mark.parametrize("name", ["tied", "spherical"])
def test_derivatives(name):
    mixture, other = make_mixture(name, 3, 2), make_mixture("full", 4, 2, 1)
    fn = lambda mixture: gx.divergences.wasserstein(mixture, other).squared_distance
    got, expected = derivatives_of(fn, mixture)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.x64
@pytest.mark.parametrize("equal", [True, False])
def test_second_derivatives(equal):
    """Of the squared distance, where covariances are equal and have equal axes too."""
    one, other = make_mixture("full", 1, 3), make_mixture("full", 1, 3, 1)
    if equal:
        values = jnp.broadcast_to(jnp.eye(3), (1, 1, 3, 3))
        covariances = gx.FullCovariances(values=values)
        one, other = (
            dataclasses.replace(m, covariances=covariances) for m in (one, other)
        )

    def fn(values):
        covariances = gx.FullCovariances(values=values)
        moved = dataclasses.replace(one, covariances=covariances)
        return gx.divergences.wasserstein(moved, other).squared_distance

    rng = np.random.default_rng(0)
    direction = rng.normal(size=(1, 1, 3, 3))
    direction = jnp.asarray(direction + np.swapaxes(direction, -1, -2))
    values = one.covariances.values
    gradient = jax.jit(jax.grad(fn))
    step = 1e-5
    ahead, behind = (gradient(values + sign * step * direction) for sign in (1, -1))
    got = jax.jit(lambda v: jax.jvp(jax.grad(fn), (v,), (direction,))[1])(values)
    np.testing.assert_allclose(got, (ahead - behind) / (2 * step), 1e-5, 1e-7)
