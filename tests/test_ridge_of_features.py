"""A ridge of its own for every feature."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx.interop.sklearn import GaussianMixture as Estimator

from .helpers import (
    dense_values,
    every_family,
    FAMILIES,
    leaves,
    make_data,
    make_mixture,
)


pytestmark = pytest.mark.x32


X = make_data(60)
RIDGE = [0.5, 0.125]
KEY = jr.key(0)
LABELS = np.arange(60) % 3
CALLS = {
    "fit": lambda name, ridge: gx.fit(
        make_mixture(name), X, reg_covar=ridge, throw=False, solver=gx.EM(max_steps=4)
    ),
    "from_k_means": lambda name, ridge: gx.GaussianMixture.from_k_means(
        X, 3, key=KEY, covariance_type=name, reg_covar=ridge
    ),
    "fit_restarts": lambda name, ridge: gx.fit_restarts(
        X, 2, name, 2, key=KEY, reg_covar=ridge, solver=gx.EM(max_steps=4)
    ),
    "fit_batch": lambda name, ridge: gx.fit_batch(
        [X, X[:40]], 2, name, 2, key=KEY, reg_covar=ridge, solver=gx.EM(max_steps=4)
    ),
    "select": lambda name, ridge: [
        cell.solution
        for cell in gx.select(
            X, [2], [name], 2, key=KEY, reg_covar=ridge, solver=gx.EM(max_steps=4)
        ).cells
    ],
}


def covariances(name, ridge):
    return gx.GaussianMixture.from_labels(
        X, LABELS, covariance_type=name, reg_covar=ridge
    ).covariances


@every_family
@pytest.mark.parametrize("held", [list, tuple, np.array, jnp.array])
def test_added_to_the_diagonal(name, held):
    found = dense_values(name, covariances(name, held(RIDGE)).values_numpy, 3, 2)
    plain = dense_values(name, covariances(name, 0.0).values_numpy, 3, 2)
    added = np.diag(RIDGE)
    if name.endswith("spherical"):
        added = np.mean(RIDGE) * np.eye(2)
    np.testing.assert_allclose(
        found - plain, np.broadcast_to(added, (3, 2, 2)), rtol=1e-4, atol=1e-5
    )


@every_family
def test_a_part_of_each_variance(name):
    own = covariances(name, gx.RelativeRidge(RIDGE)).values_numpy
    expected = covariances(name, RIDGE * np.var(X, axis=0)).values_numpy
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-5)


# The M-step is that of the family; what makes many fits is the same for all families.
ONE_FIT = ("fit", "from_k_means")
PAIRS = [
    (name, function)
    for function in CALLS
    for name in (FAMILIES if function in ONE_FIT else ("full", "tied_spherical"))
]


@pytest.mark.parametrize("name, function", PAIRS)
def test_the_same_for_all_is_one_number(name, function):
    call = CALLS[function]
    one, many = leaves(call(name, 0.25)), leaves(call(name, [0.25, 0.25]))
    for a, b in zip(one, many, strict=True):
        # Another program, which may round otherwise, in each of four steps.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"`reg_covar`.*\b2\b.*\(3,\)"):
        call(name, [0.25] * 3)


def test_traced():
    solver = gx.EM(tol=1e-9)
    start = make_mixture("diag", 2)

    def fitted(a, b):
        return gx.fit(start, X, reg_covar=[a, b], solver=solver, throw=False)

    both = jnp.array(RIDGE)
    jitted = jax.jit(fitted)(*both)
    np.testing.assert_allclose(
        jitted.mixture.means, fitted(*RIDGE).mixture.means, rtol=1e-4
    )
    density = lambda a, b: fitted(a, b).mean_log_likelihood
    slopes = jax.grad(density, (0, 1))(*both)
    assert all(np.isfinite(slope) and slope < 0 for slope in slopes)
    amounts = jax.vmap(lambda r: gx.Ridge(r).resolve(jnp.ones((1, 1, 2, 1))))
    assert amounts(jnp.ones((4, 2))).shape == (4, 1, 1, 2, 1)


def test_estimator():
    fit = lambda ridge: Estimator(2, reg_covar=ridge, random_state=0).fit(X)
    # Two programs.
    np.testing.assert_allclose(fit([0.5, 0.5]).means_, fit(0.5).means_, rtol=1e-12)
    with pytest.raises(ValueError, match=r"`reg_covar`.*\b2\b"):
        fit([0.5] * 3)
