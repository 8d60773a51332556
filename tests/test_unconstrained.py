"""Mixtures without constraints: the same mixture, and training by gradients."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.datasets

import gmmx_eqx as gx

from .helpers import every_family, leaves, make_data, make_mixture, old_faithful, start


def eps(dtype) -> float:
    return float(jnp.finfo(dtype).eps)


def is_same(got, want):
    """To within rounding: of the variances, for each element of a covariance."""
    rounding = 8 * want.n_features * eps(want.means.dtype)
    np.testing.assert_allclose(got.weights, want.weights, rounding)
    dense = np.asarray(want.covariances.dense(want.n_features))
    width = np.sqrt(np.diagonal(dense, axis1=-2, axis2=-1))[..., None]
    error = np.abs(np.asarray(got.covariances.dense(got.n_features)) - dense)
    assert np.all(error <= rounding * width * np.swapaxes(width, -1, -2))
    error = np.abs(np.asarray(got.means - want.means))
    assert np.all(error <= rounding * (width + np.abs(want.means)))


def nearly_singular(name, mixture):
    """In other units for each feature, and almost on a line."""
    d, dtype = mixture.n_features, mixture.means.dtype
    values = np.asarray(mixture.covariances.values)
    if values.shape[-1] == 1:
        units = np.logspace(-4, 4, values.shape[-2])[:, None]
        values = values * units**2
    else:
        units = np.logspace(-4, 4, d)[:, None]
        values = units * (1 + 1e3 * d * eps(dtype) * np.eye(d)) * units.T
        values = np.broadcast_to(values, mixture.covariances.values.shape)
    values = jnp.asarray(values, dtype)
    return eqx.tree_at(lambda m: m.covariances.values, mixture, values)


@every_family
def test_round_trip(name):
    mixture = make_mixture(name, n_features=4)
    weights = jnp.asarray([0.25, 0.0, 0.75])[None, :, None, None]
    zeroed = dataclasses.replace(mixture, weights=weights)
    away = eqx.filter_jit(gx.UnconstrainedMixture.from_mixture)
    back = eqx.filter_jit(lambda model: model.mixture)
    for one in (mixture, zeroed, nearly_singular(name, zeroed)):
        assert np.isfinite(one.covariances.precisions_cholesky).all()
        model = away(one)
        parameters = leaves(eqx.filter(model, eqx.is_inexact_array))
        assert all(np.all(leaf == 0) for leaf in parameters)
        is_same(back(model), one)
        np.testing.assert_array_equal(model.weights == 0, one.weights == 0)
    n_numbers = sum(leaf.size for leaf in parameters)
    assert n_numbers == mixture.n_parameters + 1  # the one gauge of the weights
    # Relative to another one.
    other = make_mixture(name, n_features=4, seed=7)
    is_near = away(mixture, other)
    for one, want in zip(leaves(back(is_near)), leaves(mixture), strict=True):
        np.testing.assert_allclose(one, want, 1e4 * eps(one.dtype), 1e-5)
    for one, want in zip(leaves(is_near.reference), leaves(other), strict=True):
        np.testing.assert_array_equal(one, want)
    # Zero in one of the two, and in the other.
    for one, start_of_it in ((zeroed, other), (mixture, zeroed)):
        weights = back(away(one, start_of_it)).weights
        np.testing.assert_allclose(weights, one.weights, 1e3 * eps(weights.dtype))


@pytest.mark.x64
@every_family
def test_derivatives_of_the_way_there_and_back(name):
    """The identity, for any change of a mixture."""
    mixture = make_mixture(name)
    other = make_mixture(name, seed=3)
    change = jax.tree.map(jnp.subtract, other, mixture)

    def round_trip(mixture):
        return gx.UnconstrainedMixture.from_mixture(mixture).mixture

    got = jax.jit(lambda c: jax.jvp(round_trip, (mixture,), (c,))[1])(change)
    for one, want in zip(leaves(got), leaves(change), strict=True):
        np.testing.assert_allclose(one, want, 1e-4, 1e-5)


@pytest.mark.x64
@every_family
def test_gradients(name):
    """Against finite differences; along the gauge, and at a weight of zero, none."""
    x = jnp.asarray(make_data(50))
    weights = jnp.asarray([0.25, 0.0, 0.75])[None, :, None, None]
    mixture = dataclasses.replace(make_mixture(name), weights=weights)
    model = gx.UnconstrainedMixture.from_mixture(mixture)
    rng = np.random.default_rng(0)
    free, fixed = eqx.partition(model, eqx.is_inexact_array)
    noise = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)
    free, direction = jax.tree.map(noise, free), jax.tree.map(noise, free)
    score = jax.jit(jax.value_and_grad(lambda free: eqx.combine(free, fixed).score(x)))
    _, slope = score(free)
    assert all(np.isfinite(leaf).all() for leaf in leaves(slope))
    assert slope.log_ratios[0, 1] == 0
    assert np.all(slope.shifts[0, 1] == 0)
    rounding = 100 * eps(x.dtype)
    assert np.abs(slope.log_ratios.sum()) < rounding
    step = eps(x.dtype) ** (1 / 3)
    ahead, behind = (
        score(jax.tree.map(lambda a, d, s=sign: a + s * step * d, free, direction))[0]
        for sign in (1, -1)
    )
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), slope, direction)
    expected = (ahead - behind) / (2 * step)
    total = sum(jax.tree.leaves(products))
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e3 * step**2)


DATA = {
    "full": (old_faithful, 2),
    "tied": (lambda: sklearn.datasets.load_iris().data, 3),
    "diag": (lambda: sklearn.datasets.load_wine().data, 3),
}


@eqx.filter_jit
def train(model, x, n_steps, learning_rate):
    """All likelihoods on the way, per sample."""
    optimiser = optax.adam(learning_rate)
    free, fixed = eqx.partition(model, eqx.is_inexact_array)
    loss = lambda free: -eqx.combine(free, fixed).score(x)

    def step(carry, _):
        free, state = carry
        value, slope = jax.value_and_grad(loss)(free)
        updates, state = optimiser.update(slope, state, free)
        return (optax.apply_updates(free, updates), state), value

    carry = (free, optimiser.init(free))
    (free, _), losses = jax.lax.scan(step, carry, length=n_steps)
    return eqx.combine(free, fixed), -jnp.append(losses, loss(free))


@pytest.fixture
def promotion():
    # Optax counts on JAX's own rules.
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.x32
@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("name", DATA)
def test_adam_does_not_spoil_what_em_found(name):
    """In float32 and the units of the data, whose features differ by factors of
    thousands. Rounding is that of a mean of log-densities."""
    load, n_components = DATA[name]
    x = jnp.asarray(load(), jnp.float32)
    fitted = gx.fit(start(name, x, n_components), x).mixture
    model = gx.UnconstrainedMixture.from_mixture(fitted)
    model, values = train(model, x, 200, 1e-3)
    rounding = 4 * eps(x.dtype) * (1 + np.abs(values[0]))
    assert np.all(values >= values[0] - rounding)
    assert all(np.isfinite(leaf).all() for leaf in leaves(model.mixture))


@pytest.mark.x32
@pytest.mark.usefixtures("promotion")
def test_em_and_gradients_take_turns():
    x = jnp.asarray(old_faithful())
    mixture = start("tied", x, 2)
    values = [float(mixture.score(x))]
    em = gx.EM(tol=0.0, max_steps=1)
    for _ in range(3):
        mixture = gx.fit(mixture, x, solver=em, throw=False).mixture
        values.append(float(mixture.score(x)))
        model = gx.UnconstrainedMixture.from_mixture(mixture)
        model, path = train(model, x, 20, 1e-2)
        mixture = model.mixture
        values.append(float(mixture.score(x)))
        np.testing.assert_allclose(path[-1], values[-1], rtol=1e-5)
    assert np.all(np.diff(values) > -1e-4)
    assert values[2] > values[0]


@pytest.mark.x32
@pytest.mark.usefixtures("promotion")
def test_freezing_by_gradient():
    x = jnp.asarray(old_faithful())
    begin = start("full", x, 3)
    frozen = gx.Frozen(means=[True, False, False], weights=[False, True, False])
    free, fixed = eqx.partition(
        gx.UnconstrainedMixture.from_mixture(begin), eqx.is_inexact_array
    )
    pinned = lambda free: frozen.pin(eqx.combine(free, fixed).mixture, begin)
    slope = jax.jit(jax.grad(lambda free: pinned(free).score(x)))(free)
    assert np.all(slope.shifts[0, 0] == 0) and np.all(slope.shifts[0, 1:] != 0)
    assert np.all(slope.shapes != 0)
    moved = pinned(optax.apply_updates(free, slope))
    np.testing.assert_array_equal(moved.means[:, 0], begin.means[:, 0])
    np.testing.assert_array_equal(moved.weights[:, 1], begin.weights[:, 1])
    assert moved.score(x) > begin.score(x)


@pytest.mark.x32
def test_the_reference_is_no_parameter():
    model = gx.UnconstrainedMixture.from_mixture(make_mixture("full"))
    floats = leaves(eqx.filter(model, eqx.is_inexact_array))
    assert len(floats) == 3
    # It goes with the others into float32 and through `vmap`.
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), model)
    x = jnp.asarray(make_data(20))
    scores = eqx.filter_vmap(lambda model: model.score(x))(ensemble)
    np.testing.assert_allclose(scores, model.score(x), rtol=1e-5)


@pytest.mark.x32
def test_what_cannot_be_a_reference():
    with pytest.raises(ValueError, match="`reference` must have the shape and family"):
        gx.UnconstrainedMixture.from_mixture(make_mixture("full"), make_mixture("diag"))
