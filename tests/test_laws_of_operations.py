"""Identities between operations that hold for every mixture, and a family of one's own
that takes part in them."""

import equinox as eqx
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, leaves, make_values
from .own_families import PlainCovariances
from .test_observe import rtol_of


N_COMPONENTS, N_FEATURES = 2, 3

# The shapes are always the same, since each is a program of its own to compile.
law = hypothesis.settings(deadline=None, max_examples=10, derandomize=True)

numbers = lambda *shape: hnp.arrays(np.int64, shape, elements=st.integers(-64, 64)).map(
    lambda array: array / 16
)
points = numbers(N_FEATURES)
shares = st.integers(1, 15).map(lambda n: np.array([n, 16 - n]) / 16)
scales = st.integers(-3, 3).map(lambda n: 4.0**n)


mixtures = st.tuples(
    st.integers(0, 99), scales, numbers(N_COMPONENTS, N_FEATURES), shares
)


# So wide that no pair's share of a product is smaller than any number.
wide_mixtures = mixtures.map(lambda drawn: (drawn[0], 16.0, *drawn[2:]))

two_families = pytest.mark.parametrize("name", ["full", "diag"])


def make(name, drawn):
    seed, scale, means, weights = drawn
    values = scale * make_values(name, N_COMPONENTS, N_FEATURES, seed)
    return gx.GaussianMixture.from_squeezed(
        jnp.asarray(means), jnp.asarray(values), jnp.asarray(weights), name
    )


def assert_same(got, expected, rtol_factor=10):
    """Parameters to within the largest of their kind; weights to the rounding of the
    distances that they are exponentials of."""
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        rtol = rtol_factor * rtol_of(other.dtype)
        np.testing.assert_allclose(one, other, rtol, rtol * np.abs(other).max())


@pytest.mark.x64
@every_family
@law
@hypothesis.given(drawn=mixtures, point=points)
def test_marginal_of_conditional(name, drawn, point):
    mixture = make(name, drawn)
    # Of features (0, 1, 2), the first is given and the last is asked for.
    got = gx.marginal(gx.condition(mixture, 0, point[0]), [1])
    expected = gx.condition(gx.marginal(mixture, [0, 2]), 0, point[0])
    assert_same(got, expected)


@pytest.mark.x64
@every_family
@law
@hypothesis.given(drawn=wide_mixtures, other=wide_mixtures, x=numbers(4, N_FEATURES))
def test_product_is_normalised(name, drawn, other, x):
    p, q = make(name, drawn), make(name, other)
    both, log_normaliser = gx.product(p, q)
    expected = p.log_prob(jnp.asarray(x)) + q.log_prob(jnp.asarray(x))
    got = both.log_prob(jnp.asarray(x)) + log_normaliser
    rtol = 10 * rtol_of(got.dtype)
    np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())
    swapped, same = gx.product(q, p)
    np.testing.assert_allclose(log_normaliser, same, rtol, rtol)
    assert_same(gx.mean(swapped), gx.mean(both))


@pytest.mark.x64
@two_families
@law
@hypothesis.given(drawn=mixtures, point=points, matrix=numbers(N_FEATURES, N_FEATURES))
def test_affine_and_back(name, drawn, point, matrix):
    mixture = make(name, drawn)
    # Diagonally dominant, so that the inverse is not large.
    matrix = matrix / 16 + 2 * np.eye(N_FEATURES)
    inverse = np.linalg.inv(matrix)
    there = gx.affine(mixture, matrix, point)
    back = gx.affine(there, inverse, -inverse @ point)
    assert_same(gx.mean(back), gx.mean(mixture))
    assert_same(gx.covariance(back), gx.covariance(mixture))
    x = jnp.asarray(point)
    moved = there.log_prob((jnp.asarray(matrix) @ x + x)[None])
    expected = mixture.log_prob(x[None]) - np.linalg.slogdet(matrix)[1]
    rtol = 10 * rtol_of(moved.dtype)
    np.testing.assert_allclose(moved, expected, rtol, rtol)


@pytest.mark.x64
@two_families
@law
@hypothesis.given(drawn=mixtures, point=points)
def test_observing_without_noise_is_conditioning(name, drawn, point):
    mixture = make(name, drawn)
    given = gx.Features([2, 0])
    seen, evidence = gx.observe(mixture, given, 1e-16, point[[2, 0]])
    assert_same(
        gx.marginal(seen, [1]).means, gx.condition(mixture, given, point[[2, 0]]).means
    )
    expected = gx.marginal(mixture, given).log_prob(jnp.asarray(point[None, [2, 0]]))
    rtol = 10 * rtol_of(evidence.dtype)
    np.testing.assert_allclose(evidence, expected[0], rtol, rtol)
    filled = gx.impute(mixture, jnp.asarray(point).at[1].set(jnp.nan)[None])
    assert_same(filled[0], gx.mean(seen))


@pytest.mark.x64
@two_families
@law
@hypothesis.given(drawn=mixtures, y=points, matrix=numbers(N_FEATURES, N_FEATURES))
def test_two_observations_are_one(name, drawn, y, matrix):
    mixture = make(name, drawn)
    noise = np.array([0.5, 1.0, 2.0])
    joint, evidence = gx.observe(mixture, matrix, noise, y)
    first, one = gx.observe(mixture, matrix[:2], noise[:2], y[:2])
    second, other = gx.observe(first, matrix[2:], noise[2:], y[2:])
    rtol = 10 * rtol_of(evidence.dtype)
    np.testing.assert_allclose(one + other, evidence, rtol, rtol)
    assert_same(second, joint)


class OwnCovariances(PlainCovariances):
    """By another name: a rule cannot be taken back."""

    type = "own"


@gx.extend.with_variances.register(OwnCovariances)
def _(covariances, variances):
    del covariances
    return OwnCovariances(variances)


@pytest.mark.x64
@pytest.mark.parametrize("family", [PlainCovariances, OwnCovariances])
def test_a_family_of_ones_own(family, dtype):
    """Without a rule, dense matrices; with it, the family where it can hold the result.
    The numbers are the same."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray([0.25, 0.75], dtype)[None, :, None, None]
    means = jnp.asarray(rng.normal(size=(1, 2, 3, 1)), dtype)
    variances = jnp.asarray([0.5, 1.0, 2.0], dtype)[None, None, :, None]
    mixture = gx.GaussianMixture(weights, means, family(variances))
    dense = gx.TiedCovariances(mixture.covariances.dense(mixture.n_features))
    same = gx.GaussianMixture(weights, means, dense)
    noise, y = np.array([0.1, 0.2, 0.3]), np.array([1.0, -1.0, 0.5])
    other = gx.GaussianMixture(weights, means + 1, gx.DiagCovariances.create(2, 3))
    cases = [
        (lambda m: gx.observe(m, 2.0, noise, y)[0], True),
        (lambda m: gx.observe(m, gx.Features([0, 2]), 0.1, y[:2])[0], True),
        (lambda m: gx.condition(m, [0], [1.0]), True),
        (lambda m: gx.marginal(m, [2, 0]), True),
        (lambda m: gx.affine(m, noise, y), True),
        (lambda m: gx.observe(m, np.ones((1, 3)), 0.1, [0.0])[0], False),
    ]
    run = eqx.filter_jit(lambda mixture: [of(mixture) for of, _ in cases])
    for (_, is_kept), got, expected in zip(cases, run(mixture), run(same), strict=True):
        kept = is_kept and family is OwnCovariances
        assert type(got.covariances) is (family if kept else gx.TiedCovariances)
        for matrix in ("weights", "means"):
            assert_same(getattr(got, matrix), getattr(expected, matrix))
        values = got.covariances.dense(got.n_features)
        assert_same(values, expected.covariances.dense(expected.n_features))
    # Every pair has a covariance of its own only where one of the two has.
    got, log_normaliser = gx.product(mixture, other)
    expected, same_log = gx.product(same, other)
    own = gx.DiagCovariances if family is OwnCovariances else gx.FullCovariances
    assert type(got.covariances) is own
    np.testing.assert_allclose(log_normaliser, same_log, rtol_of(dtype))
    assert_same(
        got.covariances.dense(got.n_features),
        expected.covariances.dense(expected.n_features),
    )
