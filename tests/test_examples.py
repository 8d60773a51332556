"""The demo, with fewer starts and components."""

import importlib.util
import pathlib
import sys
import unittest.mock

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
    # As for a program: its neighbours can be imported.
    with unittest.mock.patch.object(sys, "path", [str(path.parent), *sys.path]):
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
    return demo.search(x, range(2, 5), n_restarts=12)


def test_every_model_is_there(table):
    models = {(c.covariance_type, c.n_components) for c in table.cells}
    assert models == {(name, k) for name in demo.FAMILIES for k in (2, 3, 4)}
    assert all(0 < c.n_converged <= 12 == c.n_restarts for c in table.cells)
    assert all(c.solution.converged for c in table.cells)


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


def test_the_published_model_wins(table):
    best = table.best
    assert (best.covariance_type, best.n_components) == ("tied", 3)


def test_components_narrower_than_the_clock_do_not_count(x, table):
    """From a component on samples that share one rounded number, and from all."""
    mixture = table["diag", 3].solution.mixture
    options = {"reg_covar": 1e-9, "solver": gx.EM(tol=0.0, max_steps=1)}
    run = lambda start, step: (
        gx.fit(start, x, resolution=step, throw=False, **options).status
    )
    assert run(mixture, demo.CLOCK_STEPS) == "max_steps_reached"
    assert run(mixture, 100.0) == "component_unresolved"
    values = mixture.covariances.values.at[0, 1, 0, 0].set(1e-8)
    spike = eqx.tree_at(lambda m: m.covariances.values, mixture, values)
    spike = eqx.tree_at(
        lambda m: m.means, spike, spike.means.at[0, 1, 0, 0].set(x[0, 0])
    )
    assert run(spike, demo.CLOCK_STEPS) == "component_unresolved"
    assert run(spike, None) == "max_steps_reached"
    with pytest.raises(ValueError, match=r"`resolution` .* 2, .*shape \(3,\)"):
        run(mixture, [1.0, 1.0, 1.0])


def test_it_prints_and_draws(monkeypatch, tmp_path, table, capsys):
    path = tmp_path / "picture.png"
    monkeypatch.setattr("sys.argv", ["old_faithful.py", str(path)])
    monkeypatch.setattr(demo, "search", lambda *args, **kwargs: table)
    demo.main()
    assert "log-likelihood -1126.3159, BIC 2314.29" in capsys.readouterr().out
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    assert 1400 < width < 1700 and height > 600
    # White at the edge, and something drawn on it.
    assert np.all(pixels[0, :, :3] == 1)
    assert 0.05 < np.mean(np.any(pixels[:, :, :3] < 1, axis=-1)) < 0.9
