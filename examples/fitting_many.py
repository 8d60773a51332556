"""Pictures of a population of fits and of a selection table: iris and Old Faithful."""

import pathlib

import jax
import jax.random as jr
import matplotlib
import numpy as np
import sklearn.datasets

import gmmx_eqx as gx


jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  # after the backend is chosen
from matplotlib.figure import Figure  # noqa: E402


ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
# Okabe and Ito's colours, told apart by all.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def plot_population(population: gx.Population) -> Figure:
    """How often each optimum was hit, against its log-likelihood."""
    optima = population.optima()
    values = [float(optimum.solution.log_likelihood) for optimum in optima]
    counts = [optimum.count for optimum in optima]
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.vlines(values, 0, counts, colors="0.8")
    axes.plot(values[1:], counts[1:], "o", color=COLOURS[0], label="optima")
    axes.plot(values[:1], counts[:1], "o", color=COLOURS[1], ms=9, label="best")
    axes.set(
        xlabel="log-likelihood (nats)",
        ylabel="starts that ended there",
        ylim=(0, 1.1 * max(counts)),
        title=f"Iris, 5 spherical components: {len(population)} starts, "
        f"{len(optima)} optima",
    )
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_selection(table: gx.Selection) -> Figure:
    """The criterion of every cell above that of the best, as numbers and shades."""
    families = list(dict.fromkeys(cell.covariance_type for cell in table.cells))
    counts = sorted({cell.n_components for cell in table.cells})
    values = np.array([[table[f, k].bic for f in families] for k in counts])
    excess = values - values.min()
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    axes.imshow(np.log10(1 + excess), cmap="cividis_r", aspect="auto")
    for row, column in np.ndindex(excess.shape):
        best = excess[row, column] == 0
        shade = np.log10(1 + excess[row, column]) / np.log10(1 + excess.max())
        axes.text(
            column,
            row,
            "best" if best else f"+{excess[row, column]:.0f}",
            ha="center",
            va="center",
            color="white" if shade > 0.5 else "black",
            weight="bold" if best else "normal",
        )
    axes.set_xticks(range(len(families)), families)
    axes.set_yticks(range(len(counts)), [str(count) for count in counts])
    axes.set(ylabel="components", title="Old Faithful: BIC above the best")
    return figure


def main() -> None:
    iris, _ = sklearn.datasets.load_iris(return_X_y=True)
    solver = gx.EM(tol=1e-8, max_steps=4000)
    population = gx.fit_restarts(
        iris, 5, "spherical", 200, key=jr.key(0), solver=solver
    )
    print(f"chance of a new optimum: {population.chance_of_new():.3f}")
    print(f"chance of a better one: {population.chance_of_better():.3f}")
    plot_population(population).savefig(IMAGES / "population.png", dpi=150)

    path = ROOT / "examples" / "data" / "old_faithful.csv"
    x = np.loadtxt(path, delimiter=",", skiprows=1)
    table = gx.select(x, range(1, 10), n_restarts=32, key=jr.key(0), solver=solver)
    print(table)
    plot_selection(table).savefig(IMAGES / "selection.png", dpi=150)


if __name__ == "__main__":
    main()
