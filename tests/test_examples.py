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
def candidates(x):
    return demo.search(x, [2, 3, 4], n_starts=12)


def of(candidates, family, n_components):
    (found,) = [c for c in candidates if c[:2] == (family, n_components)]
    return found


def test_every_model_is_there(candidates):
    models = {(c.family, c.n_components) for c in candidates}
    assert models == {(name, k) for name in gx.CovarianceType for k in (2, 3, 4)}
    assert all(0 < c.n_counted <= 12 for c in candidates)
    assert all(c.solution.converged for c in candidates)
    bics = [c.bic for c in candidates]
    assert bics == sorted(bics)


def test_the_published_model_wins(candidates):
    assert candidates[0][:2] == ("tied", 3)
    assert str(candidates[0]) == "tied, 3 components"


@pytest.mark.parametrize(
    "family, n_components, log_likelihood, bic",
    # mclust's EEE,3 and VVV,2.
    [("tied", 3, -1126.3159, 2314.2957), ("full", 2, -1130.264, 2322.192)],
)
def test_published_figures(x, candidates, family, n_components, log_likelihood, bic):
    candidate = of(candidates, family, n_components)
    atol = 1e-3 if family == "full" else 6e-5  # one and a half units of the last digit
    total = candidate.solution.log_likelihood
    np.testing.assert_allclose(total, log_likelihood, rtol=0, atol=atol)
    np.testing.assert_allclose(candidate.bic, bic, rtol=0, atol=2 * atol)
    np.testing.assert_allclose(candidate.solution.mixture.bic(x), bic, 0, 2 * atol)


def test_bic_is_that_of_the_mixture(x, candidates):
    # A sum of 272 rounded terms.
    rtol = 300 * float(np.finfo(x.dtype).eps)
    for candidate in candidates[:2]:
        bic = candidate.solution.mixture.bic(x)
        np.testing.assert_allclose(bic, candidate.bic, rtol)


def test_components_narrower_than_the_clock_do_not_count(candidates):
    mixture = of(candidates, "diag", 3).solution.mixture
    assert demo.is_resolved(mixture)
    for feature, narrow in ((0, 1e-3), (1, 0.1)):
        values = mixture.covariances.values.at[0, 1, feature, 0].set(narrow**2)
        spike = eqx.tree_at(lambda m: m.covariances.values, mixture, values)
        assert not demo.is_resolved(spike)


def test_table_and_report(candidates):
    head, *rows = demo.table(candidates).splitlines()
    assert head.split() == ["K", "full", "tied", "diag", "spherical"]
    assert [row.split()[0] for row in rows] == ["2", "3", "4"]
    assert len({len(row) for row in rows}) == 1
    (marked,) = [word for row in rows for word in row.split() if "*" in word]
    assert marked == f"{candidates[0].bic:.2f}*"
    assert demo.report(candidates).startswith("Best: tied, 3 components. Next: ")


@pytest.mark.parametrize("family", gx.CovarianceType)
def test_parameters_are_in_order(candidates, family):
    mixture = of(candidates, family, 3).solution.mixture
    order, weights, means, covariances = demo.parameters(mixture)
    assert sorted(order) == [0, 1, 2]
    assert np.all(np.diff(means[:, 0]) > 0)
    np.testing.assert_array_equal(weights, mixture.weights_numpy[order])
    assert covariances.shape == (3, 2, 2)
    variances = np.broadcast_to(mixture.covariances.variances, (1, 3, 2, 1))
    diagonals = np.diagonal(covariances, axis1=1, axis2=2)
    np.testing.assert_array_equal(diagonals, variances[0, order, :, 0])


def test_picture(x, candidates, tmp_path):
    path = tmp_path / "picture.png"
    demo.draw(x, candidates, path)
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    assert 1500 < width < 1700 and height > 600
    # White at the edge, and something drawn on it.
    assert np.all(pixels[0, :, :3] == 1)
    assert 0.05 < np.mean(np.any(pixels[:, :, :3] < 1, axis=-1)) < 0.9
