import dataclasses
import warnings

import jax.random as jr
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import gmmx_eqx as gx
from gmmx_eqx import COVARIANCE

from .helpers import (
    counted,
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
    # Packed features may put a log-density off by up to eps to the power 0.6, 7e-5, and
    # most of 272 by much less.
    rtol = 1e-6 if is_double else 20 * np.finfo(np.float32).eps
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
def test_the_wide_form(table):
    """What is printed, and NaN where nothing is."""
    frame = table.to_pandas(wide=True)
    assert list(frame.columns) == list(
        dict.fromkeys(table.to_dict()["covariance_type"])
    )
    assert list(frame.index) == [1, 2, 3, 4, 5]
    assert frame.index.name == "n_components"
    for cell in table.cells:
        assert frame.loc[cell.n_components, cell.covariance_type] == cell.bic
    first, *rest = table.cells
    failed = dataclasses.replace(first, status="nonfinite")
    frame = gx.Selection((failed, *rest), "bic").to_pandas(wide=True)
    assert np.argwhere(np.isnan(frame.to_numpy())).tolist() == [[0, 0]]
    other = table.by("icl", larger_is_better=True).to_pandas(wide=True)
    assert other.loc[3, "tied"] == -table["tied", 3].icl


@pytest.mark.x32
def test_another_criterion(table):
    """Nothing is fitted again."""
    with counted() as compiled:
        other = table.by("icl")
        text = str(other)
    assert not compiled
    assert other.best.icl == min(cell.icl for cell in table.cells)
    assert "by ICL (lower is better)" in text and text.startswith("ICL")
    assert other.by("bic").ranking == table.ranking == table.by().ranking
    with pytest.raises(ValueError, match="`criterion`"):
        table.by("ebic")


@pytest.mark.x32
def test_the_sign_of_mclust(table):
    """The same cell wins, by as much, and only what is shown changes."""
    mirrored = table.by(larger_is_better=True)
    assert mirrored.best is table.best and mirrored.margin == table.margin
    *_, title, first, second, _ = str(mirrored).splitlines()
    assert title == "Best three by BIC (larger is better):"
    assert first.endswith(f"{-table.best.bic:.2f}")
    assert second.endswith(f"{-table.margin:.2f}")
    assert f"{-table.best.bic:.2f}*" in str(mirrored)
    assert mirrored.to_dict() == table.to_dict()


# Of Old Faithful with three full components, by R's mclust 6.0.0, run until its
# log-likelihood changed by less than 1e-13 of its value: `bic` and `icl`.
MCLUST = {"bic": -2349.4419699337, "icl": -2378.5899844331}


@pytest.mark.x64
def test_criteria_are_those_of_mclust():
    """Of its parameters to all digits that it printed. Those of a cell are a step of EM
    further, which changes ICL, of which they are no maximum, by 6e-9 of its value."""
    means = [
        [4.1153845706859107, 87.2450911821007793],
        [2.0363124990358608, 54.4776201805624751],
        [4.3176297565989445, 78.7956262693946172],
    ]
    elements = [
        [0.18695504652070696, 1.3515469834826142, 17.0334856714563045],
        [0.069112041829162515, 0.4345610713062506, 33.6929380209213249],
        [0.16168188084264129, 1.1127397288469281, 29.2202748401759571],
    ]
    covariances = [[[a, b], [b, c]] for a, b, c in elements]
    weights = [0.089322489192222645, 0.355838988303583181, 0.554838522504193743]
    start = gx.GaussianMixture.from_squeezed(means, covariances, weights)
    x = old_faithful()
    solver = gx.EM(tol=0.0, max_steps=1)
    solution = gx.fit(start, x, reg_covar=0.0, solver=solver, throw=False)
    icl = float(solution.mixture.icl(x))
    cell = gx.Cell.create("VVV", solution, float(len(x)), icl, 1, 1)
    shown = gx.Selection((cell,), "bic")
    for criterion, expected in MCLUST.items():
        ours = getattr(start, criterion)(x)
        np.testing.assert_allclose(-ours, expected, rtol=1e-12)
        frame = shown.by(criterion, larger_is_better=True).to_pandas(wide=True)
        np.testing.assert_allclose(frame.loc[3, "VVV"], expected, rtol=2e-8)


@pytest.mark.x32
def test_names(monkeypatch):
    """The table shows the name that was given; others find the cell as well."""
    monkeypatch.setitem(COVARIANCE, "VVI", gx.DiagCovariances)
    x = make_data(60)
    table = gx.select(x, [1, 2], ["VVI", "tied"], n_restarts=1, key=jr.key(0))
    assert str(table).splitlines()[0].split() == ["BIC", "VVI", "tied"]
    cell = table["VVI", 2]
    assert cell.covariance_type == "VVI" and cell is table["diag", 2]
    assert table[gx.CovarianceType.diag, 2] is cell
    assert list(table.to_pandas(wide=True).columns) == ["VVI", "tied"]
    for index in (("full", 2), ("VVI", 3), ("banded", 1)):
        with pytest.raises(KeyError):
            table[index]
    # Both, if both were given.
    table = gx.select(x, [1], ["diag", "VVI"], n_restarts=1, key=jr.key(0))
    assert [table[name, 1].covariance_type for name in ("diag", "VVI")] == [
        *("diag", "VVI")
    ]


# For five samples with three features: the largest number of components of which
# there are no more parameters than the 15 numbers, and which the residuals determine.
LARGEST = {
    "full": 1,
    "tied": 2,
    "diag": 2,
    "spherical": 3,
    "tied_diag": 3,
    "tied_spherical": 3,
}


@pytest.mark.x32
@pytest.mark.parametrize("weighted", [False, True])
def test_more_parameters_than_the_data_can_carry(weighted):
    """Such cells are not fitted, and have a status and no number. Samples of weight
    zero do not count, and samples of a large weight do once."""
    x = make_data(7)[:, [0, 1, 1]] + np.random.default_rng(0).normal(size=(7, 3))
    x, weight = (x, np.array([1.0, 0, 3, 1, 2, 0, 1])) if weighted else (x[:5], None)
    options = {"n_restarts": 2, "key": jr.key(0), "sample_weight": weight}
    table = gx.select(x, range(1, 6), list(LARGEST), **options)
    for cell in table.cells:
        if cell.n_components <= LARGEST[cell.covariance_type]:
            assert cell.status != "too_many_parameters" and np.isfinite(cell.bic)
            mixture = cell.solution.mixture
            assert cell.n_parameters == mixture.n_parameters
            continue
        assert (cell.status, cell.is_valid) == ("too_many_parameters", False)
        assert cell.n_restarts == 0 and cell not in table.ranking
        assert cell.bic == cell.aic == cell.icl == -cell.log_likelihood == np.inf
        created = gx.GaussianMixture.create(cell.n_components, 3, cell.covariance_type)
        assert cell.n_parameters == created.n_parameters
        with pytest.raises(ValueError, match="was not fitted: .* parameters"):
            _ = cell.solution
    n_missing = 5 * len(LARGEST) - sum(LARGEST.values())
    assert f"- no valid mixture: {n_missing} too_many_parameters" in str(table)
    assert "nan" not in str(table) and "inf" not in str(table)
    frame = table.to_pandas(wide=True).to_numpy()
    assert np.sum(np.isnan(frame)) == n_missing and not np.isinf(frame).any()


@pytest.mark.x32
def test_matrices_that_the_samples_cannot_determine():
    """A matrix takes as many residuals as there are features, and each mean one more
    sample, however many numbers there are."""
    x = np.random.default_rng(0).normal(size=(9, 8))
    families = ["full", "tied", "diag"]
    table = gx.select(x, [1, 2], families, n_restarts=1, key=jr.key(0))
    carried = {
        (cell.covariance_type, cell.n_components)
        for cell in table.cells
        if cell.status != "too_many_parameters"
    }
    assert carried == {("full", 1), ("tied", 1), ("diag", 1), ("diag", 2)}
    nothing = gx.select(x[:8], [1], ["full"], n_restarts=1, key=jr.key(0))
    assert nothing.ranking == ()
    for name in ("best", "margin"):
        with pytest.raises(ValueError, match="No fit ended with a valid mixture"):
            getattr(nothing, name)
    # A mixture of one's own is fitted all the same, with a ridge.
    start = gx.GaussianMixture.create(1, 8)
    assert gx.fit(start, x[:8], reg_covar=0.1).converged


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
