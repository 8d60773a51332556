"""The pictures of the documentation: iris and Old Faithful, by `gmmx_eqx.plotting`."""

import pathlib
from typing import Any

import jax
import jax.random as jr
import numpy as np
import sklearn.datasets
from matplotlib.figure import Figure

import gmmx_eqx as gx
from gmmx_eqx import plotting


ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PARTS = ("sepal length", "sepal width", "petal length", "petal width")
ERUPTIONS = ("eruption (minutes)", "waiting time (minutes)")


def figure_of(width: float, height: float, n_columns: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, n_columns)


def fit(x: Any, n_components: int, family: str = "full") -> gx.GaussianMixture:
    return gx.fit_restarts(x, n_components, family, key=jr.key(0)).best.mixture


def mixtures(eruptions: np.ndarray) -> Figure:
    """One feature, and two."""
    figure, (left, right) = figure_of(10, 4.2, 2)
    waiting = eruptions[:, 1:]
    plotting.plot_mixture(fit(waiting, 2), waiting, names=ERUPTIONS[1:], ax=left)
    plotting.plot_mixture(fit(eruptions, 2), eruptions, names=ERUPTIONS, ax=right)
    return figure


def pairs(iris: Any, mixture: gx.GaussianMixture) -> Figure:
    figure = Figure(figsize=(8.4, 8), layout="constrained")
    plotting.plot_pairs(
        mixture, iris, names=[f"{part}\n(cm)" for part in PARTS], ax=figure
    )
    return figure


def responsibilities(eruptions: np.ndarray, mixture: gx.GaussianMixture) -> Figure:
    figure, ax = figure_of(8, 2.6, 1)
    plotting.plot_responsibilities(mixture, eruptions, ax=ax)
    return figure


def uncertainty(eruptions: np.ndarray, mixture: gx.GaussianMixture) -> Figure:
    figure, ax = figure_of(6.8, 4.4, 1)
    plotting.plot_uncertainty(mixture, eruptions, names=ERUPTIONS, ax=ax)
    return figure


def convergence(population: gx.Population) -> Figure:
    """Of 200 starts, on both scales."""
    figure, (left, right) = figure_of(10, 3.8, 2)
    plotting.plot_convergence(population.solutions, ax=left)
    plotting.plot_convergence(population.solutions, changes=True, ax=right)
    for ax in (left, right):
        ax.set_xlim(0, 75)
    left.set_ylim(-345, None)
    return figure


def optima(population: gx.Population) -> Figure:
    figure, ax = figure_of(7.2, 3.6, 1)
    plotting.plot_optima(population, ax=ax)
    ax.set_title("Iris, 5 spherical components, 200 starts", loc="left")
    return figure


def selection(table: gx.Selection) -> Figure:
    figure, (left, right) = figure_of(9.6, 4.2, 2)
    plotting.plot_selection(table, ax=left)
    plotting.plot_selection(table, criterion="icl", ax=right)
    left.set_title("Old Faithful by BIC", loc="left")
    right.set_title("and by ICL, which asks for separate clusters", loc="left")
    return figure


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    iris, _ = sklearn.datasets.load_iris(return_X_y=True)
    path = ROOT / "examples" / "data" / "old_faithful.csv"
    eruptions = np.loadtxt(path, delimiter=",", skiprows=1)
    solver = gx.EM(tol=1e-8, max_steps=4000)
    population = gx.fit_restarts(
        iris, 5, "spherical", 200, key=jr.key(0), solver=solver
    )
    print(f"chance of a new optimum: {population.chance_of_new():.3f}")
    print(f"chance of a better one: {population.chance_of_better():.3f}")
    table = gx.select(
        eruptions, range(1, 10), n_restarts=32, key=jr.key(0), solver=solver
    )
    print(table)
    best = table.best.solution.mixture
    pictures = {
        "mixtures": mixtures(eruptions),
        "pairs": pairs(iris, fit(iris, 3)),
        "responsibilities": responsibilities(eruptions, best),
        "uncertainty": uncertainty(eruptions, best),
        "convergence": convergence(population),
        "population": optima(population),
        "selection": selection(table),
    }
    for name, figure in pictures.items():
        figure.savefig(IMAGES / f"{name}.png", dpi=130)


if __name__ == "__main__":
    main()
