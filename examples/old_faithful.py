"""Which Gaussian mixture describes the eruptions of Old Faithful?

Fits every covariance family with one to nine components to 272 eruptions, each from
many random starts, chooses by BIC, and draws the winner. Run it with `make demo`.
"""

import pathlib
import time
from typing import Any

import jax
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import gmmx_eqx as gx
from gmmx_eqx import plotting


ROOT = pathlib.Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "old_faithful.png"
NAMES = ("Length of the eruption (minutes)", "Waiting time until the next (minutes)")
# Eruptions were timed to the second, waiting times to the minute. In minutes.
CLOCK_STEPS = (1 / 60, 1.0)


def load() -> np.ndarray:
    """Lengths of eruptions and waiting times until the next, shape (272, 2)."""
    path = ROOT / "examples" / "data" / "old_faithful.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1)


def search(x: np.ndarray, n_components: range, n_restarts: int) -> gx.Selection:
    """Every family with every number of components, by maximum likelihood."""
    solver, starts = gx.SQUAREM(tol=1e-9), gx.RandomPoints()
    options: Any = dict(reg_covar=0.0, resolution=CLOCK_STEPS, initialiser=starts)
    return gx.select(
        x, n_components, None, n_restarts, key=jr.key(0), solver=solver, **options
    )


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    x = load()
    begin = time.perf_counter()
    table = search(x, range(1, 10), n_restarts=64)
    seconds = time.perf_counter() - begin
    winner = table.best
    print(f"BIC of the best of 64 starts, in {seconds:.0f} s; lower is better\n")
    print(table, winner.solution.mixture.to_numpy(), sep="\n\n")
    print(f"\nlog-likelihood {winner.log_likelihood:.4f}, BIC {winner.bic:.4f}")
    figure = Figure(figsize=(10.7, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    plotting.plot_mixture(winner.solution.mixture, x, names=NAMES, ax=left)
    left.set_title(f"{winner.covariance_type}, {winner.n_components} components")
    plotting.plot_selection(table, ax=right)
    figure.savefig(PICTURE, dpi=150, bbox_inches="tight", pad_inches=0.15)


if __name__ == "__main__":
    main()
