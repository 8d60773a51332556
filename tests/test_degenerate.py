"""Data and starts that break EM elsewhere: what each of them ends in, and that no NaN
is ever passed off as a result."""

import functools as ft
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx

from .conftest import X64
from .helpers import (
    every_family,
    every_sklearn_family,
    FAMILIES,
    leaves,
    parameters,
    squeezed_values,
)


BASE = np.random.default_rng(0).normal(size=(24, 3)) + 6 * np.eye(3)[np.arange(24) % 3]
STATUSES = {
    "S": gx.RESULTS.successful,
    "M": gx.RESULTS.max_steps_reached,
    "N": gx.RESULTS.nonfinite,
    "C": gx.RESULTS.component_collapsed,
}


def with_row(value):
    return np.where(np.arange(24)[:, None] == 0, value, BASE)


def with_feature(value):
    return np.stack([BASE[:, 0], BASE[:, 1], np.broadcast_to(value, 24)], axis=1)


# The data, the number of components, and how it ends in float64 for the families full,
# tied, diag, spherical: with a ridge of 1e-6, without, and with the default one.
CASES = {
    "identical": (np.tile([[1.0, 2, 3]], (24, 1)), 3, "SSSS CCCC CCCC"),
    "constant feature": (with_feature(2.5), 3, "SSSS CCCS CCCS"),
    "equal features": (with_feature(BASE[:, 0]), 3, "SSSS CCSS SSSS"),
    "collinear": (with_feature(BASE[:, 0] - BASE[:, 1]), 3, "SSSS CCSS SSSS"),
    "one point at 1e8": (with_row(1e8), 3, "SSSS CSCC SSSS"),
    "two distinct": (np.repeat(BASE[:2], 12, axis=0), 3, "SSSS CCSS SSSS"),
    "each repeated": (np.repeat(BASE[:8], 3, axis=0), 3, "SSSS SSSS SSSS"),
    "K = N": (BASE[:3], 3, "SSSS CCCC"),
    "N = 1": (BASE[:1], 1, "SSSS CCCC CCCC"),
    "N = 2 < D": (BASE[:2], 1, "SSSS CCSS"),
}
RIDGES = (1e-6, 0.0, None)
SOLVER = gx.EM(max_steps=60)
# With a ridge, these are singular to the rounding of float32, if not of float64.
NEARLY_SINGULAR = ["equal features", "collinear", "two distinct", "N = 2 < D"]
NEARLY_SINGULAR.append("one point at 1e8")


def start_of(name, means, variance=1.0, weights=None):
    means = jnp.asarray(means, dtype=float)
    n_components, n_features = means.shape
    eye = np.eye(n_features)
    values = squeezed_values(name, np.tile(eye, (n_components, 1, 1)))
    weights = np.full(n_components, 1 / n_components) if weights is None else weights
    return gx.GaussianMixture.from_squeezed(means, variance * values, weights, name)


def dense(mixture):
    return parameters(mixture)[2]


def run(mixture, x, reg_covar: float | None = 1e-6, **kwargs):
    options: dict[str, Any] = {"throw": False, "solver": SOLVER} | kwargs
    return gx.fit(mixture, x, reg_covar=reg_covar, **options)


def status_of(solution) -> str:
    """Its letter, after checking what every end promises."""
    (status,) = (key for key, end in STATUSES.items() if bool(solution.result == end))
    mixture = solution.mixture
    if status == "N":
        assert not np.isfinite(solution.log_likelihood)
        return status
    assert all(np.isfinite(leaf).all() for leaf in leaves(mixture))
    np.testing.assert_allclose(mixture.weights_numpy.sum(), 1, rtol=1e-5)
    assert np.isfinite(solution.log_likelihood)
    if status != "C":
        assert np.linalg.eigvalsh(dense(mixture)).min() > 0
    return status


@every_sklearn_family
@pytest.mark.parametrize("case", CASES)
def test_end(name, case):
    x, n_components, ends = CASES[case]
    column = FAMILIES.index(name)
    for reg_covar, expected in zip(RIDGES, ends.split(), strict=False):
        start = start_of(name, x[:n_components])
        status = status_of(run(start, x, reg_covar))
        may_round = not X64 and case in NEARLY_SINGULAR and expected[column] == "S"
        assert status in ("SMC" if may_round else expected[column])


@every_family
@pytest.mark.parametrize("case", ["identical", "N = 1", "K = N"])
def test_a_ridge_is_all_that_is_left(name, case):
    x, n_components, _ = CASES[case]
    mixture = run(start_of(name, x[:n_components]), x).mixture
    np.testing.assert_allclose(mixture.means_numpy, x[:n_components], rtol=1e-5)
    expected = np.broadcast_to(1e-6 * np.eye(3), (n_components, 3, 3))
    np.testing.assert_allclose(dense(mixture), expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", ["full", "tied", "diag"])
def test_constant_feature_does_not_disturb_the_others(name):
    x = CASES["constant feature"][0]
    got = run(start_of(name, x[:3]), x).mixture
    alone = run(start_of(name, x[:3, :2]), x[:, :2]).mixture
    rtol = 1e-10 if X64 else 1e-4
    np.testing.assert_allclose(got.means_numpy[:, :2], alone.means_numpy, rtol)
    np.testing.assert_allclose(dense(got)[:, :2, :2], dense(alone), rtol, rtol)
    np.testing.assert_allclose(got.means_numpy[:, 2], 2.5, rtol)
    np.testing.assert_allclose(dense(got)[:, 2], [[0, 0, 1e-6]] * 3, rtol, 1e-12)


@pytest.mark.x64
@every_family
def test_outlier_has_its_own_component(name):
    x = CASES["one point at 1e8"][0]
    mixture = run(start_of(name, x[:3]), x).mixture
    np.testing.assert_allclose(mixture.means_numpy[0], 1e8, rtol=1e-12)
    np.testing.assert_allclose(mixture.weights_numpy[0], 1 / 24)
    # The others are those of the data without it.
    rest = np.average(mixture.means_numpy[1:], 0, mixture.weights_numpy[1:])
    np.testing.assert_allclose(rest, BASE[1:].mean(0), rtol=1e-6)


@every_family
def test_component_far_from_all_data(name):
    """It collapses in the first step, and the start is returned."""
    start = start_of(name, [*BASE[:2], [1e6, 1e6, 1e6]])
    solution = run(start, BASE)
    assert status_of(solution) == "C"
    for got, expected in zip(leaves(solution.mixture), leaves(start), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@every_family
def test_component_of_weight_zero_is_not_there(name):
    start = start_of(name, BASE[:3], weights=[0.5, 0.5, 0.0])
    solution = run(start, BASE)
    alone = run(start_of(name, BASE[:2]), BASE)
    assert status_of(solution) == status_of(alone) == "S"
    mixture = solution.mixture
    assert mixture.weights_numpy[2] == 0
    np.testing.assert_allclose(mixture.means_numpy[2], BASE[2], rtol=1e-5)
    rtol = 1e-10 if X64 else 1e-4
    got, expected = mixture.means_numpy[:2], alone.mixture.means_numpy
    np.testing.assert_allclose(got, expected, rtol, rtol)
    np.testing.assert_allclose(dense(mixture)[:2], dense(alone.mixture), rtol, rtol)


@pytest.mark.x64
@every_family
def test_sample_of_weight_zero_is_not_there(name):
    weight = (np.arange(24) > 0).astype(float)
    ends = [
        run(start_of(name, BASE[1:4]), with_row(value), sample_weight=weight)
        for value in (1e8, 0.0)
    ]
    assert [status_of(end) for end in ends] == ["S", "S"]
    for got, expected in zip(*map(leaves, ends), strict=True):
        np.testing.assert_array_equal(got, expected)


@every_family
@pytest.mark.parametrize("size", [1e150, 1e-150] if X64 else [1e16, 1e-16])
def test_sizes_near_the_ends_of_the_type(name, size):
    start = start_of(name, size * BASE[:3], size * size)
    solution = run(start, size * BASE, 0.0)
    assert status_of(solution) == "S"
    # The same steps on data of size one.
    solver = gx.EM(0.0, int(solution.n_steps))
    expected = run(start_of(name, BASE[:3]), BASE, 0.0, solver=solver)
    assert expected.n_steps == solution.n_steps
    got = np.float64(solution.mixture.covariances.values_numpy) / size / size
    values = expected.mixture.covariances.values_numpy
    rtol = 1e-8 if X64 else 1e-3
    np.testing.assert_allclose(got, values, rtol, rtol)


@pytest.mark.x32
@every_family
def test_failure_from_k_means_names_the_remedy(name):
    """With every default: what fails for want of a ridge says so."""
    run_k_means = gx.GaussianMixture.from_k_means
    for x in [x for x, _, _ in CASES.values() if len(x) == 24]:
        start = run_k_means(x, 3, key=jr.key(0), covariance_type=name)
        if status_of(run(start, x, None)) in "NC":
            with pytest.raises(gx.FitError, match="`reg_covar`"):
                run(start, x, None, throw=True)


@pytest.mark.x32
def test_failures_raise_with_a_remedy():
    start = start_of("full", BASE[:3])
    few_steps = ft.partial(run, start, BASE, solver=gx.EM(0.0, 1))
    no_ridge = ft.partial(run, start, CASES["identical"][0], 0.0)
    # So narrow that all densities underflow.
    narrow = start_of("full", BASE[:3] + 1e8, 1e-300 if X64 else 1e-30)
    ends = {
        "M": (few_steps, "Increase `max_steps`"),
        "C": (no_ridge, "Increase `reg_covar`"),
        "N": (ft.partial(run, narrow, BASE), "Check `x`"),
    }
    for status, (call, remedy) in ends.items():
        assert status_of(call()) == status
        with pytest.raises(gx.FitError, match=remedy):
            call(throw=True)


@pytest.mark.x32
def test_nan_while_tracing_is_a_status():
    start = start_of("full", BASE[:3])
    lanes = jnp.stack([jnp.asarray(BASE, dtype=float)] * 3)
    lanes = lanes.at[1, 4, 2].set(jnp.nan).at[2, 5, 0].set(jnp.inf)
    ends = eqx.filter_vmap(lambda x: run(start, x))(lanes)
    one, two, three = (jax.tree.map(lambda leaf, i=i: leaf[i], ends) for i in range(3))
    assert status_of(one) + status_of(two) + status_of(three) == "SNN"
    alone = run(start, BASE)
    rtol = 1e-10 if X64 else 1e-4
    np.testing.assert_allclose(dense(one.mixture), dense(alone.mixture), rtol, rtol)
    # Densities of the other samples are not touched.
    log_prob = eqx.filter_jit(lambda x: alone.mixture.log_prob(x))(lanes[1])
    np.testing.assert_array_equal(np.isnan(log_prob), np.arange(24) == 4)


@pytest.mark.x32
def test_bad_sample_weight_while_tracing_is_a_status():
    """Negative weights, too, must not be dropped silently."""
    start, ones = start_of("full", BASE[:3]), jnp.ones(24)
    bad = [ones.at[3].set(value) for value in (jnp.nan, -1.0, jnp.inf)]
    lanes = jnp.stack([ones, *bad, 0 * ones])
    ends = eqx.filter_vmap(lambda weight: run(start, BASE, sample_weight=weight))(lanes)
    nonfinite = np.asarray(ends.result == gx.RESULTS.nonfinite)
    np.testing.assert_array_equal(nonfinite, [False, True, True, True, True])
