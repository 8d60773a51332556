import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, FAMILIES, make_data, old_faithful


@pytest.fixture(scope="module")
def table():
    solver = gx.EM(tol=1e-7, max_steps=4000)
    x = old_faithful()
    return gx.select(x, range(1, 6), n_restarts=12, key=jr.key(0), solver=solver)


def test_old_faithful(table, dtype):
    best = table.best
    assert (best.covariance_type, best.n_components) == ("tied", 3)
    atol = 2e-3 if dtype == np.float64 else 5e-2
    np.testing.assert_allclose(best.log_likelihood, -1126.3159, atol=atol)
    np.testing.assert_allclose(best.bic, 2314.3, atol=0.15)
    assert "* tied, 3 components" in str(table)


@pytest.mark.parametrize("n_components", range(1, 6))
@every_family
def test_every_cell_is_where_scikit_learn_ends_too(table, name, n_components):
    """Criteria are scikit-learn's, and its EM at the same tolerance finds no more."""
    x = old_faithful()
    cell = table[name, n_components]
    mixture = cell.solution.mixture
    assert mixture.n_components == n_components
    assert cell.n_parameters == mixture.n_parameters
    x = x.astype(mixture.means.dtype)
    # `fit` stops where a change is rounding, four units of it, and float32 has no
    # more to say: there EM on a plateau goes on for as long as it is let.
    rounding = 4 * np.finfo(x.dtype).eps * abs(cell.log_likelihood) / len(x)
    tol = max(1e-7, rounding)
    peer = mixture.to_sklearn(warm_start=True, reg_covar=0.0, tol=tol, max_iter=4000)
    rtol = 1e-6 if x.dtype == np.float64 else 1e-4
    certainty = np.log(peer.predict_proba(x).max(axis=1)).sum()
    np.testing.assert_allclose(cell.bic, peer.bic(x), rtol)
    np.testing.assert_allclose(cell.aic, peer.aic(x), rtol)
    np.testing.assert_allclose(cell.icl, peer.bic(x) - 2 * certainty, rtol)
    peer.fit(x)
    log_likelihood = peer.score(x) * len(x)
    np.testing.assert_allclose(cell.log_likelihood, log_likelihood, rtol)


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
        values = table[name, 1].solution.mixture.covariances.values_dense[0, 0]
        sample = np.cov(x.T, bias=True)
        expected = {
            "full": sample,
            "tied": sample,
            "diag": np.diag(np.diag(sample)),
            "spherical": np.mean(np.diag(sample)).reshape(1, 1),
        }[name]
        np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_the_table_converts(table):
    columns = table.to_dict()
    assert len(columns["bic"]) == 20
    assert set(columns["covariance_type"]) == set(FAMILIES)
    frame = table.to_pandas()
    assert frame.loc[frame.bic.idxmin(), "n_components"] == 3
    assert table.margin > 0
    assert [cell.bic for cell in table.ranking] == sorted(
        cell.bic for cell in table.ranking
    )


def test_bad_arguments():
    x = make_data(20)
    with pytest.raises(ValueError, match="`criterion`"):
        gx.select(x, criterion="ebic", key=jr.key(0))
    with pytest.raises(ValueError, match="`n_components`"):
        gx.select(x, [], key=jr.key(0))
    with pytest.raises(ValueError, match="known are"):
        gx.select(x, [1], covariance_types=["banded"], key=jr.key(0))
    with pytest.raises(KeyError):
        gx.select(x, [1], ["diag"], n_restarts=1, key=jr.key(0))["full", 1]
