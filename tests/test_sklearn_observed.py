"""The estimator with missing values and noise: against published figures, scipy, and
laws."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.base

from gmmx_eqx.sklearn import GaussianMixture

from .helpers import old_faithful
from .observations import faithful_noise, faithful_with_gaps
from .sklearn_checks import checks_of


START = {
    "weights_init": [0.4, 0.6],
    "means_init": [[2.0, 55.0], [4.3, 80.0]],
    "precisions_init": [np.diag([1 / 0.1, 1 / 36.0])] * 2,
}
TIGHT = {"tol": 1e-12, "max_iter": 3000, "reg_covar": 0.0}
CHECKS = [
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_fit2d_1sample",
    "check_dtype_object",
    "check_methods_sample_order_invariance",
    "check_estimator_tags_renamed",
    "check_sample_weight_equivalence_on_dense_data",
]


def made(**others):
    return GaussianMixture(2, **START, **TIGHT, missing_values="fit", **others)


@pytest.fixture(scope="module")
def fitted():
    y = faithful_with_gaps()
    return made().fit(y), y


@pytest.mark.x32
def test_missing_values_have_the_published_optimum(fitted):
    estimator, y = fitted
    assert estimator.converged_
    np.testing.assert_allclose(272 * estimator.lower_bound_, -970.9347650118, atol=1e-6)
    np.testing.assert_allclose(estimator.weights_[1], 0.64665971, rtol=1e-5)
    np.testing.assert_allclose(estimator.means_[1], (4.27220351, 79.90540469), 1e-5)


@pytest.mark.x32
def test_densities_of_what_is_there_are_those_of_scipy(fitted):
    estimator, y = fitted
    noise = np.array([[0.02, 0.1], [0.1, 2.0]])
    for own in (None, noise):
        joint = np.zeros((272, 2))
        for n, row in enumerate(y):
            there = ~np.isnan(row)
            for k in range(2):
                joint[n, k] = np.log(estimator.weights_[k])
                if there.any():
                    total = estimator.covariances_[k] + (0 if own is None else own)
                    normal = scipy.stats.multivariate_normal(
                        estimator.means_[k][there], total[np.ix_(there, there)]
                    )
                    joint[n, k] += normal.logpdf(row[there])
        expected = np.logaddexp(*joint.T)
        found = estimator.score_samples(y, noise=own)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)
        found = estimator.predict_proba(y, noise=own)
        np.testing.assert_allclose(found, np.exp(joint - expected[:, None]), atol=1e-10)
        found = estimator.predict(y, noise=own)
        np.testing.assert_array_equal(found, joint.argmax(1))
        value = expected.sum()
        np.testing.assert_allclose(estimator.score(y, noise=own), value / 272)
        np.testing.assert_allclose(estimator.aic(y, noise=own), -2 * value + 22)
        penalty = 11 * np.log(272)
        np.testing.assert_allclose(estimator.bic(y, noise=own), -2 * value + penalty)


@pytest.mark.x32
def test_noise_has_the_published_optimum():
    noise = faithful_noise()
    estimator = made().fit(old_faithful(), noise=noise)
    value = 272 * estimator.score(old_faithful(), noise=noise)
    np.testing.assert_allclose(value, -1131.3670770863, atol=1e-6)
    np.testing.assert_allclose(estimator.means_[1], (4.28970916, 79.97984109), 1e-5)


@pytest.mark.x32
def test_noise_without_end_is_a_missing_value(fitted):
    _, y = fitted
    variances = np.full(y.shape, [0.01, 4.0])
    missing = made().fit(y, noise=variances)
    filled = np.where(np.isnan(y), [3.0, 70.0], y)
    noisy = made().fit(filled, noise=np.where(np.isnan(y), 1e10, variances))
    for name in ("weights_", "means_", "covariances_"):
        got, expected = getattr(noisy, name), getattr(missing, name)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.x32
def test_masks_and_starts_and_types(fitted):
    _, y = fitted
    estimator = GaussianMixture(2, n_init=3, random_state=0, missing_values="fit")
    labels = estimator.fit_predict(y)
    assert labels.shape == (272,)
    mask = np.isnan(y)
    masked = np.ma.masked_array(np.where(mask, -9999, y), mask)
    clone: Any = sklearn.base.clone
    same = clone(estimator).fit(masked)
    np.testing.assert_array_equal(same.means_, estimator.means_)
    np.testing.assert_array_equal(same.predict(masked), labels)
    single = clone(estimator).fit(np.float32(y), noise=0.01)
    assert single.means_.dtype == np.float32
    assert estimator.__sklearn_tags__().input_tags.allow_nan
    theirs = estimator.to_sklearn()
    x = old_faithful()
    np.testing.assert_array_equal(theirs.predict(x), estimator.predict(x))


@pytest.mark.x32
def test_what_cannot_be_right():
    y = faithful_with_gaps()
    with pytest.raises(ValueError, match="contains NaN"):
        GaussianMixture(2).fit(y)
    assert not GaussianMixture(2).__sklearn_tags__().input_tags.allow_nan
    with pytest.raises(ValueError, match="`missing_values` must be 'error' or 'fit'"):
        GaussianMixture(2, missing_values="yes").fit(old_faithful())
    with pytest.raises(ValueError, match=r"`noise` must be a number, or have shape"):
        GaussianMixture(2).fit(old_faithful(), noise=np.ones(3))
    with pytest.raises(ValueError, match="`noise` holds variances"):
        GaussianMixture(2).fit(old_faithful(), noise=-1.0)
    with pytest.raises(ValueError, match="Feature 1 is never observed"):
        made().fit(np.where([True, False], y, np.nan))


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        case
        for case in checks_of(GaussianMixture(missing_values="fit"))
        if str(case.id).split("_", 1)[1] in CHECKS
    ],
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
