"""How estimators evaluate: by programs that get NumPy's arrays."""

import copy

import equinox as eqx
import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import gmmx_eqx as gx
from gmmx_eqx._covariances import registry
from gmmx_eqx.interop.sklearn import training
from gmmx_eqx.sklearn import GaussianMixture

from .helpers import make_data


pytestmark = pytest.mark.x64
METHODS = ("score_samples", "predict", "predict_proba")
NAMES = ("full", "tied", "diag", "spherical", "tied_diag", "EVE")
FAMILIES = {name: name for name in NAMES} | {"low_rank": gx.LowRank(1)}


@pytest.fixture(scope="module")
def fitted():
    x = make_data(90, 3)
    return {
        name: GaussianMixture(3, covariance_type=family, random_state=0).fit(x)
        for name, family in FAMILIES.items()
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_samples", [1, 90, 300])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_results_are_those_of_the_mixture(fitted, family, n_samples, dtype):
    estimator, x = fitted[family], make_data(n_samples, 3, seed=1).astype(dtype)
    mixture = estimator.mixture_
    for method in METHODS:
        got = getattr(estimator, method)(x)
        np.testing.assert_array_equal(got, getattr(mixture, method)(x))
        assert got.flags.c_contiguous and got.flags.owndata and got.flags.writeable


WRONG = {
    "features": ("full", "means_", lambda means: means[:, :2]),
    "weights": ("full", "weights_", lambda weights: weights[:2]),
    "one mean": ("full", "means_", lambda means: means[:1]),
    "means of three axes": ("full", "means_", lambda means: means[None]),
    "means of one axis": ("full", "means_", lambda means: means[0]),
    "covariances": ("full", "covariances_", lambda values: values[:2]),
    "not square": ("full", "covariances_", lambda values: values[..., :1]),
    "one variance": ("diag", "covariances_", lambda values: values[:, :1]),
    "another family": ("diag", "covariance_type", lambda name: "spherical"),
    "tied": ("full", "covariance_type", lambda name: "tied"),
}


@pytest.mark.parametrize(("family", "name", "change"), WRONG.values(), ids=WRONG)
def test_parameters_of_wrong_shapes(fitted, family, name, change):
    estimator = copy.copy(fitted[family])
    setattr(estimator, name, change(getattr(estimator, name)))
    for method in METHODS:
        # Of types where those are checked.
        with pytest.raises((ValueError, TypeCheckError)):
            getattr(estimator, method)(make_data(90, 3))


def test_numbers_that_are_too_large(fitted):
    x = np.full((3, 3), 1e200)
    with pytest.raises(ValueError, match="too large"):
        fitted["full"].predict(x)


def test_a_family_with_a_static_field(fitted, monkeypatch):
    class Counting(gx.DiagCovariances):
        n_seen: int = eqx.field(static=True)

        def __init__(self, values):
            self.values = values
            self.n_seen = values.shape[-3]

    monkeypatch.setitem(registry.COVARIANCE, "counting", Counting)
    estimator, x = copy.copy(fitted["diag"]), make_data(90, 3)
    right = estimator.predict_proba(x)
    estimator.covariance_type = "counting"
    np.testing.assert_array_equal(estimator.predict_proba(x), right)
    assert estimator.mixture_.covariances.n_seen == 3


def test_transfers_that_a_user_forbids(fitted):
    with jax.transfer_guard_host_to_device("disallow"):
        fitted["full"].predict(make_data(90, 3))


def test_settings_are_made_once_and_hold_no_tracers():
    x = make_data(90, 3)
    make = lambda **options: GaussianMixture(2, random_state=0, tol=0.0123, **options)

    def inside(_):
        make().fit(x)

    training._kept.cache_clear()
    with pytest.raises(Exception):  # noqa: B017  # whichever comes first
        jax.eval_shape(inside, 1.0)
    assert training._kept.cache_info().currsize == 0
    first = make().fit(x)
    assert make().fit(x).lower_bound_ == first.lower_bound_
    assert training._kept.cache_info()[:2] == (1, 1)
    # Equal numbers of other types are other settings, and are checked.
    with pytest.raises(ValueError, match="max_iter"):
        make(max_iter=True).fit(x)
    make(reg_covar=gx.RelativeRidge(1e-6)).fit(x)
    make(warm_start=True).fit(x).fit(x)
    assert training._kept.cache_info().currsize == 1
