"""Draws the pictures of the pages on concepts into `docs/images`.

`python docs/figures.py`, with the extra `plotting`.
"""

import pathlib

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import gmmx_eqx as gx
from gmmx_eqx import plotting


ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
INITIALISERS = ("KMeans", "KMeansPlusPlus", "RandomPoints", "RandomResponsibilities")


def grid(rows: int, height: float) -> Figure:
    """Two pictures side by side, which a phone has room for."""
    figure = plt.figure(figsize=(6, height * rows), layout="constrained")
    figure.subplots(rows, 2)
    return figure


def draw(mixture, x, title: str, ax, **options) -> None:
    plotting.plot_mixture(mixture, x, annotate=False, ax=ax, **options)
    ax.set_title(title)
    ax.set(xlabel="", ylabel="", xticks=[], yticks=[])


def steps() -> Figure:
    """EM on Old Faithful, from a poor start."""
    path = ROOT / "examples" / "data" / "old_faithful.csv"
    x = np.loadtxt(path, delimiter=",", skiprows=1)
    spread = np.diag(x.var(axis=0))
    start = gx.GaussianMixture.from_squeezed(
        means=[[2.5, 80.0], [4.0, 55.0]],
        covariances=[spread, spread],
        weights=[0.5, 0.5],
        covariance_type="full",
    )
    figure = grid(2, 2.6)
    for n_steps, ax in zip((0, 5, 10, 1000), figure.axes, strict=True):
        solver = gx.EM(max_steps=n_steps, tol=1e-8)
        solution = gx.fit(start, x, solver=solver, throw=False)
        title = "start" if n_steps == 0 else f"{solution.n_steps} steps"
        title += f": {solution.mean_log_likelihood:.2f} nats"
        draw(solution.mixture, x, title, ax)
    return figure


def families() -> Figure:
    """The best fit of every family to the same data."""
    first, second = jr.normal(jr.key(0), (2, 150, 2))
    x = jnp.concatenate(
        [
            first @ jnp.array([[1.0, 0.8], [0.0, 0.5]]),
            second * 0.7 + jnp.array([3.0, 0.0]),
        ]
    )
    names = ("full", "tied", "diag", "tied_diag", "spherical", "tied_spherical")
    figure = grid(3, 2.3)
    for name, ax in zip(names, figure.axes, strict=True):
        found = gx.fit_restarts(x, 2, name, 8, key=jr.key(1))
        draw(found.best.mixture, x, name, ax, sigmas=(2.0,))
        ax.set_aspect("equal")
    return figure


def starts() -> Figure:
    """One start by each initialiser for the same data and key."""
    centres = 3.0 * jnp.array([[0.0, 0.0], [2.0, 0.0], [1.0, 1.5]])
    x = (centres[:, None] + jr.normal(jr.key(0), (3, 100, 2))).reshape(-1, 2)
    figure = grid(2, 2.6)
    for name, ax in zip(INITIALISERS, figure.axes, strict=True):
        start = gx.GaussianMixture.from_initialiser(
            getattr(gx, name)(), x, n_components=3, key=jr.key(4)
        )
        draw(start, x, name, ax)
        ax.title.set_fontsize(10)
        ax.set_aspect("equal")
    return figure


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    plt.style.use(ROOT / "examples" / "style.mplstyle")
    for picture in (steps, families, starts):
        path = IMAGES / f"{picture.__name__}.png"
        picture().savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
