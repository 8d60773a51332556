"""float32 against float64: the same steps of EM on the same float32 values."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.exceptions
import sklearn.mixture

import gmmx_eqx as gx

from . import families
from .helpers import (
    dense_values,
    every_family,
    squeezed_values,
)


pytestmark = pytest.mark.optimised

N_STEPS = 10

# Centres in units of sigma along two axes, times the separation.
CENTRES = np.array([[0, 0], [1, 0.3], [0.2, 1]])
WIDTHS = np.array([1, 1.3, 0.7])


def make(separation=5.0, offset=0.0, scale=1.0, correlation=0.4):
    """Three clusters, as float32 values and labels.

    `separation` and `offset` are in units of sigma. With a correlation, centres are
    apart in units of the width in each direction, also across the narrow one.
    """
    rng = np.random.default_rng(7)
    label = rng.integers(3, size=600)
    noise = rng.normal(size=(600, 2)) * WIDTHS[label, None]
    factor = np.linalg.cholesky([[1, correlation], [correlation, 1]])
    x = (separation * CENTRES[label] + noise) @ factor.T
    return np.float32(scale * (x + offset)), label


CASES = {
    **{f"separation {s:g}": {"separation": s} for s in (1, 10, 100, 1e3, 1e4, 1e5)},
    **{f"offset {o:g}": {"offset": o} for o in (1e2, 1e4, 1e6)},
    **{f"scale {s:g}": {"scale": s} for s in (1e-12, 1e-6, 1e6, 1e12)},
    "scale 1e-12, offset 1e6": {"scale": 1e-12, "offset": 1e6},
    "scale 1e-12, separation 1e5": {"scale": 1e-12, "separation": 1e5},
    "scale 1e12, separation 1e4": {"scale": 1e12, "separation": 1e4},
    "correlation .999999, apart": {"separation": 20, "correlation": 0.999999},
    # At .999999, overlapping full and tied components miss the bound: 3e-3 to 5e-3.
    "correlation .9999, near": {"separation": 5, "correlation": 0.9999},
}


def start_of(name, x, label):
    """Responsibilities a little softer than the labels."""
    resp = np.float32(0.9 * np.eye(3)[label] + 0.1 / 3)
    return gx.GaussianMixture.from_responsibilities(
        x, resp, covariance_type=name, reg_covar=0.0
    )


def fit(mixture, x, n_steps, dtype):
    cast = lambda array: jnp.asarray(array, dtype=dtype)
    return gx.fit(
        jax.tree.map(cast, mixture),
        cast(x),
        reg_covar=0.0,
        solver=gx.EM(tol=0.0, max_steps=n_steps),
        throw=False,
    )


def in_float64(name, mixture, x, n_steps) -> np.ndarray:
    """The squeezed covariances after the same steps in float64, by scikit-learn where
    it has the family, else by this library."""
    if not families.BY_NAME[name].of_sklearn:
        with jax.enable_x64(True):
            mixture = fit(mixture, x, n_steps, np.float64).mixture
            return mixture.covariances.values_numpy
    # About one of the samples, and in units of the data's size, which is exact or
    # nearly so: scikit-learn multiplies raw numbers.
    anchor, size = np.float64(x[:1]), np.float64(2.0 ** np.round(np.log2(np.ptp(x))))
    values = np.float64(mixture.covariances.values_numpy) / size**2
    dense = dense_values(name, values, 3, 2)
    inverse = np.linalg.inv(dense)
    precisions = squeezed_values(name, inverse)
    weights = np.float64(mixture.weights_numpy)
    estimator = sklearn.mixture.GaussianMixture(
        3,
        covariance_type=name,
        tol=0.0,
        reg_covar=0.0,
        max_iter=n_steps,
        weights_init=weights / weights.sum(),
        means_init=(mixture.means_numpy - anchor) / size,
        precisions_init=precisions,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        estimator.fit((np.float64(x) - anchor) / size)
    return np.asarray(estimator.covariances_) * size**2


def relative_error(name, got, expected) -> float:
    """Of every element, in units of its row's and column's standard deviations."""
    got, expected = dense_values(name, got, 3, 2), dense_values(name, expected, 3, 2)
    sd = np.sqrt(np.diagonal(expected, axis1=1, axis2=2))
    return float(np.max(np.abs(got - expected) / (sd[:, :, None] * sd[:, None])))


@pytest.mark.x32
@every_family
@pytest.mark.parametrize("case", CASES)
def test_covariances_are_those_of_float64(name, case):
    x, label = make(**CASES[case])
    mixture = start_of(name, x, label)
    assert mixture.means.dtype == np.float32
    solution = fit(mixture, x, N_STEPS, np.float32)
    assert solution.result != gx.RESULTS.nonfinite
    assert solution.result != gx.RESULTS.component_collapsed
    got = np.float64(solution.mixture.covariances.values_numpy)
    assert np.linalg.eigvalsh(dense_values(name, got, 3, 2)).min() > 0
    expected = in_float64(name, mixture, x, int(solution.n_steps))
    assert relative_error(name, got, expected) < 1e-3


@pytest.mark.x32
@every_family
def test_all_steps_are_taken_without_a_tolerance(name):
    """Likelihoods in float32 stand still long before covariances do."""
    x, label = make(scale=1e-12)
    solution = fit(start_of(name, x, label), x, N_STEPS, np.float32)
    assert solution.n_steps == N_STEPS


@pytest.mark.x32
@every_family
def test_lanes_do_not_change_each_other(name):
    """One that needs residuals, and one that does not."""
    data = [make(separation=separation) for separation in (1.0, 1e4)]
    x = np.stack([x for x, _ in data])
    starts = [start_of(name, *pair) for pair in data]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    ends = jax.jit(jax.vmap(lambda start, x: fit(start, x, N_STEPS, np.float32)))(
        stacked, jnp.asarray(x)
    )
    for i, start in enumerate(starts):
        alone = fit(start, x[i], N_STEPS, np.float32)
        got = ends.mixture.covariances.values_numpy[i]
        expected = alone.mixture.covariances.values_numpy
        np.testing.assert_allclose(got, expected, 1e-4, 1e-4 * np.abs(expected).max())


@pytest.mark.x32
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x, label = make()
    half = jnp.asarray(x).astype(dtype)
    start, expected = start_of("full", half, label), start_of("full", x, label)
    assert start.means.dtype == jnp.float32
    # Of values that were rounded by half a unit in the last place.
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(start.means, expected.means, eps, eps * x.max())
    solution = fit(start, half.astype(jnp.float32), 3, np.float32)
    got = gx.fit(start, half, reg_covar=0.0, solver=gx.EM(0.0, 3), throw=False)
    assert got.log_likelihood.dtype == jnp.float32
    np.testing.assert_allclose(got.log_likelihood, solution.log_likelihood, 1e-6)


def test_what_is_taken():
    """The numbers count, whatever holds them; of two types the wider one is used."""
    counts = np.random.default_rng(0).poisson(5.0, size=(40, 2))
    mixture = gx.GaussianMixture.from_squeezed(
        [[3, 3], [7, 7]], [[4, 4], [4, 4]], [0.5, 0.5], "diag"
    )
    expected = np.asarray(mixture.log_prob(counts.astype(float)))
    for x in (counts, counts.tolist(), counts.astype(np.uint8), jnp.asarray(counts)):
        np.testing.assert_array_equal(mixture.log_prob(x), expected)
    single = jnp.asarray(counts, dtype=jnp.float32)
    got = mixture.log_prob(single)
    assert got.dtype == mixture.means.dtype
    np.testing.assert_array_equal(got, expected)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), mixture)
    assert narrow.log_prob(single).dtype == jnp.float32
    solution = gx.fit(narrow, counts.astype(float), throw=False)
    assert solution.mixture.means.dtype == mixture.means.dtype
