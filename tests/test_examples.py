"""The demo, with fewer starts and components."""

import importlib.util
import pathlib

import equinox as eqx
import matplotlib.image
import numpy as np
import pytest

import gmmx_eqx as gx


def load(name):
    """A script as a module, without running its `main`."""
    path = pathlib.Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The demo switches float64 on.
pytestmark = pytest.mark.x64

demo = load("old_faithful")


@pytest.fixture(scope="module")
def x():
    return demo.load()


@pytest.fixture(scope="module")
def table(x):
    return demo.search(x, [2, 3, 4], n_starts=12)


def test_every_model_is_there(table):
    models = {(c.covariance_type, c.n_components) for c in table.cells}
    assert models == {(name, k) for name in gx.CovarianceType for k in (2, 3, 4)}
    assert all(0 < c.n_converged <= 12 == c.n_restarts for c in table.cells)
    assert all(c.solution.converged for c in table.cells)


def test_the_published_model_wins(table):
    assert demo.name(table.best) == "tied, 3 components"


@pytest.mark.parametrize(
    "family, n_components, log_likelihood, bic",
    # mclust's EEE,3 and VVV,2.
    [("tied", 3, -1126.3159, 2314.2957), ("full", 2, -1130.264, 2322.192)],
)
def test_published_figures(x, table, family, n_components, log_likelihood, bic):
    cell = table[family, n_components]
    atol = 1e-3 if family == "full" else 6e-5  # one and a half units of the last digit
    np.testing.assert_allclose(cell.log_likelihood, log_likelihood, rtol=0, atol=atol)
    np.testing.assert_allclose(cell.bic, bic, rtol=0, atol=2 * atol)
    np.testing.assert_allclose(cell.solution.mixture.bic(x), bic, 0, 2 * atol)


def test_criteria_are_those_of_the_mixture(x, table):
    # A sum of 272 rounded terms.
    rtol = 300 * float(np.finfo(x.dtype).eps)
    for cell in table.ranking[:2]:
        np.testing.assert_allclose(cell.solution.mixture.bic(x), cell.bic, rtol)
        np.testing.assert_allclose(cell.solution.mixture.icl(x), cell.icl, rtol)


def test_components_narrower_than_the_clock_do_not_count(table):
    mixture = table["diag", 3].solution.mixture
    assert demo.is_resolved(mixture)
    for feature, narrow in ((0, 1e-3), (1, 0.1)):
        values = mixture.covariances.values.at[0, 1, feature, 0].set(narrow**2)
        spike = eqx.tree_at(lambda m: m.covariances.values, mixture, values)
        assert not demo.is_resolved(spike)


def test_report(table):
    assert demo.report(table).startswith("Best: tied, 3 components. Next: ")


@pytest.mark.parametrize("family", gx.CovarianceType)
def test_parameters_are_in_order(table, family):
    mixture = table[family, 3].solution.mixture
    weights, means, covariances = demo.parameters(mixture)
    order = np.argsort(mixture.means_numpy[:, 0])
    assert np.all(np.diff(means[:, 0]) > 0)
    np.testing.assert_array_equal(weights, mixture.weights_numpy[order])
    assert covariances.shape == (3, 2, 2)
    variances = np.broadcast_to(mixture.covariances.variances, (1, 3, 2, 1))
    diagonals = np.diagonal(covariances, axis1=1, axis2=2)
    np.testing.assert_array_equal(diagonals, variances[0, order, :, 0])


def test_picture(x, table, tmp_path):
    path = tmp_path / "picture.png"
    demo.draw(x, table, path)
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    assert 1500 < width < 1700 and height > 600
    # White at the edge, and something drawn on it.
    assert np.all(pixels[0, :, :3] == 1)
    assert 0.05 < np.mean(np.any(pixels[:, :, :3] < 1, axis=-1)) < 0.9
