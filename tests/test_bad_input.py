"""What cannot be right is refused with a `ValueError` that names the argument, shows
what was given and says what to do; while tracing, it becomes a status."""

import functools as ft
import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._covariances import has_matrices, is_tied
from gmmx_eqx._covariances.fields import is_shared

from .helpers import FAMILIES, make_data, make_mixture, make_values


pytestmark = pytest.mark.x32


X = make_data(12)
UNIFORM = np.full((12, 3), 1 / 3)
LABELS = np.arange(12) % 3
KEY = jr.key(0)
MODEL = make_mixture("full")
MIXTURE = gx.GaussianMixture

# Everything that takes data, as a function of the data.
ESTIMATORS = {
    "fit": ft.partial(gx.fit, MODEL),
    "from_k_means": ft.partial(MIXTURE.from_k_means, n_components=3, key=KEY),
    "from_initialiser": ft.partial(
        MIXTURE.from_initialiser, gx.RandomPoints(), n_components=3, key=KEY
    ),
    "from_responsibilities": ft.partial(MIXTURE.from_responsibilities, resp=UNIFORM),
    "from_labels": ft.partial(MIXTURE.from_labels, labels=LABELS),
    "update_parameters": ft.partial(MODEL.update_parameters, resp=UNIFORM),
}
SCORES = {name: getattr(MODEL, name) for name in ("score", "aic", "bic", "icl")}
NAMES = ("log_prob", "score_samples", "estimate_log_prob", "predict", "predict_proba")
DENSITIES = {name: getattr(MODEL, name) for name in NAMES}
WEIGHTED = ESTIMATORS | SCORES
TAKES_DATA = WEIGHTED | DENSITIES
CREATES = ["from_k_means", "from_initialiser", "from_responsibilities", "from_labels"]


def refused(call, argument, *shown):
    """The call raises a `ValueError` with the argument in backticks and these regular
    expressions, and more than that: what to do is said in words."""
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert f"`{argument}`" in message
    for pattern in shown:
        assert re.search(pattern, message), f"no {pattern} in: {message}"


def changed(array, index, value):
    out = np.array(array, dtype=np.float64)
    out[index] = value
    return out


BAD_DATA = {
    "one axis": (X[:, 0], [r"\(12,\)", r"x\[:, None\]"]),
    "three axes": (X[None], [r"\(1, 12, 2\)", "filter_vmap"]),
    "no samples": (X[:0], [r"\(0, 2\)"]),
    "no features": (X[:, :0], [r"\(12, 0\)"]),
    "a NaN": (changed(X, (3, 1), np.nan), [r"\(3, 1\)", "Drop or impute"]),
    "an infinity": (changed(X, (0, 0), np.inf), [r"\(0, 0\)", "Drop or impute"]),
    "too large to square": (changed(X, (0, 0), 1e200), [r"1e\+200", "Rescale"]),
    "text": ([["a", "b"]] * 12, ["<U1", "numeric"]),
    "complex": (X + 1j, ["complex", "real|numeric"]),
    "ragged": ([[1.0, 2.0], [3.0]], []),
}


@pytest.mark.parametrize("method", TAKES_DATA)
@pytest.mark.parametrize("case", BAD_DATA)
def test_data(method, case):
    x, shown = BAD_DATA[case]
    refused(lambda: TAKES_DATA[method](x), "x", *shown)


@pytest.mark.parametrize("method", [*SCORES, *DENSITIES, "fit", "update_parameters"])
def test_features_of_mixture_and_data(method):
    call = lambda: TAKES_DATA[method](np.ones((12, 3)))
    refused(call, "x", r"\(12, 3\)", r"\b2\b")


def test_fewer_samples_than_components():
    of_weight_zero = {"sample_weight": (np.arange(12) < 2).astype(float)}
    for method in ("fit", "from_k_means", "from_initialiser"):
        fn = ESTIMATORS[method]
        refused(lambda fn=fn: fn(X[:2]), "x", r"\b3\b", r"\b2\b")
        refused(lambda fn=fn: fn(X, **of_weight_zero), "x", r"\b3\b", r"\b2\b")
    call = lambda: MIXTURE.from_responsibilities(X[:2], UNIFORM[:2])
    refused(call, "x", r"\b3\b", r"\b2\b")


ONES = np.ones(12)
BAD_WEIGHTS = {
    "negative": (changed(ONES, 2, -1), ["-1", "negative"]),
    "a NaN": (changed(ONES, 2, np.nan), ["nan|NaN", r"\b2\b"]),
    "an infinity": (changed(ONES, 2, np.inf), ["inf", r"\b2\b"]),
    "all zero": (0 * ONES, ["zero"]),
    "too few": (ONES[:3], [r"\(12,\)", r"\(3,\)"]),
    "two axes": (ONES[:, None], [r"\(12,\)", r"\(12, 1\)"]),
}


@pytest.mark.parametrize("method", WEIGHTED)
@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_sample_weight(method, case):
    weight, shown = BAD_WEIGHTS[case]
    call = lambda: WEIGHTED[method](X, sample_weight=weight)
    refused(call, "sample_weight", *shown)


BAD_AMOUNTS = {
    "-1.0": -1.0,
    "nan": np.nan,
    "inf": np.inf,
    r"\[\[1\. 2\.\]\]": np.array([[1.0, 2.0]]),
    "'a'": "a",
    "1j": 1j,
}


@pytest.mark.parametrize("shown", BAD_AMOUNTS)
@pytest.mark.parametrize("method", ESTIMATORS)
def test_reg_covar(method, shown):
    call = lambda: ESTIMATORS[method](X, reg_covar=BAD_AMOUNTS[shown])
    refused(call, "reg_covar", shown, "at least zero")


@pytest.mark.parametrize("method", ESTIMATORS)
def test_reg_covar_of_other_features(method):
    call = lambda: ESTIMATORS[method](X, reg_covar=[1e-3] * 3)
    refused(call, "reg_covar", r"\b2\b", r"\(3,\)")


@pytest.mark.parametrize("shown", BAD_AMOUNTS)
def test_ridge_and_tol(shown):
    value = BAD_AMOUNTS[shown]
    refused(lambda: gx.Ridge(value), "reg_covar", shown, "at least zero")
    refused(lambda: gx.RelativeRidge(value), "reg_covar", shown, "at least zero")
    refused(lambda: gx.EM(tol=value), "tol", shown, "at least zero")
    vector = lambda: gx.EM(tol=[1e-3, 1e-3])
    refused(vector, "tol", r"\[0\.001, 0\.001\]", "at least zero")


@pytest.mark.parametrize("value", [-1, 1.5, True, [1, 2], "a", None])
def test_max_steps(value):
    call = lambda: gx.EM(max_steps=value)
    refused(call, "max_steps", re.escape(repr(value)), "integer")


@pytest.mark.parametrize("value", [0, -1, True])
def test_counts(value):
    shown = re.escape(repr(value))
    k_means = lambda: MIXTURE.from_k_means(X, value, key=KEY)
    create = lambda: MIXTURE.create(value, 2)
    for call in (k_means, create):
        refused(call, "n_components", shown, "at least 1|integer")
    refused(lambda: MIXTURE.create(2, value), "n_features", shown)
    refused(lambda: MODEL.sample(KEY, value), "n_samples", shown)
    chunked = lambda: ESTIMATORS["fit"](X, samples_per_chunk=value)
    refused(chunked, "samples_per_chunk", shown)


@pytest.mark.parametrize("value", ["foo", "Full", ""])
def test_covariance_type(value):
    shown = [re.escape(repr(value)), *gx.COVARIANCE, "register_covariance"]
    for method in CREATES:
        call = lambda method=method: ESTIMATORS[method](X, covariance_type=value)
        refused(call, "covariance_type", *shown)
    refused(lambda: MIXTURE.create(2, 2, value), "covariance_type", *shown)
    squeezed = lambda: MIXTURE.from_squeezed([[0.0]], [[[1.0]]], [1.0], value)
    refused(squeezed, "covariance_type", *shown)


def test_names_of_options():
    for cls in (gx.KMeans, gx.RandomPoints, gx.RandomResponsibilities):
        refused(lambda cls=cls: cls(scaling="foo"), "scaling", "foo", *gx.Scaling)


def test_register_covariance():
    before = dict(gx.COVARIANCE)
    call = lambda: gx.extend.register_covariance(gx.extend.AbstractCovariances)
    refused(call, "family", "AbstractCovariances", "concrete")
    assert before == gx.COVARIANCE


def test_ensemble_is_not_one_mixture():
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), MODEL)
    for call in (ensemble.log_prob, ft.partial(gx.fit, ensemble)):
        with pytest.raises(ValueError, match=r"ensemble.*\(2,\).*filter_vmap"):
            call(X)


def bad_covariances(name):
    """What is wrong: the values, and what the message shows."""
    good = make_values(name, 2, 3)
    bad = {
        "axes": (good[None], [re.escape(str((1, *good.shape)))]),
        "text": ("a", ["<U1", "numeric"]),
        "a NaN": (np.full_like(good, np.nan), ["nan|NaN"]),
        "an infinity": (np.full_like(good, np.inf), ["inf"]),
        "zero": (0 * good, ["positive definite"]),
        "negative": (-good, ["positive definite", "-[0-9]"]),
    }
    family = gx.COVARIANCE[name]
    if not is_tied(family):
        bad["components"] = (make_values(name, 4, 3), [r"\b4\b", r"\b2\b"])
    if not is_shared(family, gx.Axis.features):
        bad["features"] = (make_values(name, 2, 5), [r"\b5\b", r"\b3\b"])
    if has_matrices(family):
        rectangle = good[..., :2]
        bad["rectangle"] = (rectangle, [re.escape(str(rectangle.shape))])
        tilt = np.eye(3)[0] - np.eye(3)[:, :1]
        bad["asymmetric"] = (good + 0.01 * tilt, ["symmetric", "Symmetrise"])
        indefinite = good - 10 * np.ones((3, 3)) + 10 * np.eye(3)
        bad["indefinite"] = (indefinite, ["positive definite", "-[0-9]"])
    return bad


BAD_COVARIANCES = {
    (name, case): bad
    for name in FAMILIES
    for case, bad in bad_covariances(name).items()
}


@pytest.mark.parametrize("name, case", BAD_COVARIANCES)
def test_squeezed_covariances(name, case):
    values, shown = BAD_COVARIANCES[name, case]
    call = lambda: MIXTURE.from_squeezed(np.zeros((2, 3)), values, [0.5, 0.5], name)
    refused(call, "covariances", *shown)


GOOD = {"means": np.zeros((2, 3)), "covariances": np.eye(3), "weights": [0.5, 0.5]}
BAD_PARAMETERS = [
    ("means", np.zeros(3), [r"\(3,\)"]),
    ("means", changed(np.zeros((2, 3)), (1, 2), np.nan), ["nan|NaN", r"\(1, 2\)"]),
    ("means", "a", ["<U1", "numeric"]),
    ("means", np.zeros((0, 3)), [r"\(0, 3\)"]),
    ("weights", [1.0, 1.0], [r"\b2\b", "sum to one"]),
    ("weights", [-0.5, 1.5], [r"-0\.5", "sum to one"]),
    ("weights", [0.5, np.nan], ["nan|NaN"]),
    ("weights", [[0.5, 0.5]], [r"\(2,\)", r"\(1, 2\)"]),
    ("weights", np.full(3, 1 / 3), [r"\(2,\)", r"\(3,\)"]),
]


@pytest.mark.parametrize("argument, value, shown", BAD_PARAMETERS)
def test_squeezed_means_and_weights(argument, value, shown):
    given = GOOD | {argument: value}
    call = lambda: MIXTURE.from_squeezed(**given, covariance_type="tied")
    refused(call, argument, *shown)
