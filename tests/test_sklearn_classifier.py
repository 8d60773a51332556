"""The classifier beside scikit-learn's, and beside mclust's published models."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import sklearn.exceptions
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.naive_bayes import GaussianNB

import gmmx_eqx as gx
from gmmx_eqx.sklearn import MixtureClassifier

from .sklearn_checks import checks_of


X, Y = sklearn.datasets.load_iris(return_X_y=True)
WEIGHT = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)


@pytest.mark.parametrize(("estimator", "check"), list(checks_of(MixtureClassifier())))
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


THEIRS = {
    "full": QuadraticDiscriminantAnalysis,
    # Its other solver divides by n less the number of classes.
    "tied": lambda: LinearDiscriminantAnalysis("lsqr"),
    "diag": lambda: GaussianNB(var_smoothing=0),
}


@pytest.mark.x32
@pytest.mark.parametrize("name", THEIRS)
def test_one_gaussian_a_class_is_a_classifier_of_scikit_learn(name):
    names = np.array(["setosa", "versicolor", "virginica"])
    for priors in (None, [0.2, 0.5, 0.3]):
        ours = MixtureClassifier(covariance_type=name, priors=priors, reg_covar=0.0)
        ours.fit(X, names[Y])
        np.testing.assert_array_equal(ours.classes_, names)
        # By Bayes' rule: with `priors`, its linear classifier weights covariances by
        # them, too.
        joint = THEIRS[name]().fit(X, names[Y]).predict_log_proba(X)
        joint = joint + (0 if priors is None else np.log(priors) - np.log(1 / 3))
        expected = joint - logsumexp(joint, axis=1, keepdims=True)
        np.testing.assert_array_equal(ours.predict(X), names[expected.argmax(1)])
        np.testing.assert_allclose(
            ours.predict_log_proba(X), expected, rtol=1e-7, atol=1e-8
        )
    assert ours.predict_proba(X).dtype == np.float64
    assert ours.converged_ and ours.score(X, names[Y]) > 0.95


# Log-density of iris, of whatever species, and how many are classified wrongly, by
# MclustDA(iris[, 1:4], iris[, 5], modelType = "EDDA", modelNames = ...), mclust 6.0.0.
EDDA = {
    "EII": (-414.697951, 11),
    "VII": (-392.498414, 12),
    "EEI": (-364.517364, 6),
    "VEI": (-340.836052, 5),
    "EVI": (-342.973698, 6),
    "VVI": (-309.362758, 6),
    "EEE": (-256.646184, 3),
    "VEE": (-238.394699, 3),
    "EVE": (-235.550484, 4),
    "VVE": (-215.344305, 3),
    "EEV": (-215.143263, 2),
    "VEV": (-187.709744, 3),
    "EVV": (-209.454798, 3),
    "VVV": (-182.920849, 3),
}


# Of species and measurements, which is what is maximised, where mclust ends its own
# iterations before that has settled.
JOINT = {"VEE": -245.681596, "EVE": -241.542708, "VVE": -221.455896}


@pytest.mark.x64
@pytest.mark.parametrize("model", EDDA)
def test_models_are_those_of_mclust(model):
    classifier = MixtureClassifier(covariance_type=model, reg_covar=0.0, tol=1e-9)
    classifier.fit(X, Y)
    log_likelihood, n_wrong = EDDA[model]
    density = classifier.score_samples(X)
    if model in JOINT:
        joint = density[:, None] + classifier.predict_log_proba(X)
        assert joint[np.arange(len(X)), Y].sum() > JOINT[model] - 1e-6
    else:
        np.testing.assert_allclose(density.sum(), log_likelihood, rtol=0, atol=1e-6)
    assert np.sum(classifier.predict(X) != Y) == n_wrong


@pytest.mark.x32
def test_a_mixture_for_each_class_is_fitted_to_its_samples():
    counts = [1, 3, 2]
    classifier = MixtureClassifier(counts, n_init=3, random_state=0)
    classifier.fit(X, Y, sample_weight=WEIGHT)
    shares = np.bincount(Y, WEIGHT) / WEIGHT.sum()
    np.testing.assert_allclose(classifier.priors_, shares, rtol=1e-12)
    joint = []
    for k, mixture in enumerate(classifier.mixtures_):
        assert mixture.n_components == counts[k]
        # Another step, in NumPy, does not move it.
        w, mu = np.float64(mixture.weights_numpy), np.float64(mixture.means_numpy)
        sigma = np.float64(mixture.covariances.values_numpy)
        own, weight = X[Y == k], WEIGHT[Y == k]
        logs = lambda x, w=w, mu=mu, sigma=sigma: np.stack(
            [
                np.log(w[j]) + multivariate_normal.logpdf(x, mu[j], sigma[j])
                for j in range(len(w))
            ],
            axis=1,
        )
        resp = np.exp(logs(own) - logsumexp(logs(own), axis=1, keepdims=True))
        resp = resp * weight[:, None]
        np.testing.assert_allclose(resp.sum(0) / weight.sum(), w, atol=5e-3)
        np.testing.assert_allclose(
            resp.T @ own / resp.sum(0)[:, None], mu, rtol=0, atol=5e-3
        )
        joint.append(logsumexp(logs(X), axis=1) + np.log(shares[k]))
    joint = np.stack(joint, axis=1)
    density = logsumexp(joint, axis=1)
    np.testing.assert_allclose(classifier.score_samples(X), density, rtol=1e-9)
    np.testing.assert_allclose(
        classifier.predict_log_proba(X), joint - density[:, None], rtol=1e-8, atol=1e-9
    )
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.x64
def test_samples_of_no_class_are_fitted_too():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=600)
    x = rng.normal(size=(600, 2)) * [1, 3] + np.outer(truth, [3.5, 0])
    y = np.where(np.arange(600) < 12, truth, -1)
    alone = MixtureClassifier(covariance_type="tied").fit(x[:12], y[:12])
    both = MixtureClassifier(covariance_type="tied", unlabelled=-1).fit(x, y)
    np.testing.assert_array_equal(both.classes_, [0, 1])
    assert both.score(x[12:], truth[12:]) > alone.score(x[12:], truth[12:])
    # It is the fit to labels.
    start = gx.GaussianMixture.from_labels(x, y, covariance_type="tied")
    solution = gx.fit(start, x, labels=y)
    expected = solution.mixture.predict_proba(x)
    np.testing.assert_allclose(both.predict_proba(x), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(both.priors_, solution.mixture.weights_numpy, rtol=1e-12)
    # Given priors are those of the samples of no class, too.
    given = MixtureClassifier(
        covariance_type="tied", unlabelled=-1, priors=[0.3, 0.7]
    ).fit(x, y)
    frozen = gx.fit(
        gx.GaussianMixture(
            start.weights.at[0, :, 0, 0].set(np.array([0.3, 0.7])),
            start.means,
            start.covariances,
        ),
        x,
        labels=y,
        frozen=gx.Frozen(weights=True),
    )
    expected = frozen.mixture.predict_proba(x)
    np.testing.assert_allclose(given.predict_proba(x), expected, rtol=1e-9, atol=1e-12)
    # By default every value is a class.
    np.testing.assert_array_equal(MixtureClassifier().fit(x, y).classes_, [-1, 0, 1])


@pytest.mark.x32
def test_classes_without_weight_are_not_there_and_frames_have_names():
    frame = pd.DataFrame(X, columns=list("abcd"))
    weight = (Y != 1).astype(float)
    classifier = MixtureClassifier(covariance_type="tied").fit(frame, Y, weight)
    plain = MixtureClassifier(covariance_type="tied").fit(X[Y != 1], Y[Y != 1])
    np.testing.assert_array_equal(classifier.classes_, [0, 2])
    np.testing.assert_array_equal(classifier.feature_names_in_, list("abcd"))
    np.testing.assert_allclose(
        classifier.predict_log_proba(frame), plain.predict_log_proba(X), rtol=1e-8
    )


@pytest.mark.x32
def test_what_cannot_be_right():
    half = np.where(np.arange(150) % 2, Y, -1)
    wrong = {
        "`n_components` must be a number, or 3, .* got 2": {"n_components": [1, 2]},
        "`n_components` must be at least 1": {"n_components": 0},
        "Class .*0.* has 50 samples of positive weight, fewer than its 51": {
            "n_components": [51, 1, 1]
        },
        "`priors` must have one number for each class": {"priors": [0.5, 0.5]},
        "`priors` must be non-negative and sum to one.* 1.2,": {"priors": [0.4] * 3},
        "`n_init` must be at least 1": {"n_init": 0},
        "`max_iter` must be an integer": {"max_iter": -1},
        "`init_params` must be one of": {"init_params": "none"},
        "`covariance_type` must be one of": {"covariance_type": "fool"},
        "one component for each class only": {"n_components": 2, "unlabelled": -1},
    }
    for message, arguments in wrong.items():
        y = half if "unlabelled" in arguments else Y
        with pytest.raises(ValueError, match=message):
            MixtureClassifier(**arguments).fit(X, y)
    # Fewer samples of a class than features, without a ridge.
    with pytest.raises(ValueError, match="the classes ended with the status"):
        MixtureClassifier(reg_covar=0.0).fit(X[47:53], Y[47:53])
    with pytest.raises(ValueError, match="No sample of positive weight has a class"):
        MixtureClassifier(unlabelled=0).fit(X[:50], Y[:50])
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        MixtureClassifier(2, max_iter=1, random_state=0).fit(X, Y)
