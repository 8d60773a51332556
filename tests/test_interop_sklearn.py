"""To and from scikit-learn."""

import sys
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.base
import sklearn.cluster
import sklearn.exceptions
import sklearn.mixture

import gmmx_eqx as gx

from .helpers import dense_values, every_sklearn_family, leaves, make_data, make_mixture


float_types = pytest.mark.parametrize(
    "float_type", [np.float32, pytest.param(np.float64, marks=pytest.mark.x64)]
)


def fitted(name, x) -> Any:
    """An estimator fitted to `x` by scikit-learn."""
    estimator = sklearn.mixture.GaussianMixture(
        3, covariance_type=name, random_state=0, max_iter=500
    )
    return estimator.fit(x)


def symmetric(name, values):
    """The lower triangle twice, of matrices."""
    if name not in ("full", "tied"):
        return values
    return np.tril(values) + np.swapaxes(np.tril(values, -1), -1, -2)


def assert_same(got, expected):
    """Equal to the last bit."""
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@every_sklearn_family
@float_types
def test_there_and_back(name, float_type):
    mixture = make_mixture(name, 4, 3, dtype=float_type)
    estimator = mixture.to_sklearn()
    for attribute in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert getattr(estimator, attribute).dtype == float_type
    assert_same(gx.GaussianMixture.from_sklearn(estimator), mixture)


@pytest.mark.x64
@every_sklearn_family
@float_types
def test_back_and_there(name, float_type):
    estimator = fitted(name, make_data(300, 3).astype(float_type))
    mixture = gx.GaussianMixture.from_sklearn(estimator)
    assert mixture.means.dtype == float_type
    assert mixture.covariances.type == name
    again = mixture.to_sklearn()
    np.testing.assert_array_equal(again.weights_, estimator.weights_)
    np.testing.assert_array_equal(again.means_, estimator.means_)
    rtol = 1e4 * float(np.finfo(float_type).eps)
    for attribute in ("covariances_", "precisions_cholesky_", "precisions_"):
        got, expected = getattr(again, attribute), getattr(estimator, attribute)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())


@every_sklearn_family
def test_estimator_of_float64_data(name, dtype):
    """Where JAX has no float64, the nearest float32."""
    estimator = fitted(name, make_data(300, 3))
    mixture = gx.GaussianMixture.from_sklearn(estimator)
    for got, expected in (
        (mixture.weights_numpy, estimator.weights_),
        (mixture.means_numpy, estimator.means_),
        (mixture.covariances.values_numpy, symmetric(name, estimator.covariances_)),
    ):
        np.testing.assert_array_equal(got, expected.astype(dtype), strict=True)


@pytest.mark.x64
@every_sklearn_family
def test_same_answers(name, dtype):
    x = make_data(200, 3).astype(dtype)
    mixture = make_mixture(name, 4, 3)
    estimator = mixture.to_sklearn()
    # In float64, since scikit-learn expands squares.
    wide = np.float64(x)
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(
        mixture.score_samples(x), estimator.score_samples(wide), rtol, rtol
    )
    # Of a probability, the logarithm is what is as accurate as that.
    np.testing.assert_allclose(
        mixture.predict_proba(x), estimator.predict_proba(wide), atol=100 * rtol
    )
    np.testing.assert_array_equal(mixture.predict(x), estimator.predict(wide))
    for method in ("score", "bic", "aic"):
        got, expected = getattr(mixture, method)(x), getattr(estimator, method)(wide)
        np.testing.assert_allclose(got, expected, rtol)


@pytest.mark.x64
@every_sklearn_family
def test_precisions_are_inverses(name):
    estimator = make_mixture(name, 4, 3).to_sklearn()
    dense = lambda values: dense_values(name, values, 4, 3)
    product = dense(estimator.precisions_) @ dense(estimator.covariances_)
    atol = 1e3 * float(np.finfo(estimator.means_.dtype).eps)
    eye = np.broadcast_to(np.eye(3), product.shape)
    np.testing.assert_allclose(product, eye, atol=atol)


@pytest.mark.x32
@every_sklearn_family
def test_samples_of_the_estimator(name):
    mixture = make_mixture(name, 3, 2)
    n_samples = 4000
    x, labels = mixture.to_sklearn(random_state=0).sample(n_samples)
    # Six standard errors.
    weights = mixture.weights_numpy
    error = 6 * np.sqrt(weights * (1 - weights) / n_samples)
    assert np.all(np.abs(np.bincount(labels) / n_samples - weights) < error)
    variances = np.broadcast_to(mixture.covariances.variances, (1, 3, 2, 1))[0, :, :, 0]
    for k, (mean, variance) in enumerate(
        zip(mixture.means_numpy, variances, strict=True)
    ):
        own = x[labels == k]
        error = 6 * np.sqrt(variance / len(own))
        assert np.all(np.abs(np.mean(own, axis=0) - mean) < error)
        error = 6 * variance * np.sqrt(2 / len(own))
        assert np.all(np.abs(np.var(own, axis=0) - variance) < error)


@pytest.mark.x64
@every_sklearn_family
def test_warm_start_goes_on(name, dtype):
    x = make_data(300, 3).astype(dtype)
    mixture = make_mixture(name, 4, 3)
    n_steps = 5
    estimator = mixture.to_sklearn(
        warm_start=True, max_iter=n_steps, tol=0.0, reg_covar=1e-3
    )
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        estimator.fit(np.float64(x))
    assert estimator.n_iter_ == n_steps
    solver = gx.EM(tol=0.0, max_steps=n_steps)
    ours = gx.fit(mixture, x, solver=solver, reg_covar=1e-3, throw=False).mixture
    rtol = 1e-8 if dtype == np.float64 else 1e-4
    for got, expected in (
        (ours.weights_numpy, estimator.weights_),
        (ours.means_numpy, estimator.means_),
        (ours.covariances.values_numpy, estimator.covariances_),
    ):
        np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())


@pytest.mark.x32
def test_without_warm_start_it_starts_afresh():
    mixture = make_mixture("full", 2, 2)
    estimator = mixture.to_sklearn(random_state=0, max_iter=500, reg_covar=0.5)
    assert (estimator.reg_covar, estimator.n_features_in_) == (0.5, 2)
    assert (estimator.n_iter_, estimator.converged_) == (0, False)
    afresh: Any = sklearn.base.clone(estimator)
    afresh.fit(make_data())
    np.testing.assert_array_equal(estimator.fit(make_data()).means_, afresh.means_)


@pytest.mark.x32
def test_parameters_are_the_estimators_own():
    mixture = make_mixture("full", 2, 2)
    before = [leaf.copy() for leaf in leaves(mixture)]
    estimator = mixture.to_sklearn()
    for attribute in ("weights_", "means_", "covariances_"):
        getattr(estimator, attribute)[...] = 0
    for got, expected in zip(leaves(mixture), before, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.x64
def test_lopsided_tied_covariance():
    """scikit-learn subtracts large numbers, so that its two triangles differ."""
    x = make_data(500, 4) + 1e4
    estimator = fitted("tied", x)
    values = estimator.covariances_
    assert np.abs(values - values.T).max() > 1e4 * np.finfo(float).eps
    mixture = gx.GaussianMixture.from_sklearn(estimator)
    got = mixture.covariances.values_numpy
    np.testing.assert_array_equal(got, symmetric("tied", values))
    np.testing.assert_allclose(mixture.score_samples(x), estimator.score_samples(x))


@pytest.mark.x32
def test_family_without_a_counterpart(monkeypatch):
    monkeypatch.setattr(gx.DiagCovariances, "type", "tied_diag")
    with pytest.raises(ValueError, match="no covariance type 'tied_diag'"):
        make_mixture("diag").to_sklearn()


@pytest.mark.x32
@pytest.mark.parametrize("name", ["n_components", "covariance_type"])
def test_what_the_mixture_decides_is_refused(name):
    mixture = make_mixture("full", 2, 2)
    with pytest.raises(ValueError, match=f"`{name}` follows from the mixture"):
        mixture.to_sklearn(**{name: "full"})


@pytest.mark.x32
@every_sklearn_family
def test_mixture_that_is_no_mixture(name):
    mixture = make_mixture(name, 2, 2)
    broken = eqx.tree_at(
        lambda m: m.covariances.values, mixture, replace_fn=jnp.negative
    )
    with pytest.raises(ValueError, match="positive definite"):
        broken.to_sklearn()
    broken = eqx.tree_at(lambda m: m.means, mixture, mixture.means * jnp.nan)
    with pytest.raises(ValueError, match="`means_`"):
        broken.to_sklearn()


@pytest.mark.x32
def test_ensemble_is_refused():
    ensemble = eqx.filter_vmap(lambda _: make_mixture("full"))(jnp.arange(3))
    with pytest.raises(ValueError, match="ensemble"):
        ensemble.to_sklearn()


@pytest.mark.x32
def test_unfitted_estimator():
    with pytest.raises(ValueError, match="not fitted"):
        gx.GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture(2))


@pytest.mark.x32
@pytest.mark.parametrize("estimator", [None, object(), sklearn.cluster.KMeans()])
def test_foreign_object(estimator):
    name = type(estimator).__qualname__
    with pytest.raises(ValueError, match=f"`estimator` must be a .* got a .*{name}`"):
        gx.GaussianMixture.from_sklearn(estimator)


@pytest.mark.x32
@pytest.mark.parametrize(
    "call",
    [
        lambda: make_mixture("full").to_sklearn(),
        lambda: gx.GaussianMixture.from_sklearn(None),
    ],
)
def test_without_sklearn(call, monkeypatch):
    monkeypatch.delitem(sys.modules, "gmmx_eqx.interop.sklearn", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "gmmx_eqx\[sklearn\]"'):
        call()
