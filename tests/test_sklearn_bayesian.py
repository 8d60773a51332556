"""The Bayesian estimator beside scikit-learn's."""

import pickle

import numpy as np
import pytest
import scipy.special
import sklearn.exceptions
import sklearn.mixture

import gmmx_eqx as gx
from gmmx_eqx.sklearn import BayesianGaussianMixture

from .helpers import every_sklearn_family, make_data
from .sklearn_checks import checks_of
from .test_variational import log_evidence


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = ("dirichlet_process", "dirichlet_distribution")
Theirs = sklearn.mixture.BayesianGaussianMixture
X = make_data(150, 3)
SPREAD = {"full": np.cov(X.T), "tied": np.cov(X.T)}
SPREAD |= {"diag": X.var(axis=0), "spherical": X.var()}


def arguments(case, name) -> dict:
    """Three data sets and priors of one shape, so that each family is one program."""
    return {
        "defaults": {},
        "strong": {
            "init_params": "random",
            "weight_concentration_prior": 20.0,
            "mean_precision_prior": 3.0,
            "mean_prior": [1.0, 0.0, -2.0],
            "degrees_of_freedom_prior": 7.5,
            "covariance_prior": 2 * SPREAD[name],
            "reg_covar": 0.1,
            "tol": 1e-6,
            "max_iter": 60,
        },
        "weak": {
            # Of starts in which most samples belong to no component, its tied
            # covariances depend on where the origin is.
            "init_params": "kmeans" if name == "tied" else "k-means++",
            "weight_concentration_prior": 0.01,
            "mean_precision_prior": 0.1,
            "degrees_of_freedom_prior": 2.1,
            "n_init": 2,
            "reg_covar": 0.0,
            "max_iter": 15,
        },
    }[case]


def data(case) -> np.ndarray:
    # Far from zero, and in units of their own.
    return {"defaults": X, "strong": X[::-1] ** 3 / 9, "weak": X * [1, 9, 0.1] + 100}[
        case
    ]


def assert_same(ours, theirs, x, rtol=1e-9):
    """All numbers, up to rounding."""
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
    missing = {name for name in vars(theirs) if name not in vars(ours)}
    assert not missing
    for name, expected in vars(theirs).items():
        if not name.endswith("_") or name == "n_features_in_":
            continue
        # Where one precision serves all, their bounds are arrays of one number.
        got, expected = (np.squeeze(v) for v in (getattr(ours, name), expected))
        assert got.shape == expected.shape, name
        atol = rtol * np.abs(expected).max(initial=0, where=np.isfinite(expected))
        # Beta functions of JAX have errors of 4e-9 each.
        loose = max(rtol, 1e-8) if name.startswith("lower_bound") else rtol
        np.testing.assert_allclose(got, expected, loose, atol, err_msg=name)
    for method in ("score_samples", "predict_proba", "score", "predict"):
        got, expected = getattr(ours, method)(x), getattr(theirs, method)(x)
        np.testing.assert_allclose(got, expected, 10 * rtol, 10 * rtol)


@pytest.mark.x64
@pytest.mark.parametrize("kind", KINDS)
@every_sklearn_family
@pytest.mark.parametrize("case", ["defaults", "strong", "weak"])
def test_same_numbers(case, name, kind):
    options = {
        "n_components": 4,
        "covariance_type": name,
        "weight_concentration_prior_type": kind,
        "random_state": 2,
        **arguments(case, name),
    }
    x = data(case)
    ours = BayesianGaussianMixture(**options).fit(x)
    assert_same(ours, Theirs(**options).fit(x), x)
    assert np.isfinite(ours.evidence_bound_)


@pytest.mark.x32
def test_same_numbers_in_float32():
    x = np.float32(X)
    options = {"n_components": 4, "random_state": 2, "tol": 0, "max_iter": 30}
    ours = BayesianGaussianMixture(**options).fit(x)
    assert ours.means_.dtype == ours.predict_proba(x).dtype == np.float32
    # Errors of the steps add up.
    assert_same(ours, Theirs(**options).fit(x), x, rtol=1e-3)


@pytest.mark.x64
@pytest.mark.parametrize("kind", KINDS)
def test_starts_and_warm_starts(kind):
    options = {
        "n_components": 4,
        "weight_concentration_prior_type": kind,
        "init_params": "random_from_data",
        "warm_start": True,
        "random_state": 0,
    }
    pair = BayesianGaussianMixture(**options), Theirs(**options)
    for max_iter, scale in ((0, 1.0), (3, 1.0), (50, 1.1)):
        for estimator in pair:
            estimator.set_params(max_iter=max_iter).fit(scale * X)
        assert_same(*pair, X)
    with pytest.raises(ValueError, match="With `warm_start`"):
        pair[0].set_params(n_components=3).fit(X)


@pytest.mark.x64
def test_of_one_component_the_bound_is_the_evidence():
    x = X[:40]
    options = {"reg_covar": 0, "weight_concentration_prior_type": KINDS[1]}
    mean, cov = x.mean(axis=0), np.cov(x.T)
    known = log_evidence(x, gx.NormalInverseWishart(mean, 1.0, 3.0, cov))
    for name in ("full", "tied"):
        one = BayesianGaussianMixture(covariance_type=name, **options).fit(x)
        np.testing.assert_allclose(one.evidence_bound_, known, rtol=1e-10)
    # Features that are independent have an evidence each.
    parts = [
        log_evidence(
            x[:, [i]], gx.NormalInverseWishart(mean[[i]], 1.0, 3.0, cov[[i]][:, [i]])
        )
        for i in range(3)
    ]
    one = BayesianGaussianMixture(covariance_type="diag", **options).fit(x)
    np.testing.assert_allclose(one.evidence_bound_, np.sum(parts), rtol=1e-10)
    # One variance for three features: an inverse gamma density of nine degrees.
    one = BayesianGaussianMixture(covariance_type="spherical", **options).fit(x)
    n, variances = x.shape[0], np.var(x, axis=0, ddof=1)
    before, after = 4.5, 4.5 + 1.5 * n
    scale = 1.5 * variances.mean()
    expected = (
        -1.5 * n * np.log(2 * np.pi)
        + scipy.special.gammaln(after)
        - scipy.special.gammaln(before)
        + before * np.log(scale)
        - after * np.log(scale + 0.5 * (n - 1) * variances.sum())
        - 1.5 * np.log(1 + n)
    )
    np.testing.assert_allclose(one.evidence_bound_, expected, rtol=1e-10)


@pytest.mark.x64
def test_a_constant_feature():
    x = np.concatenate([X[:, :2], np.ones((len(X), 1))], axis=1)
    for name in ("full", "diag"):
        options = {"n_components": 2, "covariance_type": name, "random_state": 0}
        ours = BayesianGaussianMixture(**options).fit(x)
        assert_same(ours, Theirs(**options).fit(x), x, rtol=1e-6)
        assert ours.evidence_bound_ == -np.inf
        with pytest.raises(ValueError, match="ill-defined"):
            ours.set_params(reg_covar=0).fit(x)


@pytest.mark.x32
def test_many_features():
    """Densities' constants are far too small for float32."""
    x = np.float32(np.random.default_rng(0).normal(size=(60, 120)))
    x[:30] += 1
    options = {"n_components": 3, "covariance_type": "diag", "random_state": 0}
    ours, theirs = (kind(**options) for kind in (BayesianGaussianMixture, Theirs))
    np.testing.assert_array_equal(ours.fit_predict(x), theirs.fit_predict(x))
    np.testing.assert_allclose(ours.means_, theirs.means_, 1e-3, 1e-3)
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), 1e-5)


@pytest.mark.x32
def test_as_scikit_learns_own_class(capsys):
    ours = BayesianGaussianMixture(n_components=4, random_state=0, verbose=2).fit(X)
    text = capsys.readouterr().out
    assert text.count("Initialization converged") == 1
    assert f"lower bound {ours.lower_bound_:.5f}." in text
    theirs = ours.to_sklearn()
    assert type(theirs) is Theirs
    assert theirs.get_params() == ours.get_params()
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.score_samples(X), ours.score_samples(X))
    np.testing.assert_allclose(theirs.score_samples(X), ours.score_samples(X), 1e-9)
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public <= set(dir(ours))
    defaults = BayesianGaussianMixture().get_params()
    assert defaults == Theirs().get_params() and list(defaults) == sorted(defaults)
    # The mixture of the expected parameters.
    for estimator in (ours, theirs):
        mixture = gx.GaussianMixture.from_sklearn(estimator)
        np.testing.assert_allclose(mixture.means_numpy, ours.means_, rtol=1e-6)
    samples, labels = ours.sample(5000)
    assert samples.shape == (5000, 3) and np.all(np.diff(labels) >= 0)
    error = 6 * np.sqrt(ours.weights_ / 5000)
    assert np.all(
        np.abs(np.bincount(labels, minlength=4) / 5000 - ours.weights_) < error
    )


@pytest.mark.x32
def test_a_start_of_this_library():
    options = {"n_components": 4, "random_state": 0}
    ours = BayesianGaussianMixture(init_params=gx.KMeans(), **options).fit(X)
    theirs = Theirs(**options).fit(X)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), atol=0.3)


BAD = {
    "n_components": 0,
    "covariance_type": "VVV",
    "tol": -1.0,
    "reg_covar": -1.0,
    "init_params": "kmean",
    "weight_concentration_prior_type": "dirichlet",
    "weight_concentration_prior": 0.0,
    "mean_precision_prior": -1.0,
    "mean_prior": [0.0, 0.0],
    "degrees_of_freedom_prior": 2.0,
    "covariance_prior": [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}


@pytest.mark.x32
@pytest.mark.parametrize("name, value", BAD.items())
def test_bad_parameters(name, value):
    estimator = BayesianGaussianMixture(**{"n_components": 2, name: value})
    with pytest.raises(ValueError, match=name):
        estimator.fit(X)


@pytest.mark.x32
def test_a_covariance_prior_of_another_shape():
    for name, value in (("diag", [1.0, -1.0, 1.0]), ("tied", np.eye(2))):
        estimator = BayesianGaussianMixture(
            covariance_type=name, covariance_prior=value
        )
        with pytest.raises(ValueError, match=f"'{name} covariance_prior'"):
            estimator.fit(X)
    estimator.set_params(covariance_type="spherical", covariance_prior=-1.0)
    with pytest.raises(ValueError, match="`covariance_prior`"):
        estimator.fit(X)


@pytest.mark.parametrize(
    ("estimator", "check"), list(checks_of(BayesianGaussianMixture()))
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
