"""Making mixtures, reading their parameters, drawing samples."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from sklearn.mixture._gaussian_mixture import _estimate_gaussian_parameters

import gmmx_eqx as gx

from . import helpers
from .helpers import (
    dense_values,
    equations,
    every_family,
    every_sklearn_family,
    leaves,
    make_data,
    make_mixture,
)


RESP = np.random.default_rng(0).dirichlet(np.ones(3), 60)


def assert_same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def assert_close(got, expected, rtol):
    expected = np.asarray(expected)
    assert np.shape(got) == expected.shape
    np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())


@pytest.mark.x32
@every_family
def test_create_is_a_template(name):
    device = jax.devices()[-1]
    mixture = gx.GaussianMixture.create(3, 2, name, device)
    assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(mixture))
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(mixture))
    assert_same(mixture.to_device(device), mixture)
    assert isinstance(mixture.covariances, gx.COVARIANCE[name])
    assert (mixture.n_components, mixture.n_features) == (3, 2)
    assert_close(mixture.weights_numpy, np.full(3, 1 / 3), 1e-6)
    np.testing.assert_array_equal(mixture.means_numpy, np.zeros((3, 2)))
    values = mixture.covariances.values_numpy
    eye = np.broadcast_to(np.eye(2), (3, 2, 2))
    np.testing.assert_array_equal(dense_values(name, values, 3, 2), eye)


@every_family
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (3, 2)], ids=str)
def test_from_squeezed_round_trip(name, shape, dtype):
    n_components, n_features = shape
    means = np.arange(n_components * n_features, dtype=dtype).reshape(shape)
    weights = np.full(n_components, 1 / n_components, dtype)
    values = helpers.make_values(name, *shape).astype(dtype)
    mixture = gx.GaussianMixture.from_squeezed(means, values, weights, name)
    assert mixture.weights.shape == (1, n_components, 1, 1)
    assert mixture.means.shape == (1, n_components, n_features, 1)
    assert (mixture.n_components, mixture.n_features) == shape
    numpy = (mixture.means_numpy, mixture.covariances.values_numpy)
    numpy += (mixture.weights_numpy,)
    for got, expected in zip(numpy, (means, values, weights), strict=True):
        assert isinstance(got, np.ndarray) and got.dtype == dtype
        np.testing.assert_array_equal(got, expected, strict=True)
    lists = (array.tolist() for array in numpy)
    assert_same(gx.GaussianMixture.from_squeezed(*lists, covariance_type=name), mixture)


@every_sklearn_family
@pytest.mark.parametrize("reg_covar", [0.0, 0.1])
def test_from_responsibilities_agrees_with_sklearn(name, reg_covar, dtype):
    x = make_data(60, n_features=3).astype(dtype)
    resp = RESP.astype(dtype)
    mixture = gx.GaussianMixture.from_responsibilities(
        x, resp, covariance_type=name, reg_covar=reg_covar
    )
    count, means, values = _estimate_gaussian_parameters(
        x.astype(float), resp.astype(float), reg_covar, name
    )
    rtol = 100 * float(jnp.finfo(dtype).eps)
    assert_close(mixture.weights_numpy, count / 60, rtol)
    assert_close(mixture.means_numpy, means, rtol)
    assert_close(mixture.covariances.values_numpy, values, rtol)

    covariances = mixture.covariances.update_parameters(
        jnp.asarray(x)[:, None, :, None],
        mixture.means,
        jnp.asarray(resp)[..., None, None],
        60 * mixture.weights,
        reg_covar,
    )
    assert_close(covariances.values_numpy, values, rtol)


@pytest.mark.x64
@every_family
def test_update_parameters_is_from_responsibilities(name):
    x, resp = make_data(60), RESP
    expected = gx.GaussianMixture.from_responsibilities(x, resp, covariance_type=name)
    mixture = make_mixture(name)
    assert_same(mixture.update_parameters(x, resp), expected)
    weight = np.tile([0, 1, 2], 20)
    got = mixture.update_parameters(x, resp, 0.1, sample_weight=weight)
    x, resp = (np.repeat(rows, weight, axis=0) for rows in (x, resp))
    expected = mixture.update_parameters(x, resp, 0.1)
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        assert_close(one, other, 100 * float(jnp.finfo(one.dtype).eps))


@pytest.mark.x64
@every_family
def test_labels_are_responsibilities_of_zero_and_one(name):
    x, labels = make_data(60), np.arange(60) % 3
    got = gx.GaussianMixture.from_labels(x, labels, covariance_type=name)
    expected = gx.GaussianMixture.from_responsibilities(
        x, np.eye(3)[labels], covariance_type=name
    )
    assert_same(got, expected)
    for same in (labels.tolist(), labels.astype(np.uint8), jnp.asarray(labels)):
        assert_same(gx.GaussianMixture.from_labels(x, same, covariance_type=name), got)
    with pytest.raises(ValueError, match="component 3"):
        gx.GaussianMixture.from_labels(x, labels, 4, covariance_type=name)


class Frame(list):
    """Stands for a data frame: not an array, but can be made one."""

    def __array__(self, dtype=None, copy=None):
        return np.array(list(self), dtype, copy=copy)


@pytest.mark.x32
@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        Frame,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.int32),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(jnp.bfloat16),
        lambda x: jnp.asarray(x, jnp.bfloat16),
        lambda x: jnp.asarray(x, jnp.int32),
    ],
)
def test_what_data_may_be(convert):
    # Whole numbers up to 255, which every one of these types can hold.
    numbers = np.random.default_rng(0).integers(0, 256, size=(60, 2)).astype(float)
    data = convert(numbers)
    narrow = getattr(data, "dtype", None) in (np.float16, jnp.bfloat16)
    x = jnp.asarray(numbers, jnp.float32 if narrow else float)
    mixture = gx.GaussianMixture.from_responsibilities(x, RESP)
    assert_same(gx.GaussianMixture.from_responsibilities(data, RESP), mixture)
    # Not in float16: the squares of these numbers are infinite there.
    assert mixture.log_prob(data).dtype == x.dtype
    np.testing.assert_array_equal(mixture.log_prob(data), mixture.log_prob(x))
    fit = lambda x: gx.fit(mixture, x, solver=gx.EM(0.0, 2), throw=False)
    assert_same(fit(data).mixture, fit(x).mixture)


def far_apart(name):
    """Components so far apart that it is clear which one a sample is from."""
    mixture = make_mixture(name)
    means = jnp.asarray([[0.0, 0.0], [1000.0, -500.0], [-1000.0, 500.0]])
    return dataclasses.replace(mixture, means=means[None, ..., None])


def owners(mixture, samples):
    distance = np.linalg.norm(samples[:, None] - mixture.means_numpy, axis=-1)
    return distance.argmin(axis=1)


@pytest.mark.x64
@every_family
def test_sample_has_the_right_moments(name, getkey):
    mixture = far_apart(name)
    n_samples = 30_000
    samples = np.asarray(mixture.sample(getkey(), n_samples), np.float64)
    assert samples.shape == (n_samples, 2)
    owner = owners(mixture, samples)
    values = np.asarray(mixture.covariances.values_numpy, np.float64)
    for k, dense in enumerate(dense_values(name, values, 3, 2)):
        weight = float(mixture.weights_numpy[k])
        count = np.sum(owner == k)
        # Five standard errors; one test in a million falls beyond.
        error = np.sqrt(weight * (1 - weight) * n_samples)
        assert abs(count - weight * n_samples) < 5 * error
        # White noise, if the covariance is right.
        residual = samples[owner == k] - mixture.means_numpy[k]
        noise = np.linalg.solve(np.linalg.cholesky(dense), residual.T)
        assert np.all(np.abs(noise.mean(axis=1)) < 5 / np.sqrt(count))
        scatter = noise @ noise.T / count - np.eye(2)
        assert np.all(np.abs(scatter) < 5 * np.sqrt((1 + np.eye(2)) / count))
        # Normal, too: the fourth moment is 3, with a variance of 96.
        kurtosis = np.mean(noise**4, axis=1)
        assert np.all(np.abs(kurtosis - 3) < 5 * np.sqrt(96 / count))


@pytest.mark.x32
@every_family
def test_sample_is_a_function_of_the_key(name):
    mixture = make_mixture(name)
    first, again, other = (mixture.sample(jr.key(seed), 50) for seed in (0, 0, 1))
    assert first.dtype == mixture.means.dtype
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)
    keys = jr.split(jr.key(0), 3)
    many = jax.vmap(lambda key: mixture.sample(key, 50))(keys)
    for key, lane in zip(keys, many, strict=True):
        assert_close(lane, mixture.sample(key, 50), 1e-5)


@pytest.mark.x32
@every_family
def test_sample_never_from_a_weight_of_zero(name, getkey):
    weights = jnp.asarray([0.0, 1.0, 0.0])[None, :, None, None]
    mixture = dataclasses.replace(far_apart(name), weights=weights)
    samples = mixture.sample(getkey(), 30_000)
    assert np.all(owners(mixture, np.asarray(samples)) == 1)


@pytest.mark.x64
@every_family
@pytest.mark.parametrize("what", ["log_prob", "gradient", "sample"])
def test_memory_does_not_grow_with_products_of_sizes(name, what):
    n_samples, n_components, n_features = 1_000_000, 16, 8
    mixture = gx.GaussianMixture.create(n_components, n_features, name)
    fn = {
        "log_prob": lambda mixture, x, key: mixture.log_prob(x),
        "gradient": jax.grad(lambda mixture, x, key: jnp.sum(mixture.log_prob(x))),
        "sample": lambda mixture, x, key: mixture.sample(key, n_samples),
    }[what]
    x = jax.ShapeDtypeStruct((n_samples, n_features), mixture.means.dtype)
    jaxpr = jax.make_jaxpr(fn)(mixture, x, jr.key(0)).jaxpr
    sizes = [array.aval.size for one in equations(jaxpr) for array in one.outvars]
    assert max(sizes) <= n_samples * n_features


@pytest.mark.x32
def test_check_shape():
    array = np.zeros((3, 2))
    for expected in ((3, 2), (None, 2), (3, None), (None, None)):
        gx.check_shape(array, expected)
    for wrong in ((2, 3), (3,), (3, 2, 1), (None, 3), ()):
        with pytest.raises(ValueError) as caught:
            gx.check_shape(array, wrong)
        assert str(wrong) in str(caught.value) and "(3, 2)" in str(caught.value)
