"""The estimator beside scikit-learn's."""

import copy
import pickle
import re
import threading

import jax
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.base
import sklearn.exceptions
import sklearn.mixture

import gmmx_eqx as gx
from gmmx_eqx.sklearn import GaussianMixture

from .conftest import X64
from .helpers import dense_values, every_sklearn_family, make_data, make_mixture
from .sklearn_checks import checks_of


# JAX's mode must not matter, so every world computes in the precision it is not for.
OTHER = np.float32 if X64 else np.float64
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_")
PARAMETERS = (*PARAMETERS, "precisions_cholesky_")


def start_of(name, x, n_components=3) -> dict:
    """scikit-learn's own start, as arguments."""
    start = sklearn.mixture.GaussianMixture(
        n_components, covariance_type=name, random_state=0, max_iter=0
    ).fit(x)
    return {
        "n_components": n_components,
        "covariance_type": name,
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
    }


@pytest.fixture(scope="module")
def fitted():
    x = make_data(300, 3)
    return GaussianMixture(3, random_state=0).fit(x), x


_IN_BOTH = ("check_estimators_pickle", "check_fit_idempotent")


@pytest.mark.parametrize(
    ("estimator", "check"), list(checks_of(GaussianMixture(), _IN_BOTH))
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@every_sklearn_family
def test_same_steps_from_the_same_start(name):
    x = make_data(300, 3)
    start = start_of(name, x)
    x = x.astype(OTHER)
    theirs = sklearn.mixture.GaussianMixture(**start, tol=1e-4).fit(x)
    ours = GaussianMixture(**start, tol=1e-4).fit(x)
    assert ours.converged_ and theirs.converged_
    assert ours.n_iter_ == theirs.n_iter_
    # Its float32 expands squares, which costs digits.
    rtol = 1e-9 if OTHER == np.float64 else 2e-4
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol)
    assert ours.lower_bound_ == ours.lower_bounds_[-1]
    for attribute in PARAMETERS:
        got, expected = getattr(ours, attribute), getattr(theirs, attribute)
        assert (got.dtype, got.shape) == (OTHER, expected.shape)
        np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())
    for method in ("score_samples", "predict_proba", "score", "aic", "bic"):
        got, expected = getattr(ours, method)(x), getattr(theirs, method)(x)
        np.testing.assert_allclose(got, expected, 10 * rtol, 10 * rtol)
        assert np.isscalar(got) or got.dtype == OTHER
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.x32
def test_signatures_are_those_of_scikit_learn():
    ours, theirs = GaussianMixture(), sklearn.mixture.GaussianMixture()
    assert ours.get_params() == {**theirs.get_params(), "missing_values": "error"}
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public <= set(dir(ours))


@pytest.mark.x32
def test_wider_type_wins(fitted):
    estimator, x = fitted
    narrow = sklearn.base.clone(estimator).fit(np.float32(x))
    assert narrow.means_.dtype == np.float32
    assert narrow.score_samples(np.float32(x)).dtype == np.float32
    assert narrow.score_samples(x).dtype == np.float64
    assert estimator.score_samples(np.float32(x)).dtype == np.float64


@pytest.mark.x32
def test_mixture_in_float64(fitted):
    estimator, x = fitted
    mixture = estimator.mixture_
    assert isinstance(mixture, gx.GaussianMixture)
    assert mixture.means.dtype == np.float64
    with jax.enable_x64(True):
        got = np.asarray(mixture.log_prob(x))
    np.testing.assert_array_equal(got, estimator.score_samples(x))
    again = gx.GaussianMixture.from_sklearn(estimator)
    np.testing.assert_allclose(again.means, mixture.means, rtol=1e-6)


def test_the_mixture_has_memory_of_its_own(fitted):
    estimator, _ = fitted
    estimator = copy.deepcopy(estimator)
    for name in ("weights_", "means_", "covariances_"):
        array = getattr(estimator, name)
        # JAX uses NumPy's memory where that begins at a multiple of so many bytes.
        memory = np.zeros(array.nbytes + 64, np.uint8)
        begin = -memory.ctypes.data % 64
        own = memory[begin : begin + array.nbytes].view(array.dtype)
        own = own.reshape(array.shape)
        own[...] = array
        setattr(estimator, name, own)
    mixture = estimator.mixture_
    before = jax.tree.map(np.array, mixture)
    for name in ("weights_", "means_", "covariances_"):
        getattr(estimator, name)[...] = 7
    jax.tree.map(np.testing.assert_array_equal, mixture, before)


@pytest.mark.x32
def test_threads_have_modes_of_their_own(fitted):
    estimator, x = fitted
    expected = estimator.score_samples(x)
    narrow = make_mixture("full", 3, 3, dtype=np.float32)
    results: dict = {index: [] for index in range(4)}

    def run(index):
        for _ in range(10):
            if index:
                results[index].append(estimator.score_samples(x))
            else:
                results[index].append(np.asarray(narrow.log_prob(np.float32(x))))

    threads = [threading.Thread(target=run, args=(index,)) for index in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {values.dtype for values in results.pop(0)} == {np.dtype(np.float32)}
    for value in sum(results.values(), []):
        np.testing.assert_array_equal(value, expected, strict=True)


@pytest.mark.x32
def test_pickle_keeps_every_digit(fitted):
    estimator, x = fitted
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        again.score_samples(x), estimator.score_samples(x), strict=True
    )


@pytest.mark.x64
def test_processes_of_joblib(fitted):
    estimator, x = fitted
    jobs = (joblib.delayed(estimator.score_samples)(part) for part in (x[:9], x[9:18]))
    parts = joblib.Parallel(n_jobs=2)(jobs)
    np.testing.assert_allclose(np.concatenate(parts), estimator.score_samples(x)[:18])


@pytest.mark.x32
def test_data_frames(fitted):
    estimator, x = fitted
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    framed = sklearn.base.clone(estimator).fit(frame)
    assert list(framed.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(framed.means_, estimator.means_)
    with pytest.raises(ValueError, match="feature names"):
        framed.predict(frame[["b", "a", "c"]])


@pytest.mark.x64
def test_more_starts_keep_the_best(capsys):
    x = make_data(300, 3)
    bounds = {}
    for n_init in (1, 6):
        estimator = GaussianMixture(
            3, init_params="random_from_data", n_init=n_init, random_state=0, verbose=2
        ).fit(x)
        found = re.findall(r"lower bound (-?\d+\.\d+)\.", capsys.readouterr().out)
        bounds[n_init] = [float(bound) for bound in found]
        assert len(found) == n_init
        np.testing.assert_allclose(max(bounds[n_init]), estimator.lower_bound_, 1e-5)
    # The first of many is the only one of one.
    assert bounds[6][0] == bounds[1][0]
    assert len(set(bounds[6])) > 1


@pytest.mark.x64
def test_weights_are_repetitions():
    x = make_data(300, 3)
    weight = np.random.default_rng(0).integers(0, 3, size=300)
    start = start_of("full", x)
    repeated = GaussianMixture(**start).fit(np.repeat(x, weight, axis=0))
    weighted = GaussianMixture(**start).fit(x, sample_weight=weight)
    scaled = GaussianMixture(**start).fit(x, sample_weight=0.01 * weight)
    for estimator in (weighted, scaled):
        assert estimator.n_iter_ == repeated.n_iter_
        for attribute in PARAMETERS:
            got, expected = getattr(estimator, attribute), getattr(repeated, attribute)
            np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.x32
@every_sklearn_family
def test_samples(name):
    mixture = make_mixture(name, 3, 2, dtype=np.float32)
    estimator = GaussianMixture(3, covariance_type=name, random_state=0)
    for attribute, value in vars(mixture.to_sklearn()).items():
        if attribute in PARAMETERS:
            setattr(estimator, attribute, value)
    x, labels = estimator.sample(20_000)
    assert (x.dtype, x.shape) == (np.float32, (20_000, 2))
    assert np.all(np.diff(labels) >= 0)
    dense = dense_values(name, estimator.covariances_, 3, 2)
    for k in range(3):
        own = np.float64(x[labels == k])
        variances = np.diagonal(dense[k])
        # Six standard errors of a mean, and of a covariance.
        error = 6 * np.sqrt(variances / len(own))
        assert np.all(np.abs(own.mean(axis=0) - estimator.means_[k]) < error)
        scale = np.sqrt(np.outer(variances, variances))
        error = 6 * np.sqrt(2 / len(own)) * scale
        assert np.all(np.abs(np.cov(own.T) - dense[k]) < error)


@pytest.mark.x32
def test_what_is_wrong_there_is_right_here():
    x = make_data(300, 3)
    # Integers.
    whole = np.round(x).astype(int)
    estimator = GaussianMixture(**start_of("full", x)).fit(x)
    np.testing.assert_array_equal(
        estimator.score_samples(whole), estimator.score_samples(np.float64(whole))
    )
    # A start without a step.
    start = start_of("full", x)
    idle = GaussianMixture(**start, max_iter=0).fit(x)
    assert (idle.n_iter_, idle.converged_, idle.lower_bounds_) == (0, False, [])
    assert idle.lower_bound_ == -np.inf
    np.testing.assert_allclose(idle.precisions_, start["precisions_init"], rtol=1e-9)
    product = idle.covariances_ @ idle.precisions_
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), (3, 3, 3)), 0, 1e-9)
    # Data far from zero.
    far = GaussianMixture(**{**start, "means_init": start["means_init"] + 1e6})
    far.fit(x + 1e6)
    np.testing.assert_allclose(far.covariances_, estimator.covariances_, rtol=1e-6)


@pytest.mark.x32
def test_tied_start_leaves_the_single_gaussian():
    x = make_data(300, 3)
    kwargs: dict = {"covariance_type": "tied", "init_params": "k-means++"}
    theirs = sklearn.mixture.GaussianMixture(3, random_state=0, **kwargs).fit(x)
    single = sklearn.mixture.GaussianMixture(1, covariance_type="tied").fit(x)
    ours = GaussianMixture(3, random_state=0, **kwargs).fit(x)
    assert abs(theirs.score(x) - single.score(x)) < 1e-3
    assert ours.score(x) > single.score(x) + 0.1


@pytest.mark.x32
def test_warm_start_goes_on():
    x = make_data(300, 3)
    start = start_of("full", x)
    once = GaussianMixture(**start, max_iter=6, tol=0)
    twice = GaussianMixture(**start, max_iter=3, tol=0, warm_start=True)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="did not converge"):
        once.fit(x), twice.fit(x), twice.fit(x)
    for attribute in PARAMETERS:
        got, expected = getattr(twice, attribute), getattr(once, attribute)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="`warm_start`"):
        twice.fit(x[:, :2])


@pytest.mark.x32
def test_component_without_samples_keeps_a_weight_of_zero():
    x = make_data(300, 3)
    start = start_of("full", x)
    start["means_init"][1] = 1e6
    estimator = GaussianMixture(**start).fit(x)
    assert estimator.weights_[1] == 0 and estimator.converged_
    np.testing.assert_array_equal(estimator.means_[1], 1e6)
    assert np.all(np.isfinite(estimator.score_samples(x)))


@pytest.mark.x32
def test_no_program_is_compiled_twice():
    x = make_data(300, 3)
    fit = lambda **kwargs: GaussianMixture(3, max_iter=99, **kwargs).fit(x).predict(x)
    fit(random_state=0)
    count = 0

    def listen(event, duration, **kwargs):
        nonlocal count
        count += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    fit(random_state=1, tol=1e-4, reg_covar=1e-3)
    assert count == 0
    fit(random_state=1, covariance_type="diag")
    assert count > 0


@pytest.mark.x32
def test_verbose(capsys):
    x = make_data(300, 3)
    GaussianMixture(3, random_state=0, verbose=2, verbose_interval=5).fit(x)
    text = capsys.readouterr().out
    assert text.count("Initialization converged") == 1
    assert "Iteration 5\t ll change" in text and "lower bound" in text


BAD = {
    "n_components": 0,
    "max_iter": -1,
    "n_init": 0,
    "tol": -1.0,
    "reg_covar": -1.0,
    "init_params": "kmean",
    "covariance_type": "ful",
    "warm_start": "yes",
    "verbose": -1,
    "verbose_interval": 0,
    "weights_init": [0.5, 0.6],
    "means_init": [[0.0, 0.0, 0.0]],
    "precisions_init": -np.ones((2, 3, 3)),
}


@pytest.mark.x32
@pytest.mark.parametrize("name, value", [*BAD.items(), ("max_iter", True)])
def test_bad_parameters(name, value):
    estimator = GaussianMixture(**{"n_components": 2, name: value})
    word = name.removesuffix("_init").removesuffix("s") if "_init" in name else name
    with pytest.raises(ValueError, match=word):
        estimator.fit(np.eye(3))


@pytest.mark.x32
def test_collapse_is_an_error_and_a_ridge_helps():
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(2, reg_covar=0, random_state=0).fit(x)
    ridge = gx.Ridge(1e-3)
    estimator = GaussianMixture(2, reg_covar=ridge, random_state=0)
    assert estimator.fit(x).converged_
    np.testing.assert_allclose(np.sort(estimator.means_[:, 0]), [0, 1], atol=1e-6)


@pytest.mark.x32
def test_a_mask_that_is_set():
    x = np.random.default_rng(0).normal(size=(40, 2))
    estimator = GaussianMixture(2, random_state=0).fit(x)
    mask = np.zeros(x.shape, bool)
    mask[3, 1] = True
    masked = np.ma.masked_array(np.where(mask, -9999, x), mask)
    for X in (masked, list(masked), masked.astype(object)):
        for call in (GaussianMixture(2).fit, estimator.predict, estimator.score):
            with pytest.raises(ValueError, match="`X` is a masked array|`X`.*masked"):
                call(X)
    weight = np.ma.masked_array(np.ones(40), mask[:, 1])
    with pytest.raises(ValueError, match="`sample_weight` is a masked array"):
        GaussianMixture(2).fit(x, sample_weight=weight)
    means = np.ma.masked_array(x[:2], [[True, False], [False, False]])
    with pytest.raises(ValueError, match="`means` is a masked array"):
        GaussianMixture(2, means_init=means).fit(x)
    plain = np.ma.masked_array(x)
    np.testing.assert_array_equal(estimator.predict(plain), estimator.predict(x))
