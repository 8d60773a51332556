"""Derivatives of the log-density, in the sample and in every parameter: against finite
differences, and to 50 digits where those fail."""

import dataclasses

import equinox as eqx
import jax
import jax.extend.core
import jax.numpy as jnp
import jax.random as jr
import mpmath as mp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import linalg
from gmmx_eqx._mixture import densities

from . import test_densities as oracle
from .helpers import (
    equations,
    every_family,
    leaves,
    make_data,
    make_mixture,
    parameters,
    squeezed_values,
)


pytestmark = pytest.mark.optimised

# The sample and every parameter, in the order of `split`.
PARTS = ("x", "weights", "means", "values")


def split(mixture, point):
    return point, mixture.weights, mixture.means, mixture.covariances.values


def log_prob_of(mixture):
    """The log-density of one sample, as a function of the four parts."""

    def fn(point, weights, means, values):
        covariances = dataclasses.replace(mixture.covariances, values=values)
        parts = {"weights": weights, "means": means, "covariances": covariances}
        return dataclasses.replace(mixture, **parts).log_prob(point[None])[0]

    return fn


@eqx.filter_jit
def gradients(mixture, point):
    fn = jax.grad(log_prob_of(mixture), argnums=(0, 1, 2, 3))
    return dict(zip(PARTS, fn(*split(mixture, point)), strict=True))


@eqx.filter_jit
def directional(mixture, point, tangents):
    fn = log_prob_of(mixture)
    return jax.jvp(fn, split(mixture, point), tangents)[1]


def exact(mixture, point) -> dict[str, np.ndarray]:
    """The same gradients, to 50 digits before they are rounded."""
    weights, means, dense = parameters(mixture)
    as_float = lambda matrix: np.array(matrix.tolist(), dtype=float)
    with mp.workdps(50):
        logs = oracle.exact_log_densities(mixture, point)
        total = oracle.exact_log_prob(mixture, point)
        ratios = [mp.exp(a - total) for a in logs]
        by_mean, by_matrix = [], []
        for k, weight in enumerate(weights):
            residual = mp.matrix(np.asarray(point, float).tolist())
            residual -= mp.matrix(means[k].tolist())
            precision = mp.inverse(mp.matrix(dense[k].tolist()))
            pull = precision * residual
            resp = mp.mpf(weight) * ratios[k]
            by_mean.append(as_float(resp * pull)[:, 0])
            by_matrix.append(as_float(resp / 2 * (pull * pull.T - precision)))
    return {
        "x": -np.sum(by_mean, axis=0),
        "weights": as_float(mp.matrix(ratios))[None, ..., None],
        "means": np.array(by_mean)[None, ..., None],
        "values": summed_over(mixture.covariances, np.array(by_matrix)[None]),
    }


def summed_over(covariances, by_matrix):
    """The derivative in each number of `values` is the sum over what it serves."""
    shape = covariances.values.shape
    if shape[-1] == 1:
        by_matrix = np.diagonal(by_matrix, axis1=-2, axis2=-1)[..., None]
    axes = tuple(i for i in range(4) if shape[i] < by_matrix.shape[i])
    return by_matrix.sum(axes, keepdims=True)


def check(got, expected, rtol):
    """Each part to within `rtol` of its largest number."""
    for part in PARTS:
        assert np.isfinite(got[part]).all(), part
        # What is no number of its type is close to the largest of them.
        largest = 0.1 * float(jnp.finfo(got[part].dtype).max)
        beyond = expected[part] > largest
        assert np.all(got[part][beyond] > largest), part
        numbers, want = np.where(beyond, 0, (got[part], expected[part]))
        atol = rtol * np.abs(want).max()
        np.testing.assert_allclose(numbers, want, rtol, atol, err_msg=part)


def rounding(mixture) -> float:
    # The precision enters twice.
    return (
        32 * float(jnp.finfo(mixture.means.dtype).eps) * (4 + oracle.condition(mixture))
    )


def zeroed(mixture, weights=(0.25, 0.0, 0.75)):
    weights = jnp.asarray(weights, mixture.means.dtype)[None, :, None, None]
    return dataclasses.replace(mixture, weights=weights)


@every_family
def test_between_the_modes(name):
    mixture = make_mixture(name)
    for point in jnp.asarray([[0.5, -1.0], [2.0, 3.0]]):
        check(gradients(mixture, point), exact(mixture, point), rounding(mixture))


@every_family
@pytest.mark.parametrize("sigmas", [1e2, 1e4, 1e6])
def test_far_from_all_modes(name, sigmas):
    mixture = make_mixture(name)
    _, means, dense = parameters(mixture)
    steps = sigmas * np.sqrt(dense[:, :1, 0]) * np.array([0.6, -0.8])
    for point in jnp.asarray(means + steps):
        check(gradients(mixture, point), exact(mixture, point), rounding(mixture))


@every_family
@pytest.mark.parametrize("sigmas", [0.0, 1e2, 1e4, 1e6])
def test_far_from_two_equal_modes(name, sigmas):
    # Responsibilities are (0.25, 0.75) however small both densities are, and add to
    # one however large the log-density's own rounding.
    values = squeezed_values(name, [np.eye(2)] * 2)
    mixture = gx.GaussianMixture.from_squeezed(
        [[-1.0, 0.0], [1.0, 0.0]], values, [0.25, 0.75], name
    )
    point = jnp.array([0.0, sigmas])
    check(gradients(mixture, point), exact(mixture, point), rounding(mixture))


@every_family
@pytest.mark.parametrize("sigmas", [0.0, 1.0, 1e6])
def test_at_a_weight_of_zero(name, sigmas):
    mixture = zeroed(make_mixture(name))
    # Beyond the component that is there, so that the other has the smaller density.
    _, means, dense = parameters(mixture)
    step = means[0] - means[1]
    length = np.sqrt(step @ np.linalg.solve(dense[0], step))
    point = jnp.asarray(means[0] + sigmas / length * step)
    check(gradients(mixture, point), exact(mixture, point), rounding(mixture))


@every_family
def test_near_an_overwhelming_component_of_weight_zero(name):
    """Its ratio exceeds every float; the other derivatives know nothing of it."""
    mixture = zeroed(make_mixture(name))
    mixture = dataclasses.replace(mixture, means=1e3 * mixture.means)
    point = mixture.means[0, 1, :, 0]
    expected = exact(mixture, point)
    assert np.isinf(expected["weights"][0, 1])
    check(gradients(mixture, point), expected, rounding(mixture))


@pytest.mark.parametrize("name", ["full", "tied"])
@pytest.mark.parametrize("sigmas", [0.0, 1.0, 1e6])
def test_at_correlation_near_one(name, sigmas, dtype):
    mixture = oracle.correlated(name, dtype)
    # The condition number is 2e5, and the precision enters twice.
    rtol = 2 * float(jnp.finfo(dtype).eps) * oracle.condition(mixture)
    for direction in ([1.0, 1.0], [1.0, -1.0], [1.0, 0.0]):
        point = jnp.asarray([0.5, 0.25], dtype) + sigmas * jnp.asarray(direction, dtype)
        check(gradients(mixture, point), exact(mixture, point), rtol)


def random_tangents(parts):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=p.shape), p.dtype) for p in parts)


@pytest.mark.x64
@every_family
def test_agrees_with_finite_differences(name):
    """First derivatives, and second ones by differences of the first."""
    mixture = make_mixture(name)
    parts = split(mixture, jnp.array([0.5, -1.0]))
    tangents = random_tangents(parts)
    fn = jax.jit(jax.value_and_grad(log_prob_of(mixture), (0, 1, 2, 3)))
    got = jax.jit(lambda *args: jax.jvp(fn, args, tangents)[1])(*parts)
    step = 1e-5
    ahead, behind = (
        fn(*(part + sign * step * t for part, t in zip(parts, tangents, strict=True)))
        for sign in (1, -1)
    )
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind)
    for one, difference in zip(leaves(got), leaves(expected), strict=True):
        # Errors are of the order of the step's square, and of rounding over the step.
        np.testing.assert_allclose(one, difference, rtol=1e-6, atol=1e-6)


@every_family
@pytest.mark.parametrize("weights", [(0.2, 0.3, 0.5), (0.25, 0.0, 0.75)])
def test_forward_mode_is_reverse_mode(name, weights):
    mixture = zeroed(make_mixture(name), weights)
    rtol = rounding(mixture)
    for point in jnp.asarray([[0.5, -1.0], [4e3, 3e3]]):
        tangents = random_tangents(split(mixture, point))
        reverse = gradients(mixture, point)
        pairs = zip([reverse[part] for part in PARTS], tangents, strict=True)
        products = np.concatenate([np.ravel(g * tangent) for g, tangent in pairs])
        scale = np.abs(products).max()
        got = directional(mixture, point, tangents)
        np.testing.assert_allclose(got, products.sum(), rtol, rtol * scale)


@every_family
def test_second_derivatives_at_a_weight_of_zero(name):
    """The derivative of x's gradient in the weights, and the other way round."""
    mixture = zeroed(make_mixture(name))
    fn = log_prob_of(mixture)
    parts = split(mixture, jnp.array([0.5, -1.0]))
    by_weight = jax.jacfwd(jax.grad(fn, 0), 1)
    by_x = jax.jacfwd(jax.grad(fn, 1), 0)
    by_weight, by_x = jax.jit(lambda *args: (by_weight(*args), by_x(*args)))(*parts)
    expected = np.moveaxis(by_x, -1, 0)
    rtol = rounding(mixture)
    np.testing.assert_allclose(by_weight, expected, rtol, rtol * np.abs(expected).max())


@pytest.mark.x64
@every_family
def test_vmap_is_a_loop(name):
    mixture = make_mixture(name)
    x = jnp.asarray(make_data(5)).at[0].set(1e4)
    gradient = jax.grad(log_prob_of(mixture), argnums=(0, 1, 2, 3))
    got = jax.jit(jax.vmap(gradient, (0, None, None, None)))(*split(mixture, x))
    for i, point in enumerate(x):
        lane = dict(zip(PARTS, [part[i] for part in got], strict=True))
        check(lane, gradients(mixture, point), rounding(mixture))


def test_chunks_do_not_matter():
    mixture = make_mixture("full")
    x = jnp.asarray(make_data(1000))
    # Two chunks of the largest size and a rest.
    n_parts = 2 * densities._LARGEST // 1000 + 1
    total = lambda parts: jnp.sum(parts[0].log_prob(parts[1]))
    fn = jax.jit(jax.grad(total))
    whole, by_x = fn((mixture, jnp.tile(x, (n_parts, 1))))
    part, by_part = fn((mixture, x))
    rtol = 1000 * float(jnp.finfo(x.dtype).eps)
    for got, one in zip(leaves((whole, by_x)), leaves((part, by_part)), strict=True):
        is_total = got.shape == one.shape
        expected = n_parts * one if is_total else np.tile(one, (n_parts, 1))
        np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())


def equalities(jaxpr):
    """Comparisons of numbers that a program may compute anew for each use."""
    kept = set()
    for equation in equations(jaxpr):
        name, operands = equation.primitive.name, equation.invars
        if name == "optimization_barrier":
            kept.update(equation.outvars)
        if name in ("eq", "ne") and operands[0].aval.dtype in (np.float32, np.float64):
            is_literal = [isinstance(one, jax.extend.core.Literal) for one in operands]
            if not any(is_literal) and kept.isdisjoint(operands):
                yield equation


@pytest.mark.x32
@every_family
@pytest.mark.parametrize("of", ["log_prob", "predict_proba", "fit"])
def test_no_derivative_compares_what_is_rounded(name, of):
    """That of `jnp.max` is 0 / 0 where XLA computes the numbers anew, and so no number
    is equal to the largest one."""
    mixture, x = make_mixture(name), make_data(40, 2)

    def fn(mixture, x):
        if of == "fit":
            mixture = gx.fit(mixture, x, throw=False).mixture
            return jnp.sum(mixture.means)
        return jnp.sum(getattr(mixture, of)(x).ravel()[::3])

    forward = lambda *args: jax.jvp(fn, args, args)
    reverse = jax.grad(fn, (0, 1))
    for derivative in (forward, reverse):
        jaxpr = jax.make_jaxpr(derivative)(mixture, x).jaxpr
        assert not list(equalities(jaxpr))


@pytest.mark.x32
def test_no_label_compares_what_is_rounded():
    mixture, x = make_mixture("full"), make_data(40, 2)
    k_means = lambda x: gx.GaussianMixture.from_k_means(x, 3, key=jr.key(0)).means
    for fn in (mixture.predict, mixture.icl, k_means):
        assert not list(equalities(jax.make_jaxpr(fn)(x).jaxpr))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_largest(axis, dtype):
    values = jnp.asarray([[1.0, 3.0, 3.0], [4.0, -jnp.inf, 3.0]], dtype)
    largest = linalg.largest(values, axis)
    np.testing.assert_array_equal(largest, values.max(axis, keepdims=True))
    derivative = jax.grad(lambda v: jnp.sum(linalg.largest(v, axis)))(values)
    first = np.argmax(values, axis)
    expected = np.zeros(values.shape)
    np.put_along_axis(expected, np.expand_dims(first, axis), 1, axis)
    np.testing.assert_array_equal(derivative, expected)
    assert np.isnan(linalg.largest(values.at[0, 0].set(jnp.nan), axis)).any()
