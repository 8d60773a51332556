"""Densities, predictions and criteria against SciPy, scikit-learn and 50-digit
arithmetic."""

import dataclasses
import functools as ft

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.stats
from sklearn.mixture import GaussianMixture
from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

import gmmx_eqx as gx
from gmmx_eqx._mixture import densities

from .helpers import (
    every_family,
    every_sklearn_family,
    make_data,
    make_mixture,
    parameters,
)


pytestmark = pytest.mark.optimised

f64 = ft.partial(np.asarray, dtype=np.float64)

SHAPES = pytest.mark.parametrize("shape", [(1, 1), (3, 2)], ids=str)


def exact_log_densities(mixture, point) -> list[mp.mpf]:
    """log N(x | μ_k, Σ_k) of every component, to 50 digits."""
    _, means, dense = parameters(mixture)
    result = []
    with mp.workdps(50):
        for mean, values in zip(means, dense, strict=True):
            residual = mp.matrix(f64(point).tolist()) - mp.matrix(mean.tolist())
            matrix = mp.matrix(values.tolist())
            distance = (residual.T * mp.lu_solve(matrix, residual))[0]
            log_det = mp.log(mp.det(matrix))
            constant = len(mean) * mp.log(2 * mp.pi)
            result.append(-(constant + log_det + distance) / 2)
    return result


def exact_log_prob(mixture, point) -> mp.mpf:
    weights, _, _ = parameters(mixture)
    with mp.workdps(50):
        terms = zip(weights, exact_log_densities(mixture, point), strict=True)
        return mp.log(mp.fsum(mp.mpf(w) * mp.exp(a) for w, a in terms))


def condition(mixture) -> float:
    """By how much a covariance's inverse amplifies rounding errors."""
    _, _, dense = parameters(mixture)
    return float(np.linalg.cond(dense).max())


def correlated(name, dtype):
    """Two components of correlation 1 - 1e-5."""
    matrix = np.array([[1, 1 - 1e-5], [1 - 1e-5, 1]])
    values = {"full": np.stack([matrix, 4 * matrix]), "tied": matrix}[name]
    means = [[0.0, 0.0], [3.0, 1.0]]
    cast = lambda array: jnp.asarray(array, dtype)
    return gx.GaussianMixture.from_squeezed(
        cast(means), cast(values), cast([0.25, 0.75]), name
    )


def as_sklearn(mixture):
    """The same mixture, as scikit-learn stores it after a fit."""
    weights, means, _ = parameters(mixture)
    name = str(mixture.covariances.type)
    values = f64(mixture.covariances.values_numpy)
    estimator = GaussianMixture(len(weights), covariance_type=name)
    estimator.weights_, estimator.means_ = weights, means
    estimator.covariances_ = values
    estimator.precisions_cholesky_ = _compute_precision_cholesky(values, name)
    return estimator


def rounding(mixture) -> float:
    return 16 * float(jnp.finfo(mixture.means.dtype).eps) * (4 + condition(mixture))


def is_close(mixture):
    tolerance = rounding(mixture)
    return ft.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)


@SHAPES
@every_family
def test_agrees_with_scipy(name, shape):
    mixture = make_mixture(name, *shape)
    x = jnp.asarray(make_data(40, n_features=shape[1]))
    weights, means, dense = parameters(mixture)
    by_component = [
        np.log(weight) + scipy.stats.multivariate_normal(mean, values).logpdf(x)
        for weight, mean, values in zip(weights, means, dense, strict=True)
    ]
    joint = np.reshape(by_component, (shape[0], -1)).T
    expected = np.logaddexp.reduce(joint, axis=1)

    close = is_close(mixture)
    got = mixture.estimate_log_prob(x)
    assert got.shape == (40, shape[0], 1, 1)
    close(got[:, :, 0, 0], joint)
    close(mixture.log_prob(x), expected)
    close(mixture.score_samples(x), expected)
    close(mixture.score(x), expected.mean())
    np.testing.assert_array_equal(mixture.predict(x), joint.argmax(axis=1))
    # An error of a logarithm is a relative error of what it is the logarithm of.
    largest = rounding(mixture) * np.abs(joint).max()
    resp = np.exp(joint - expected[:, None])
    np.testing.assert_allclose(mixture.predict_proba(x), resp, largest, largest)


@SHAPES
@every_sklearn_family
def test_agrees_with_sklearn(name, shape):
    mixture = make_mixture(name, *shape)
    x = np.asarray(jnp.asarray(make_data(40, n_features=shape[1])), np.float64)
    estimator = as_sklearn(mixture)
    data = jnp.asarray(x)
    close = is_close(mixture)
    close(mixture.score_samples(data), estimator.score_samples(x))
    close(mixture.score(data), estimator.score(x))
    close(mixture.aic(data), estimator.aic(x))
    close(mixture.bic(data), estimator.bic(x))
    np.testing.assert_array_equal(mixture.predict(data), estimator.predict(x))
    assert mixture.n_parameters == estimator._n_parameters()
    close(mixture.covariances.precisions_cholesky_numpy, estimator.precisions_cholesky_)


@pytest.mark.x64
@every_family
def test_icl_by_definition(name):
    mixture = make_mixture(name)
    x = jnp.asarray(make_data(40))
    joint = f64(mixture.estimate_log_prob(x))[:, :, 0, 0]
    completed = joint[np.arange(40), np.asarray(mixture.predict(x))].sum()
    expected = -2 * completed + mixture.n_parameters * np.log(40)
    is_close(mixture)(mixture.icl(x), expected)
    assert mixture.icl(x) > mixture.bic(x)


@pytest.mark.x64
@pytest.mark.parametrize("method", ["score", "aic", "bic", "icl"])
@every_family
def test_sample_weight_is_multiplicity(name, method):
    mixture = make_mixture(name)
    x = jnp.asarray(make_data(40)).at[0].set(jnp.nan)
    weight = np.tile([0.0, 1.0, 2.0, 1.0], 10)
    weighted = getattr(mixture, method)(x, sample_weight=weight)
    repeated = getattr(mixture, method)(jnp.repeat(x, weight.astype(int), axis=0))
    rtol = 100 * float(jnp.finfo(x.dtype).eps)
    np.testing.assert_allclose(weighted, repeated, rtol)


@every_family
@pytest.mark.parametrize("sigmas", [0.0, 1.0, 1e3, 1e6])
def test_exact_far_from_all_modes(name, sigmas):
    mixture = make_mixture(name)
    _, means, dense = parameters(mixture)
    direction = np.array([[0.6, -0.8], [-1.0, 0.3], [1.0, 1.0]])
    steps = sigmas * np.sqrt(dense[:, :1, 0]) * direction
    x = jnp.asarray(means + steps)
    expected = [float(exact_log_prob(mixture, point)) for point in x]
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=rounding(mixture))


@pytest.mark.parametrize("name", ["full", "tied"])
@pytest.mark.parametrize("sigmas", [0.0, 1.0, 1e3, 1e6])
def test_exact_at_correlation_near_one(name, sigmas, dtype):
    mixture = correlated(name, dtype)
    # Along the ridge, across it, and neither.
    direction = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    x = jnp.asarray(np.array([[0.5, 0.25]]) + sigmas * direction, dtype)
    expected = [float(exact_log_prob(mixture, point)) for point in x]
    # The condition number is 2e5; a backward stable algorithm loses that many units.
    rtol = float(jnp.finfo(dtype).eps) * condition(mixture)
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol, rtol)


@every_family
def test_weight_of_zero_is_a_component_less(name):
    mixture = make_mixture(name)
    weights, means, dense = parameters(mixture)
    weights = np.array([0.25, 0.0, 0.75])
    zeroed = jnp.asarray(weights)[None, :, None, None]
    mixture = dataclasses.replace(mixture, weights=zeroed)
    # Also at, and far beyond, the mode of the component that is not there.
    x = jnp.asarray(np.concatenate([make_data(34), means, means + 1e6]))
    terms = zip(weights, means, dense, strict=True)
    present = [
        np.log(weight) + scipy.stats.multivariate_normal(mean, values).logpdf(x)
        for weight, mean, values in terms
        if weight > 0
    ]
    is_close(mixture)(mixture.log_prob(x), np.logaddexp.reduce(present, axis=0))
    is_empty = np.isneginf(mixture.log_weights[0, :, 0, 0])
    np.testing.assert_array_equal(is_empty, weights == 0)
    assert np.isneginf(mixture.estimate_log_prob(x)[:, 1]).all()
    assert not (mixture.predict(x) == 1).any()
    resp = mixture.predict_proba(x)
    assert (resp[:, 1] == 0).all()
    is_close(mixture)(resp.sum(axis=1), 1)


@every_family
def test_chunks_do_not_matter(name):
    mixture = make_mixture(name)
    part = jnp.asarray(make_data(1000))
    # Two chunks of the largest size and a rest.
    n_parts = 2 * densities._LARGEST // 1000 + 1
    whole = mixture.estimate_log_prob(jnp.tile(part, (n_parts, 1)))
    expected = jnp.tile(mixture.estimate_log_prob(part), (n_parts, 1, 1, 1))
    tolerance = 10 * float(jnp.finfo(part.dtype).eps)
    np.testing.assert_allclose(whole, expected, tolerance, tolerance)


@pytest.mark.x64
@every_family
def test_mixed_types_are_computed_in_the_wider(name):
    x = jnp.asarray(make_data(5))
    narrow = make_mixture(name, dtype=jnp.float32)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), narrow)
    got = narrow.log_prob(x)
    assert got.dtype == jnp.float64
    np.testing.assert_array_equal(got, wide.log_prob(x))
    assert narrow.log_prob(x.astype(jnp.float32)).dtype == jnp.float32
