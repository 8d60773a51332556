"""The eruptions of Old Faithful.

Which Gaussian mixture describes them? Four covariance families with one to nine
components are fitted to 272 eruptions, each from many random starts, BIC chooses, and
the winner is drawn. Components narrower than the clock that the eruptions were timed by
do not count. `make demo` runs this script.
"""

import pathlib
import time
from typing import Any

import jax
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx
from gmmx_eqx import plotting


NAMES = ("length of the eruption (min)", "wait for the next (min)")
# Eruptions were timed to the second, waiting times to the minute. In minutes.
CLOCK_STEPS = (1 / 60, 1.0)
FAMILIES = ("full", "tied", "diag", "spherical")


def load() -> np.ndarray:
    """Lengths of eruptions and waiting times until the next, shape (272, 2)."""
    path = pathlib.Path(__file__).parent / "data" / "old_faithful.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1)


def search(x: np.ndarray, n_components: range, n_restarts: int) -> gx.Selection:
    """Four families with every number of components, by maximum likelihood."""
    solver, starts = gx.SQUAREM(tol=1e-9), gx.RandomPoints()
    options: Any = dict(reg_covar=0.0, resolution=CLOCK_STEPS, initialiser=starts)
    return gx.select(
        x, n_components, FAMILIES, n_restarts, key=jr.key(0), solver=solver, **options
    )


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    x = load()
    begin = time.perf_counter()
    table = search(x, range(1, 10), n_restarts=64)
    seconds = time.perf_counter() - begin
    winner = table.best
    print(f"BIC of the best of 64 starts, in {seconds:.0f} s; lower is better\n")
    print(table, winner.solution, sep="\n\n")
    print(f"\nlog-likelihood {winner.log_likelihood:.4f}, BIC {winner.bic:.4f}")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8), width_ratios=(1.6, 1))
    plotting.plot_mixture(winner.solution.mixture, x, names=NAMES, ax=left)
    left.set_title(f"{winner.covariance_type}, {winner.n_components} components")
    plotting.plot_selection(table, ax=right)
    save(figure)


if __name__ == "__main__":
    main()
