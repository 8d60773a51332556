import warnings

import jax.random as jr
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import gmmx_eqx as gx

from .helpers import (
    dense_values,
    every_sklearn_family,
    FAMILIES,
    make_data,
    old_faithful,
    squeezed_values,
)


@pytest.fixture(scope="module")
def table():
    solver = gx.EM(tol=1e-7, max_steps=4000)
    x = old_faithful()
    # Other starts find components of few samples, which shrink on without a ridge.
    options = {"solver": solver, "initialiser": gx.KMeans()}
    return gx.select(x, range(1, 6), n_restarts=12, key=jr.key(0), **options)


def test_old_faithful(table, dtype):
    best = table.best
    assert (best.covariance_type, best.n_components) == ("tied", 3)
    atol = 2e-3 if dtype == np.float64 else 5e-2
    np.testing.assert_allclose(best.log_likelihood, -1126.3159, atol=atol)
    np.testing.assert_allclose(best.bic, 2314.3, atol=0.15)
    assert "* tied, 3 components" in str(table)


@pytest.mark.parametrize("n_components", range(1, 6))
@every_sklearn_family
def test_every_cell_is_where_scikit_learn_ends_too(table, name, n_components):
    """Criteria are scikit-learn's, and its EM finds nothing more. In float32, where
    `fit` stops once a step gains no more than rounding, its next step does not."""
    x = old_faithful()
    cell = table[name, n_components]
    mixture = cell.solution.mixture
    assert mixture.n_components == n_components
    assert cell.n_parameters == mixture.n_parameters
    is_double = mixture.means.dtype == np.float64
    max_steps = 4000 if is_double else 1
    rtol = 1e-6 if is_double else 10 * np.finfo(np.float32).eps
    peer = mixture.to_sklearn(
        warm_start=True, reg_covar=0.0, tol=1e-7, max_iter=max_steps
    )
    # In float32 its own densities of diagonal families are off by 6e-6.
    for attribute in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(peer, attribute, getattr(peer, attribute).astype(np.float64))
    certainty = np.log(peer.predict_proba(x).max(axis=1)).sum()
    np.testing.assert_allclose(cell.bic, peer.bic(x), rtol)
    np.testing.assert_allclose(cell.aic, peer.aic(x), rtol)
    np.testing.assert_allclose(cell.icl, peer.bic(x) - 2 * certainty, 10 * rtol)
    begin = peer.score(x) * len(x)
    np.testing.assert_allclose(cell.log_likelihood, begin, rtol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(x)
    # In float32 `fit` stops at four units of rounding, and each of the two values that
    # it compares has an error of up to four of its own.
    largest = 1e-6 if is_double else 12 * np.finfo(np.float32).eps
    assert peer.score(x) * len(x) - begin <= largest * abs(begin)


def test_cells_are_the_best_of_separate_restarts(table):
    x = old_faithful()
    solver = gx.EM(tol=1e-7, max_steps=4000)
    for name in FAMILIES:
        separate = gx.fit_restarts(x, 2, name, 12, key=jr.key(5), solver=solver)
        np.testing.assert_allclose(
            table[name, 2].log_likelihood, separate.best.log_likelihood, rtol=1e-4
        )


def test_one_component_is_the_single_gaussian(table):
    x = old_faithful()
    for name in FAMILIES:
        values = table[name, 1].solution.mixture.covariances.dense(2)[0, 0]
        sample = squeezed_values(name, np.cov(x.T, bias=True)[None])
        expected = dense_values(name, sample, 1, 2)[0]
        np.testing.assert_allclose(values, expected, rtol=1e-4)


@pytest.mark.x32
def test_the_table_converts(table):
    columns = table.to_dict()
    assert len(columns["bic"]) == 5 * len(FAMILIES)
    assert set(columns["covariance_type"]) == set(FAMILIES)
    frame = table.to_pandas()
    assert frame.loc[frame.bic.idxmin(), "n_components"] == 3
    assert table.margin > 0
    assert [cell.bic for cell in table.ranking] == sorted(
        cell.bic for cell in table.ranking
    )


@pytest.mark.x32
def test_bad_arguments():
    x = make_data(20)
    with pytest.raises(ValueError, match="`criterion`"):
        gx.select(x, criterion="ebic", key=jr.key(0))
    with pytest.raises(ValueError, match="`n_components`"):
        gx.select(x, [], key=jr.key(0))
    with pytest.raises(ValueError, match="`covariance_types` must be one of"):
        gx.select(x, [1], covariance_types=["banded"], key=jr.key(0))
    with pytest.raises(KeyError):
        gx.select(x, [1], ["diag"], n_restarts=1, key=jr.key(0))["full", 1]
