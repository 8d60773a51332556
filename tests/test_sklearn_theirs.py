"""The estimator as scikit-learn's own class."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.base
import sklearn.exceptions
import sklearn.mixture
from sklearn.utils.validation import check_is_fitted

import gmmx_eqx as gx
from gmmx_eqx.sklearn import GaussianMixture

from .helpers import every_sklearn_family, make_data


pytestmark = pytest.mark.x32


X = make_data(120, 3)


def attributes_of(estimator):
    return {name for name in vars(estimator) if name.endswith("_")}


@every_sklearn_family
@pytest.mark.parametrize("float_type", [np.float32, np.float64])
def test_everything_is_there(name, float_type):
    x = X.astype(float_type)
    ours = GaussianMixture(3, covariance_type=name, random_state=0, tol=1e-2).fit(x)
    theirs = ours.to_sklearn()
    assert type(theirs) is sklearn.mixture.GaussianMixture
    check_is_fitted(theirs)
    assert {**theirs.get_params(), "missing_values": "error"} == ours.get_params()
    fitted = sklearn.mixture.GaussianMixture(3, covariance_type=name).fit(x)
    assert attributes_of(theirs) == attributes_of(fitted)
    for attribute in attributes_of(fitted):
        got, kind = getattr(theirs, attribute), getattr(fitted, attribute)
        np.testing.assert_array_equal(got, getattr(ours, attribute))
        assert np.shape(got) == np.shape(kind) or attribute == "lower_bounds_"
    # Each computes in its own order.
    rtol = 1e-9 if float_type == np.float64 else 1e-3
    np.testing.assert_array_equal(theirs.predict(x), ours.predict(x))
    np.testing.assert_allclose(
        theirs.predict_proba(x), ours.predict_proba(x), rtol, rtol
    )
    np.testing.assert_allclose(theirs.score_samples(x), ours.score_samples(x), rtol)
    np.testing.assert_allclose(theirs.score(x), ours.score(x), rtol)
    np.testing.assert_allclose(theirs.bic(x), ours.bic(x), rtol)
    assert theirs.sample(5)[0].shape == (5, 3)
    again = pickle.loads(pickle.dumps(theirs))
    np.testing.assert_array_equal(again.means_, ours.means_)
    back = gx.GaussianMixture.from_sklearn(theirs)
    np.testing.assert_allclose(back.means_numpy, ours.means_, rtol=1e-6)


def test_it_goes_on_from_there():
    ours = GaussianMixture(3, random_state=0, tol=1e-6, max_iter=500).fit(X)
    theirs = ours.to_sklearn().set_params(warm_start=True).fit(X)
    assert theirs.converged_ and theirs.n_iter_ <= 3
    np.testing.assert_allclose(theirs.lower_bound_, ours.lower_bound_, atol=1e-5)
    # Its arrays are its own.
    theirs.means_[:] = 0
    assert np.all(np.any(ours.means_ != 0, axis=1))


def test_names_of_features_and_what_did_not_converge():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        ours = GaussianMixture(3, random_state=0, max_iter=1).fit(frame)
    theirs = ours.to_sklearn()
    assert theirs.feature_names_in_.tolist() == ["a", "b", "c"]
    assert (theirs.converged_, theirs.n_iter_) == (False, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs.predict(frame)


def test_arguments_it_has_no_word_for():
    ours = GaussianMixture(
        2,
        reg_covar=gx.RelativeRidge(1e-4),
        init_params=gx.RandomPoints(),
        random_state=0,
    )
    theirs = ours.fit(X).to_sklearn()
    assert (theirs.reg_covar, theirs.init_params) == (1e-6, "kmeans")
    sklearn.base.clone(theirs).fit(X)


def test_what_cannot_be_converted():
    with pytest.raises(sklearn.exceptions.NotFittedError):
        GaussianMixture(2).to_sklearn()
    ours = GaussianMixture(2, random_state=0).fit(X)
    ours.covariance_type = "constrained"
    with pytest.raises(ValueError, match="no covariance type 'constrained'"):
        ours.to_sklearn()


def test_fisher_vectors():
    skimage_feature = pytest.importorskip("skimage.feature")
    ours = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
    got = skimage_feature.fisher_vector(X[:40], ours.to_sklearn())
    # By hand, from what the library says itself (Perronnin, Dance 2007).
    resp = ours.predict_proba(X[:40])
    deviations = np.sqrt(ours.covariances_)
    shifts = (X[:40, None] - ours.means_) / deviations
    root = np.sqrt(ours.weights_)
    by_weight = (resp - ours.weights_).mean(axis=0) / root
    by_mean = (resp[..., None] * shifts).mean(axis=0) / root[:, None]
    by_width = (resp[..., None] * (shifts**2 - 1)).mean(axis=0)
    by_width = -by_width / (np.sqrt(2) * root[:, None])
    expected = np.concatenate([by_weight, by_mean.ravel(), by_width.ravel()])
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)
