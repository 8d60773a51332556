"""Laws that hold for all data: what becomes of densities, and of fits, when samples are
shifted, scaled or reordered and components change places."""

import dataclasses
import functools as ft

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._covariances import take_components

from . import families
from .families import every_family_of_any_fields
from .helpers import (
    dense_values,
    every_family,
    leaves,
    make_data,
    make_mixture,
    squeezed_values,
    start,
)


N_SAMPLES, N_FEATURES, N_COMPONENTS = 24, 2, 3

# The shapes are always the same, since each is a program of its own to compile.
law = hypothesis.settings(deadline=None, max_examples=20, derandomize=True)

# Multiples of 1/64: their sums are exact in float32, so that what is tested is not the
# rounding of the data itself.
samples = hnp.arrays(
    np.int64, (N_SAMPLES, N_FEATURES), elements=st.integers(-(2**10), 2**10)
).map(lambda numbers: jnp.asarray(numbers / 2**6))
shifts = hnp.arrays(np.int64, N_FEATURES, elements=st.integers(-(2**14), 2**14)).map(
    lambda numbers: jnp.asarray(numbers / 2**6)
)
factors = st.floats(1e-6, 1e6)
shares = hnp.arrays(
    np.int64, (N_SAMPLES, N_COMPONENTS), elements=st.integers(1, 100)
).map(lambda numbers: jnp.asarray(numbers / numbers.sum(axis=1, keepdims=True)))
component_orders = st.permutations(range(N_COMPONENTS)).map(np.array)
sample_orders = st.permutations(range(N_SAMPLES)).map(np.array)


@ft.cache
def make_start(name):
    """As wide as the data, and with means on the grid of the data."""
    mixture = scaled(make_mixture(name, N_COMPONENTS, N_FEATURES), 4.0)
    means = jnp.round(2**6 * mixture.means) / 2**6
    return dataclasses.replace(mixture, means=means)


def shifted(mixture, shift):
    means = mixture.means + shift[None, None, :, None]
    return dataclasses.replace(mixture, means=means)


def scaled(mixture, factor):
    family = families.BY_NAME[str(mixture.covariances.type)]
    covariances = family.scaled(mixture.covariances, factor)
    return dataclasses.replace(
        mixture, means=factor * mixture.means, covariances=covariances
    )


def permuted(mixture, order):
    covariances = take_components(mixture.covariances, order)
    return dataclasses.replace(
        mixture,
        weights=mixture.weights[:, order],
        means=mixture.means[:, order],
        covariances=covariances,
    )


def eps_of(array) -> float:
    return float(jnp.finfo(array.dtype).eps)


def assert_close(got, expected, rtol):
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())


def assert_same_density(got, expected):
    # Distances are sums of squares times a precision; neither is large.
    expected = np.asarray(expected)
    tolerance = 1000 * eps_of(expected)
    np.testing.assert_allclose(got, expected, tolerance, tolerance)


@every_family_of_any_fields
@law
@hypothesis.given(x=samples, shift=shifts)
def test_shift_of_densities(name, x, shift):
    mixture = make_start(name)
    moved = shifted(mixture, shift)
    assert_same_density(moved.log_prob(x + shift[None]), mixture.log_prob(x))
    assert_same_density(moved.predict_proba(x + shift[None]), mixture.predict_proba(x))


@every_family_of_any_fields
@law
@hypothesis.given(x=samples, factor=factors)
def test_scale_of_densities(name, x, factor):
    mixture = make_start(name)
    wide = scaled(mixture, factor)
    expected = mixture.log_prob(x) - N_FEATURES * np.log(factor)
    assert_same_density(wide.log_prob(factor * x), expected)
    assert_same_density(wide.predict_proba(factor * x), mixture.predict_proba(x))


@every_family_of_any_fields
@law
@hypothesis.given(x=samples, order=component_orders, rows=sample_orders)
def test_order_of_densities(name, x, order, rows):
    mixture = make_start(name)
    other = permuted(mixture, order)
    assert_same_density(other.log_prob(x[rows]), mixture.log_prob(x)[rows])
    assert_same_density(
        other.predict_proba(x[rows]), mixture.predict_proba(x)[rows][:, order]
    )
    assert_same_density(
        other.estimate_log_prob(x), mixture.estimate_log_prob(x)[:, order]
    )
    for method in ("score", "aic", "bic", "icl"):
        assert_same_density(
            getattr(other, method)(x[rows]), getattr(mixture, method)(x)
        )


def fitted(mixture, x, n_steps):
    """With a ridge that knows the units of the data."""
    solver = gx.EM(tol=0.0, max_steps=n_steps)
    ridge = gx.RelativeRidge(1e-2)
    return gx.fit(mixture, x, solver=solver, reg_covar=ridge, throw=False)


def check_laws_of_fits(mixture, x, shift, factor, order, rows, n_steps):
    # The guard of the packed kernel promises covariances to eps to the power 0.6.
    rtol = 10 * eps_of(x) ** 0.6
    expected = fitted(mixture, x, n_steps)
    n_samples = x.shape[0]

    def check(got, expected, log_likelihood):
        for one, other in zip(leaves(got.mixture), leaves(expected), strict=True):
            assert_close(one, other, rtol)
        assert_close(got.log_likelihood, log_likelihood, rtol)

    got = fitted(shifted(mixture, shift), x + shift[None], n_steps)
    # Back again, which rounds off the digits that the shift has used.
    moved = shifted(got.mixture, -shift)
    lost = eps_of(x) * float(jnp.max(jnp.abs(shift)))
    np.testing.assert_allclose(
        moved.means,
        expected.mixture.means,
        atol=lost + rtol * float(jnp.max(jnp.abs(x))),
    )
    got = dataclasses.replace(
        got, mixture=dataclasses.replace(moved, means=expected.mixture.means)
    )
    check(got, expected.mixture, expected.log_likelihood)

    got = fitted(scaled(mixture, factor), factor * x, n_steps)
    log_det = n_samples * N_FEATURES * np.log(factor)
    check(got, scaled(expected.mixture, factor), expected.log_likelihood - log_det)

    got = fitted(permuted(mixture, order), x[rows], n_steps)
    check(got, permuted(expected.mixture, order), expected.log_likelihood)


@every_family_of_any_fields
@law
@hypothesis.given(
    x=samples,
    shift=shifts,
    factor=factors,
    order=component_orders,
    rows=sample_orders,
)
def test_one_step_of_a_fit(name, x, shift, factor, order, rows):
    # A feature that hardly varies is a collapse, which has laws of its own.
    hypothesis.assume(bool(np.all(np.std(x, axis=0) > 1)))
    check_laws_of_fits(make_start(name), x, shift, factor, order, rows, 1)


@every_family
@pytest.mark.parametrize("seed", range(3))
def test_many_steps_of_a_fit(name, seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(np.round(2**6 * make_data(N_SAMPLES * 4, seed=seed)) / 2**6)
    check_laws_of_fits(
        start(name, x, N_COMPONENTS),
        x,
        jnp.asarray([100.0, -1000.0]),
        1e-5,
        rng.permutation(N_COMPONENTS),
        rng.permutation(N_SAMPLES * 4),
        8,
    )


@every_family_of_any_fields
@law
@hypothesis.given(x=samples, resp=shares, cut=st.integers(1, N_SAMPLES - 1))
def test_moments_are_a_commutative_monoid(name, x, resp, cut):
    family = families.BY_NAME[name].make(N_COMPONENTS, N_FEATURES, 0)
    x, resp = x[:, None, :, None], resp[..., None, None]
    # Multiples of zero rather than slices, whose every length would be a program.
    is_first = (jnp.arange(N_SAMPLES) < cut)[:, None, None, None]
    whole = family.moments(x, resp)
    first = family.moments(x, jnp.where(is_first, resp, 0))
    second = family.moments(x, jnp.where(is_first, 0, resp))
    nothing = family.moments(x, jnp.zeros_like(resp))
    for one, other in zip(leaves(first + second), leaves(whole), strict=True):
        # Of sums of terms of both signs: relative to the terms.
        np.testing.assert_allclose(one, other, atol=100 * eps_of(x) * N_SAMPLES * 2**8)
    for one, other in zip(leaves(first + second), leaves(second + first), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(leaves(first + nothing), leaves(first), strict=True):
        np.testing.assert_array_equal(one, other)


@every_family
@law
@hypothesis.given(x=samples, resp=shares)
def test_dense_matrices_as_oracle(name, x, resp):
    hypothesis.assume(bool(np.all(np.std(x, axis=0) > 1)))
    make = lambda family: gx.GaussianMixture.from_responsibilities(
        x, resp, covariance_type=family, reg_covar=1.0
    )
    mixture, full = make(name), make("full")
    dense = full.covariances.values_numpy
    own = squeezed_values(name, dense, full.weights_numpy)
    assert_close(mixture.covariances.values_numpy, own, 1000 * eps_of(x))
    shape = (N_COMPONENTS, N_FEATURES)
    values = dense_values(name, mixture.covariances.values_numpy, *shape)
    same = gx.GaussianMixture.from_squeezed(
        full.means_numpy, values, full.weights_numpy, "full"
    )
    assert_same_density(mixture.log_prob(x), same.log_prob(x))
