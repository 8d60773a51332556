"""What is drawn, not how it looks."""

import dataclasses
import warnings

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

import gmmx_eqx as gx
from gmmx_eqx import plotting

from .helpers import (
    dense_values,
    every_family,
    make_data,
    make_mixture,
    make_values,
    old_faithful,
    squeezed_values,
)


matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  # after the backend is chosen


# What is drawn does not depend on the type.
x32 = pytest.mark.x32


@pytest.fixture(autouse=True)
def no_figure_is_left():
    before = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def new_axes():
    return Figure().subplots()


def drawn(ax, kind):
    return [child for child in ax.get_children() if isinstance(child, kind)]


def dense(name, n_components, n_features):
    values = make_values(name, n_components, n_features)
    return dense_values(name, values, n_components, n_features)


def radii(patch, mean, covariance):
    """The Mahalanobis distance of points of a patch as it is drawn, in every
    direction."""
    path = patch.get_path()
    curves = [curve for curve, code in path.iter_bezier() if code == path.CURVE4]
    points = [curve(t) for curve in curves for t in np.linspace(0, 1, 5)]
    assert len(points) == 40
    points = patch.get_patch_transform().transform(np.array(points))
    # In units of the features, so that theirs do not matter.
    scale = np.sqrt(np.diagonal(covariance))
    residuals = (points - mean) / scale
    precision = np.linalg.inv(covariance / np.outer(scale, scale))
    return np.sqrt(np.einsum("ni,ij,nj->n", residuals, precision, residuals))


@pytest.mark.x64
@every_family
def test_ellipses_have_the_radii_that_they_say(name):
    """1 and 2 standard deviations in every direction, whatever the units."""
    rng = np.random.default_rng(0)
    for scales in ([1.0, 1.0], [1e-9, 1e9], [1e9, 1e-9], [1e-3, 1e-3]):
        if name.endswith("spherical") and scales[0] != scales[1]:
            continue
        for correlation in (0.0, 0.5, -0.99):
            corr = np.array([[1, correlation], [correlation, 1]])
            outer = np.outer(scales, scales) * corr
            values = squeezed_values(name, np.stack([outer, 4 * outer]))
            means = rng.normal(size=(2, 2)) * scales
            mixture = gx.GaussianMixture.from_squeezed(means, values, [0.5, 0.5], name)
            ax = plotting.plot_mixture(mixture, ax=new_axes())
            every = drawn(ax, Ellipse)
            matrices = dense_values(name, values, 2, 2)
            for ellipse, (k, sigma) in zip(
                every, [(0, 1), (0, 2), (1, 1), (1, 2)], strict=True
            ):
                got = radii(ellipse, means[k], matrices[k])
                # Circles are drawn as eight cubic curves, to within 1e-5.
                np.testing.assert_allclose(got, sigma, rtol=1e-4)


@pytest.mark.x32
@every_family
def test_one_feature(name):
    mixture, x = make_mixture(name, 3, 1), make_data(150, 1)
    ax = plotting.plot_mixture(mixture, x, sample_weight=np.ones(150), names=["size"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("size", "density")
    *shares, total = ax.get_lines()
    deviations = np.sqrt(dense(name, 3, 1)[:, 0, 0])
    grid = total.get_xdata()
    assert grid.min() < x.min() and grid.max() > x.max()
    expected = mixture.weights_numpy * scipy.stats.norm.pdf(
        grid[:, None], mixture.means_numpy[:, 0], deviations
    )
    rtol = 1e-4
    for k, share in enumerate(shares):
        np.testing.assert_allclose(share.get_ydata(), expected[:, k], rtol, 1e-9)
    np.testing.assert_allclose(total.get_ydata(), expected.sum(axis=1), rtol, 1e-9)
    # The bars are a density, too.
    area = sum(bar.get_width() * bar.get_height() for bar in ax.patches)
    np.testing.assert_allclose(area, 1, rtol=1e-6)
    assert [t.get_text() for t in ax.texts] == [
        f"{w:.0%}" for w in mixture.weights_numpy
    ]


@x32
@every_family
def test_two_features(name):
    mixture, x = make_mixture(name), make_data()
    ax = plotting.plot_mixture(mixture, x, ax=(given := new_axes()))
    assert ax is given
    for (k, sigmas), ellipse in zip(
        [(k, s) for k in range(3) for s in (1, 2)], drawn(ax, Ellipse), strict=True
    ):
        covariance = dense(name, 3, 2)[k]
        np.testing.assert_allclose(ellipse.center, mixture.means_numpy[k], rtol=1e-6)
        root = np.sqrt(np.linalg.eigvalsh(covariance))
        lengths = sorted([ellipse.width, ellipse.height])
        np.testing.assert_allclose(lengths, 2 * sigmas * root, rtol=1e-4)
        # On the ellipse the Mahalanobis distance is `sigmas`.
        path = ellipse.get_patch_transform().transform(
            ellipse.get_path().vertices[:25:3]
        )
        offset = path - mixture.means_numpy[k]
        distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)
        np.testing.assert_allclose(np.sqrt(distance), sigmas, rtol=1e-3)
    (dots,) = drawn(ax, PathCollection)
    np.testing.assert_allclose(dots.get_offsets(), x, rtol=1e-6)
    ends = np.array([ax.get_xlim(), ax.get_ylim()])
    assert np.all(ends[:, 0] < x.min(axis=0)) and np.all(ends[:, 1] > x.max(axis=0))
    resp = np.asarray(mixture.predict_proba(x))
    sure = np.max(resp, axis=1) > 0.9999
    palette = [to_rgb(plotting.palette.COLOURS[k]) for k in range(3)]
    expected = np.array(palette)[np.argmax(resp, axis=1)]
    assert sure.sum() > 50
    colours = dots.get_facecolors()[sure, :3]
    np.testing.assert_allclose(colours, expected[sure], atol=1e-3)


@x32
def test_contours_hold_what_they_say():
    """Of one Gaussian, what is within a contour is known."""
    mixture = make_mixture("full", 1)
    ax = plotting.plot_mixture(mixture, ax=new_axes(), sigmas=())
    assert not drawn(ax, Ellipse)
    covariance = dense("full", 1, 2)[0]
    fill, lines = drawn(ax, QuadContourSet)
    at_mode = -np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(covariance)[1]
    held = scipy.stats.chi2.cdf(2 * (at_mode - lines.levels), df=2)
    # Four standard errors of a share among 4000 samples.
    shares = np.array([0.99, 0.95, 0.8, 0.6, 0.4, 0.2])
    tolerance = 4 * np.sqrt(shares * (1 - shares) / 4000)
    assert np.all(np.abs(held - shares) < tolerance)
    density = scipy.stats.multivariate_normal(mixture.means_numpy[0], covariance)
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        # The contour is interpolated between points of a grid.
        values = density.logpdf(path.vertices)
        np.testing.assert_allclose(values, level, rtol=0, atol=0.02)


@x32
@every_family
def test_pairs(name):
    mixture, x = make_mixture(name, 3, 3), make_data(80, 3)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    figure = Figure()
    panels = plotting.plot_pairs(mixture, frame, features=[2, 0], ax=figure)
    assert panels.shape == (2, 2) and set(panels.flat) == set(figure.axes)
    assert [panel.get_visible() for panel in panels.flat] == [True, False, True, True]
    assert (panels[1, 0].get_xlabel(), panels[1, 0].get_ylabel()) == ("c", "a")
    own = np.ix_([2, 0], [2, 0])
    ellipses = drawn(panels[1, 0], Ellipse)
    for k in range(3):
        expected = 2 * np.sqrt(np.linalg.eigvalsh(dense(name, 3, 3)[k][own]))
        first = ellipses[2 * k]
        lengths = sorted([first.width, first.height])
        np.testing.assert_allclose(lengths, expected, rtol=1e-4)
        np.testing.assert_allclose(first.center, mixture.means_numpy[k, [2, 0]], 1e-6)
    (dots,) = drawn(panels[1, 0], PathCollection)
    np.testing.assert_allclose(dots.get_offsets(), x[:, [2, 0]], rtol=1e-6)
    # Of the whole mixture, not of the pair.
    resp = np.asarray(mixture.predict_proba(x))
    expected = plotting.palette.blend(resp)
    np.testing.assert_allclose(dots.get_facecolors()[:, :3], expected, atol=1e-6)
    total = panels[0, 0].get_lines()[-1]
    density = np.exp(gx.marginal(mixture, 2).log_prob(total.get_xdata()[:, None]))
    np.testing.assert_allclose(total.get_ydata(), density, rtol=1e-4, atol=1e-9)
    assert panels[0, 0].get_xlim() == panels[1, 0].get_xlim()


@x32
def test_figures_are_made_only_where_asked_for():
    mixture, x = make_mixture("diag"), make_data()
    drawings = {
        "mixture": lambda ax: plotting.plot_mixture(mixture, x, ax=ax),
        "responsibilities": lambda ax: plotting.plot_responsibilities(
            mixture, x, ax=ax
        ),
        "uncertainty": lambda ax: plotting.plot_uncertainty(mixture, x, ax=ax),
    }
    for draw in drawings.values():
        given = new_axes()
        assert draw(given) is given
        assert plt.get_fignums() == []
        made = draw(None)
        assert plt.get_fignums() == [made.figure.number]
        assert made is not given
        plt.close("all")
    array = Figure().subplots(2, 2)
    assert plotting.plot_pairs(mixture, x, ax=array) is array
    assert plt.get_fignums() == []
    assert plotting.plot_pairs(mixture, x).shape == (2, 2)
    assert len(plt.get_fignums()) == 1


@x32
def test_weights_of_samples():
    mixture, x = make_mixture("full"), make_data(60)
    weight = np.arange(60.0)
    missing = x.copy()
    missing[0] = np.nan  # of weight zero, so it is not there
    ax = plotting.plot_mixture(
        mixture, missing, sample_weight=weight, ax=new_axes(), names=["a", "b"]
    )
    (dots,) = drawn(ax, PathCollection)
    np.testing.assert_allclose(dots.get_offsets(), x[1:], rtol=1e-6)
    sizes = dots.get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], weight[1:], rtol=1e-5)
    ax = plotting.plot_responsibilities(mixture, x, sample_weight=weight, ax=new_axes())
    np.testing.assert_allclose(ax.get_xlim(), (0, weight.sum()))


@x32
def test_many_components_and_narrow_ones():
    mixture = make_mixture("spherical", 30, 2)
    values = mixture.covariances.values.at[0, 0].set(1e-10).at[0, 1].set(1e-4)
    mixture = eqx.tree_at(lambda m: m.covariances.values, mixture, values)
    weights = mixture.weights.at[0, 2].set(0)
    mixture = eqx.tree_at(lambda m: m.weights, mixture, weights / jnp.sum(weights))
    ax = plotting.plot_mixture(mixture, ax=new_axes())
    assert len(drawn(ax, Ellipse)) == 2 * 29  # none for a weight of zero
    looks = {(e.get_edgecolor(), e.get_linestyle()) for e in drawn(ax, Ellipse)}
    assert len(looks) >= 20
    assert not ax.texts
    # However narrow, a component is seen: of one feature its peak is as high as it is.
    ax = plotting.plot_mixture(gx.marginal(mixture, 0), ax=new_axes())
    peak = np.max(ax.get_lines()[0].get_ydata())
    expected = mixture.weights_numpy[0] / np.sqrt(2 * np.pi * 1e-10)
    np.testing.assert_allclose(peak, expected, rtol=0.2)
    x = make_data(50)
    for draw in (plotting.plot_responsibilities, plotting.plot_uncertainty):
        draw(mixture, x, ax=new_axes())


@pytest.mark.x64
def test_types_of_arrays():
    x = make_data(40)
    mixture = make_mixture("tied", dtype=jnp.float32)
    for data in (x, x.astype(np.float32), jnp.asarray(x), x.tolist()):
        ax = plotting.plot_mixture(mixture, data, ax=new_axes())
        np.testing.assert_allclose(drawn(ax, PathCollection)[0].get_offsets(), x, 1e-6)
    ends = ax.get_xlim()
    far = eqx.tree_at(lambda m: m.means, mixture, mixture.means + 100)
    plotting.plot_mixture(far, ax=ax)  # does not hide what was there
    assert ax.get_xlim()[0] == ends[0] and ax.get_xlim()[1] > 100


@x32
def test_responsibilities_fill_the_height():
    mixture, x = make_mixture("full"), make_data()
    ax = plotting.plot_responsibilities(mixture, x, ax=new_axes())
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 200), (0, 1))
    tops = []
    for band in ax.collections:
        vertices = band.get_paths()[0].vertices
        assert vertices.min() >= 0 and vertices.max() <= 200
        tops.append(vertices[:, 1].max())
    np.testing.assert_allclose(tops[-1], 1, atol=1e-5)
    resp = np.asarray(mixture.predict_proba(x))
    area = _area(ax.collections[0].get_paths()[0].vertices)
    np.testing.assert_allclose(area, resp[:, 0].sum(), rtol=1e-4)
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels == [str(k) for k in np.unique(np.argmax(resp, axis=1))]


def _area(polygon):
    x, y = polygon.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


@x32
def test_uncertainty():
    mixture, x = make_mixture("full", 3, 3), make_data(70, 3)
    expected = np.sort(1 - np.max(mixture.predict_proba(x), axis=1))
    ax = plotting.plot_uncertainty(mixture, x, features=[0, 2], ax=new_axes())
    (dots,) = drawn(ax, PathCollection)
    np.testing.assert_allclose(dots.get_array(), expected, atol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x0", "x2")
    ax = plotting.plot_uncertainty(mixture, x, features=1, ax=new_axes())
    (dots,) = drawn(ax, PathCollection)
    np.testing.assert_allclose(dots.get_offsets()[:, 1], expected, atol=1e-6)


@pytest.fixture(scope="module")
def population():
    solver = gx.EM(tol=1e-4, max_steps=40)
    return gx.fit_restarts(
        old_faithful(), 4, "diag", 12, key=jr.key(0), solver=solver, width=12
    )


@pytest.mark.x32
def test_convergence(population):
    best = population.best
    n_steps = int(best.n_steps)
    history = np.asarray(best.log_likelihoods)[: n_steps + 1]
    ax = plotting.plot_convergence(best, ax=new_axes())
    line, end = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), np.arange(n_steps + 1))
    np.testing.assert_allclose(line.get_ydata(), history)
    assert end.get_marker() == ("o" if best.converged else "x")
    ax = plotting.plot_convergence(best, changes=True, ax=new_axes())
    assert ax.get_yscale() == "log"
    values = ax.get_lines()[0].get_ydata()
    np.testing.assert_allclose(np.nan_to_num(values), np.abs(np.diff(history)))
    ax = plotting.plot_convergence(population.solutions, ax=new_axes())
    assert len(ax.get_lines()) == 2 * len(population)
    # The best is on top.
    np.testing.assert_allclose(ax.get_lines()[-2].get_ydata(), history)


@x32
def test_optima(population):
    ax = plotting.plot_optima(population, ax=new_axes())
    optima = population.optima()
    others, best = ax.get_lines()
    assert best.get_xydata().tolist() == [
        [float(optima[0].solution.log_likelihood), optima[0].count]
    ]
    assert others.get_ydata().tolist() == [o.count for o in optima[1:]]
    assert {text.get_text() for text in ax.texts} == {str(o.count) for o in optima}


@pytest.fixture(scope="module")
def table(population):
    """As `select` makes it, of numbers made up here."""
    common = {"n_parameters": 1, "log_likelihood": 0.0, "n_steps": 1}
    common |= {"n_converged": 1, "n_restarts": 1, "_solution": population.best}
    bics = {"full": (30.0, 12.0, 40.0), "tied": (35.0, 10.0, 2000.0)}
    return gx.Selection(
        tuple(
            gx.Cell(
                covariance_type=family,
                n_components=k,
                bic=bic,
                aic=bic - 3 * k,
                icl=bic + k,
                status="successful",
                **common,
            )
            for family, values in bics.items()
            for k, bic in enumerate(values, start=1)
        ),
        "bic",
    )


@x32
def test_selection(table):
    ax = plotting.plot_selection(table, ax=new_axes())
    *lines, ring = ax.get_lines()
    for line in lines:
        cells = [table[line.get_label(), int(k)] for k in line.get_xdata()]
        expected = [cell.bic - table.best.bic for cell in cells]
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert ring.get_xydata().tolist() == [[table.best.n_components, 0]]
    ax = plotting.plot_selection(table, criterion="aic", ax=new_axes())
    lowest = min(cell.aic for cell in table.cells)
    assert f"{lowest:.1f}" in ax.get_ylabel() and "AIC" in ax.get_ylabel()
    # A fit that failed is not there.
    first, *rest = table.cells
    failed = dataclasses.replace(first, status="nonfinite")
    ax = plotting.plot_selection(gx.Selection((failed, *rest), "bic"), ax=new_axes())
    assert sum(len(line.get_xdata()) for line in ax.get_lines()) == len(rest) + 1


@x32
def test_bad_input(population, table):
    mixture, x = make_mixture("full"), make_data()
    ensemble = gx.stack([mixture, mixture])
    for draw in (
        plotting.plot_mixture,
        plotting.plot_pairs,
        plotting.plot_responsibilities,
        plotting.plot_uncertainty,
    ):
        with pytest.raises(ValueError, match="ensemble"):
            draw(ensemble, x)
        with pytest.raises(ValueError, match="has 3 features, but the mixture has 2"):
            draw(mixture, make_data(20, 3))
        broken = eqx.tree_at(lambda m: m.means, mixture, mixture.means * jnp.nan)
        with pytest.raises(ValueError, match="holds NaN"):
            draw(broken, x)
    with pytest.raises(ValueError, match="`plot_pairs`"):
        plotting.plot_mixture(make_mixture("full", 3, 3))
    with pytest.raises(ValueError, match="`names`"):
        plotting.plot_mixture(mixture, x, names=["a"])
    with pytest.raises(ValueError, match="`sample_weight`"):
        plotting.plot_mixture(mixture, sample_weight=[1.0])
    with pytest.raises(ValueError, match="`ax`"):
        plotting.plot_pairs(mixture, x, ax=Figure().subplots(1, 2))
    with pytest.raises(ValueError, match="one or two"):
        plotting.plot_uncertainty(
            make_mixture("full", 3, 3), make_data(20, 3), features=[0, 1, 2]
        )
    with pytest.raises(ValueError, match="`criterion`"):
        plotting.plot_selection(table, criterion="dic")
    fail = eqx.filter_vmap(
        lambda result: gx.RESULTS.where(
            result == gx.RESULTS.nonfinite, result, gx.RESULTS.nonfinite
        )
    )
    results = fail(population.solutions.result)
    nowhere = eqx.tree_at(lambda p: p.solutions.result, population, results)
    with pytest.raises(ValueError, match="No lane"):
        plotting.plot_optima(nowhere)
    assert plt.get_fignums() == []


@x32
def test_everything_can_be_saved(tmp_path):
    """Constrained layouts and colour bars fail only here, and warn."""
    mixture, x = make_mixture("full"), make_data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, ax in enumerate(
            [
                plotting.plot_mixture(mixture, x),
                plotting.plot_uncertainty(mixture, x),
                plotting.plot_responsibilities(mixture, x),
                plotting.plot_pairs(mixture, x)[0, 0],
            ]
        ):
            ax.figure.savefig(tmp_path / f"{i}.png", dpi=40)
