import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import FAMILIES, make_data, old_faithful


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


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("n_components", [1, 3])
def test_cells_are_the_fits_done_one_by_one(table, name, n_components):
    """Continuing each cell's mixture as a fit of its own changes nothing."""
    x = jnp.asarray(old_faithful())
    cell = table[name, n_components]
    mixture = cell.solution.mixture
    assert mixture.n_components == n_components
    assert cell.n_parameters == mixture.n_parameters
    again = gx.fit(mixture, x, solver=gx.EM(tol=1e-7, max_steps=4000), throw=False)
    rtol = 1e-6 if x.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(again.log_likelihood, cell.log_likelihood, rtol)
    for criterion in ("bic", "aic", "icl"):
        expected = getattr(mixture, criterion)(x)
        np.testing.assert_allclose(getattr(cell, criterion), expected, rtol)


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
