"""What mixtures and fits print: tables of their numbers, without a program."""

import copy
import dataclasses
import html
import pickle
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core.table import as_column, ends, Table
from gmmx_eqx._fit.solution import best_lane, best_lane_numpy
from gmmx_eqx._mixture import table

from .families import every_family_of_any_fields
from .helpers import counted, make_data, make_mixture


def of_two(covariance_type="full", **changes):
    covariances = {
        "full": [[[4.0, 1.0], [1.0, 9.0]], [[0.25, 0.0], [0.0, 1.0]]],
        "spherical": [4.0, 0.25],
    }[covariance_type]
    means = [[0.5, -120.0], [2.0, 7.25]]
    arguments = {"means": means, "covariances": covariances, "weights": [0.25, 0.75]}
    arguments |= changes
    return gx.GaussianMixture.from_squeezed(
        **arguments, covariance_type=covariance_type
    )


@pytest.fixture(scope="module")
def x():
    return make_data(150)


@pytest.fixture(scope="module")
def population(x):
    return gx.fit_restarts(x, 3, n_restarts=12, key=jr.key(1))


@pytest.mark.x32
def test_a_mixture():
    expected = """\
GaussianMixture: 2 components, 2 features, full, float32
component  weight  mean 0  mean 1   sd 0   sd 1
        0  0.2500   0.500  -120.0  2.000  3.000
        1  0.7500   2.000     7.2  0.500  1.000"""
    assert str(of_two()) == expected
    assert repr(of_two()) == str(of_two())
    *_, head, first, second = str(of_two("spherical")).splitlines()
    assert head.split()[-2:] == ["1", "sd"]
    assert (first.split()[-1], second.split()[-1]) == ("2.000", "0.500")


@every_family_of_any_fields
def test_every_family(name):
    """Standard deviations are those of the matrices, and nothing is compiled."""
    mixture = make_mixture(name, 3, 4)
    dense = np.asarray(mixture.covariances.dense(4))
    deviations = np.sqrt(np.diagonal(dense, axis1=-2, axis2=-1))
    deviations = np.broadcast_to(deviations[0], (3, 4))
    jax.clear_caches()
    with counted() as compiled:
        text, page = str(mixture), mixture._repr_html_()
    assert not compiled
    title, head, *rows = text.splitlines()
    assert title == (
        f"GaussianMixture: 3 components, 4 features, {name}, {mixture.means.dtype}"
    )
    numbers = np.array([row.split() for row in rows], dtype=float)
    means = np.asarray(mixture.means_numpy)
    np.testing.assert_allclose(numbers[:, 2:6], means, atol=6e-4 * np.abs(means).max())
    # A family of one's own has no rule for them.
    shown = numbers[:, 6:]
    if shown.size:
        np.testing.assert_allclose(shown + 0 * deviations, deviations, atol=2e-3)
    else:
        assert name not in list(gx.CovarianceType)
    assert page is not None and page.count("<tr>") == 4


@pytest.mark.x32
def test_cholesky_factors():
    mixture = gx.GaussianMixture.from_cholesky(
        [[0.0, 0.0]], [[[3.0, 0.0], [3.0, 4.0]]], [1.0]
    )
    assert str(mixture).split()[-2:] == ["3.000", "5.000"]


@pytest.mark.x32
def test_large_and_many():
    large = make_mixture("full", 40, 30)
    _, head, *rows = str(large).splitlines()
    assert len(rows) == 13 and max(map(len, rows)) < 120
    assert head.split().count("...") == 2 and "mean 29" in head
    assert rows[9].split() == ["..."] * 12
    assert rows[-1].split()[0] == "39"
    many = gx.stack([of_two()] * 5)
    title, head, *rows = str(many).splitlines()
    assert "ensemble (5,) of 2 components, 2 features" in title
    assert rows[-1].split(maxsplit=1) == ["covariances.values", "(5, 1, 2, 2, 2)"]


@pytest.mark.x32
def test_on_an_accelerator(monkeypatch):
    """Little is copied."""
    small, large = make_mixture("full", 3, 4), make_mixture("full", 40, 50)
    before = str(small)
    read = []
    monkeypatch.setattr(table, "is_on_host", lambda array: False)
    monkeypatch.setattr(table.np, "asarray", lambda array: read.append(array))
    assert str(large).splitlines()[-1].split()[0] == "covariances.values"
    assert not read
    monkeypatch.undo()
    monkeypatch.setattr(table, "is_on_host", lambda array: False)
    assert str(small) == before


@pytest.mark.x32
def test_numbers():
    """Four digits of the largest, and of what is far from it, four of its own."""
    assert as_column(np.array([1.23456, -120.0])) == ["1.2", "-120.0"]
    assert as_column(np.array([1.0, 0.00012])) == ["1", "0.00012"]
    assert as_column(np.array([1.5e7, 2e7])) == ["1.5e+07", "2e+07"]
    assert as_column(np.array([0.0, 0.0])) == ["0.000", "0.000"]
    assert as_column(np.array([np.nan, 2.0])) == ["nan", "2.000"]
    assert ends(4, 4, 1) == [0, 1, 2, 3]
    assert ends(9, 4, 1) == [0, 1, 2, None, 8]


@pytest.mark.x32
def test_split():
    """Each part is no wider than it may be, or has a single column."""
    head = ("K", *(letter * 8 for letter in "abcde"))
    whole = Table(("title",), head, (("1", *"12345"), ("2", *"67890")))
    assert whole.split(200) == (whole,)
    for most, sizes in ((51, [5]), (50, [3, 2]), (31, [3, 2]), (30, [2, 2, 1])):
        parts = whole.split(most)
        assert [len(part.head) - 1 for part in parts] == sizes
        assert [part.title for part in parts] == [("title",)] + [()] * (len(parts) - 1)
        assert all(
            len(part._replace(title=()).text().split("\n")[0]) <= most for part in parts
        )
        for i, row in enumerate(("12345", "67890")):
            assert "".join("".join(part.rows[i][1:]) for part in parts) == row
    assert [len(part.head) for part in whole.split(3)] == [2] * 5


@pytest.mark.x32
def test_escaped():
    page = Table(("a < b",), ("<i>",), (("&",),)).html()
    for text in ("a < b", "<i>", "&"):
        assert html.escape(text) in page
    assert "<i>" not in page


def as_tree(value):
    return str(value) == eqx.tree_pformat(value)


@pytest.mark.x32
def test_without_numbers(population):
    """A tree, as of any module."""
    changes = (
        lambda leaf: None,
        lambda leaf: True,
        lambda leaf: (leaf, leaf),
        lambda leaf: leaf.astype(int),
        lambda leaf: leaf[..., 0],
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    )
    mixture = of_two()
    for change in changes:
        assert as_tree(jax.tree.map(change, mixture))
    for value in (mixture, population.best, population):
        for change in (changes[0], changes[-1]):
            changed = jax.tree.map(change, value)
            assert as_tree(changed) and changed._repr_html_() is None
    gradient = eqx.filter_grad(lambda m: m.score(jnp.ones((3, 2))))(mixture)
    assert as_tree(gradient)
    seen = []
    jax.jit(lambda value: seen.append(as_tree(value)))(population)
    jax.vmap(lambda value: seen.append(as_tree(value)))(gx.stack([mixture, mixture]))
    assert seen == [True, True]
    # Numbers that are not traced are there.
    jax.jit(lambda: seen.append(as_tree(mixture)))()
    assert seen[-1] is False


@pytest.mark.x32
def test_arrays_that_cannot_be_read():
    mixture = jax.tree.map(jnp.copy, of_two())
    for leaf in jax.tree.leaves(mixture):
        leaf.delete()
    assert as_tree(mixture)


@pytest.mark.x32
def test_inside_a_module():
    """A module that holds one is a tree all the way."""

    class Model(eqx.Module):
        mixture: gx.GaussianMixture

    text = repr(Model(of_two()))
    assert "weights=f32[1,2,1,1]" in text and "component " not in text


def failed(x):
    begin = gx.GaussianMixture.from_k_means(x, 3, key=jr.key(0))
    return gx.fit(begin, x, solver=gx.EM(tol=0.0, max_steps=1), throw=False)


@pytest.mark.x32
def test_a_solution(x, population):
    best = population.best
    jax.clear_caches()
    with counted() as compiled:
        first, second, *rest = str(best).splitlines()
    assert not compiled
    assert first == f"Solution: successful after {int(best.n_steps)} steps"
    numbers = re.findall(r"-?[\d.]+", second)
    np.testing.assert_allclose(float(numbers[0]), best.log_likelihood, atol=6e-3)
    np.testing.assert_allclose(float(numbers[1]), best.mean_log_likelihood, rtol=1e-5)
    assert "nats" in second
    assert rest == str(best.mixture).splitlines()
    first, *_ = str(failed(x)).splitlines()
    assert first.startswith("Solution: max_steps_reached after 1 step: EM reached")
    solutions = gx.fit_batch([x, x, np.full_like(x, np.nan)], 3, key=jr.key(0), width=3)
    first, *rest = str(solutions).splitlines()
    assert first == "Solution: 3 fits, 2 successful, 1 nonfinite"
    assert rest == str(solutions.mixture).splitlines()
    assert "successful" in best._repr_html_()


@pytest.mark.x32
def test_a_population(population):
    n_optima, best = len(population.optima()), population.best
    jax.clear_caches()
    with counted() as compiled:
        first, second, *rest = str(population).splitlines()
    assert not compiled
    n = int(population.n_converged)
    assert first.startswith(f"Population: 12 fits, {n} successful")
    assert re.search(rf"; {n_optima} distinct optim(um|a)$", first)
    lane = best_lane_numpy(population.solutions)
    head, *solution = str(best).splitlines()
    assert second == f"best, lane {lane}: {head.removeprefix('Solution: ')}"
    assert rest == solution
    assert "distinct" in population._repr_html_()


@pytest.mark.x32
@pytest.mark.parametrize(
    "values, results",
    [
        ([1.0, 3.0, 2.0], ["successful"] * 3),
        ([1.0, 3.0, 2.0], ["successful", "component_collapsed", "max_steps_reached"]),
        ([1e6, 1e6 + 0.0625, 0.0], ["successful"] * 3),
        ([np.nan, -np.inf, np.inf], ["nonfinite", "dropped", "dropped"]),
        ([np.nan, np.nan, np.nan], ["nonfinite"] * 3),
    ],
)
def test_the_best_lane(population, values, results):
    """The same on the host."""
    solutions = population.solutions[:3]
    result = [getattr(gx.RESULTS, name) for name in results]
    result = jax.tree.map(lambda *leaves: jnp.stack(leaves), *result)
    changed = eqx.tree_at(
        lambda s: (s.log_likelihood, s.result),
        solutions,
        (jnp.asarray(values, jnp.float32), result),
    )
    assert best_lane_numpy(changed) == int(best_lane(changed))


@pytest.mark.x32
def test_a_selection(x):
    selection = gx.select(x, [1, 2], ["diag"], 2, key=jr.key(0))
    assert repr(selection) == str(selection)
    head, *rows, gap, title, first, second = str(selection).splitlines()
    assert head.split() == ["BIC", "diag"] and len(rows) == 2 and not gap
    best, other = selection.ranking
    assert rows[best.n_components - 1].endswith(f"{best.bic:.2f}*")
    assert title == "Best two by BIC (lower is better):"
    value = f"{best.bic:.2f}"
    assert first == f"* diag, {best.n_components} components  {value}"
    assert second.split() == ["diag,", "1", "component", f"{other.bic:.2f}"] + [
        f"+{other.bic - best.bic:.2f}"
    ]
    assert selection._repr_html_().count("<tr>") == 3
    # One line, without the mixture.
    assert "\n" not in repr(best) and "solution" not in repr(best)
    optimum = gx.fit_restarts(x, 2, n_restarts=2, key=jr.key(0)).optima()[0]
    assert "\n" not in repr(optimum) and "lanes" in repr(optimum)


MODELS = "EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV".split()


def made_up(names, counts, bic=lambda i, k: 3000.0 + 7 * i + 100 * k):
    """Cells of numbers that were not fitted."""
    rest = {"n_parameters": 1, "status": "successful", "n_steps": 1}
    rest |= {"n_converged": 1, "n_restarts": 1, "_solution": None}
    return gx.Selection(
        tuple(
            gx.Cell(name, k, log_likelihood=0.0, aic=-k, icl=k, bic=bic(i, k), **rest)
            for i, name in enumerate(names)
            for k in counts
        ),
        "bic",
    )


@pytest.mark.x32
@pytest.mark.parametrize("bic", [3000.0, -123456.0, 1e9])
def test_a_selection_of_many_families(bic):
    """Blocks as wide as each other, each with the numbers of components, in which
    every family is once."""
    table = made_up(MODELS, range(1, 10), lambda i, k: bic + i + k)
    *blocks, notes = str(table).split("\n\n")
    assert len(blocks) >= 2
    heads = [block.splitlines()[0].split() for block in blocks]
    assert sum((head[1:] for head in heads), []) == MODELS
    sizes = [len(head) for head in heads]
    assert max(sizes) - min(sizes) <= 1
    for block in blocks:
        lines = block.splitlines()
        assert max(map(len, lines)) <= 100
        assert [int(line.split()[0]) for line in lines[1:]] == list(range(1, 10))
    assert [line.split()[:3] for line in notes.splitlines()[1:]] == [
        ["*", "EII,", "1"],
        ["EII,", "2", "components"],
        ["VII,", "1", "component"],
    ]
    page = table._repr_html_()
    assert page.count("<table>") == len(blocks) and page.count("Best three") == 1
    assert page.count("<tr>") == 10 * len(blocks)


@pytest.mark.x32
def test_a_selection_with_cells_missing():
    table = made_up(["VVI", "VVV"], [1, 2, 3])
    cells = list(table.cells)
    cells[1] = dataclasses.replace(cells[1], status="component_collapsed")
    cells[4:] = [gx.Cell.not_fitted("VVV", k, 10 * k) for k in (2, 3)]
    lines = str(dataclasses.replace(table, cells=tuple(cells))).splitlines()
    assert lines[2].split() == ["2", "-", "-"]
    assert lines[3].split() == ["3", "3300.00", "-"]
    assert (
        lines[-1] == "- no valid mixture: 2 too_many_parameters, 1 component_collapsed"
    )
    lines = str(gx.Selection(tuple(cells[4:]), "bic")).splitlines()
    assert lines[0].split() == ["BIC", "VVV"] and "Best" not in str(lines)
    assert lines[-1] == "- no valid mixture: 2 too_many_parameters"
    # A family that was tried with other numbers of components.
    assert str(gx.Selection(tuple(cells[:4]), "bic")).splitlines()[3].split() == [
        *("3", "3300.00")
    ]


@pytest.mark.x32
def test_a_selection_of_two_ranks():
    """Both have the name of the family, and a column."""
    table = made_up(["low_rank", "low_rank"], [1, 2])
    head, first, *_ = str(table).splitlines()
    assert head.split() == ["BIC", "low_rank", "low_rank"]
    assert first.split() == ["1", "3100.00*", "3107.00"]


@pytest.mark.x32
def test_copies(population):
    """Attributes that are not there are asked for while an object is made."""
    for value in (of_two(), population.best, population):
        for again in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert str(again) == str(value)
