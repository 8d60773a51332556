"""Which Gaussian mixture describes the eruptions of Old Faithful?

Fits every covariance family with one to nine components to 272 eruptions, each from
many random starts, chooses by BIC, and draws the winner. Run it with `make demo`.
"""

import dataclasses
import functools as ft
import pathlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import gmmx_eqx as gx
from gmmx_eqx import plotting


ROOT = pathlib.Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "old_faithful.png"

FAMILIES = tuple(gx.CovarianceType)
N_STARTS = 64
# Eruptions were timed to the second, waiting times to the minute. In minutes.
CLOCK_STEPS = np.array([1 / 60, 1.0])

NAMES = ("Length of the eruption (minutes)", "Waiting time until the next (minutes)")
STYLE: Any = {
    "font.size": 11,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
}


def load() -> Any:
    """Lengths of eruptions and waiting times until the next, shape (272, 2)."""
    path = ROOT / "examples" / "data" / "old_faithful.csv"
    return jnp.asarray(np.loadtxt(path, delimiter=",", skiprows=1))


def starts(x: Any, n_components: int, n_starts: int) -> gx.GaussianMixture:
    """Random starts as one ensemble, the same for all models."""
    # k-means starts are nearly all the same here; random points reach better optima.
    create = ft.partial(gx.GaussianMixture.from_initialiser, gx.RandomPoints())
    start = lambda key: create(x, n_components, key=key)
    return eqx.filter_jit(eqx.filter_vmap(start))(jr.split(jr.key(0), n_starts))


def fits(x: Any, ensemble: Any, family: str, k: int) -> tuple[gx.Solution, Any]:
    """A fit of k components per start, all in one program, and the ICL of each."""
    # No ridge: this is maximum likelihood, and what collapses says so. No guarded
    # kernel: the clusters are only a few sigma apart.
    solver = gx.EM(tol=1e-9, max_steps=1000)
    options: Any = {"reg_covar": 0.0, "kernel": "packed", "throw": False}

    def fit(start):
        # Of random components the first k are as random as any.
        resp = jax.nn.softmax(start.estimate_log_prob(x)[:, :k, 0, 0])
        start = gx.GaussianMixture.from_responsibilities(
            x, resp, covariance_type=family
        )
        solution = gx.fit(start, x, solver=solver, **options)
        collapsed = gx.RESULTS.component_collapsed
        resolved = is_resolved(solution.mixture)
        result = gx.RESULTS.where(resolved, solution.result, collapsed)
        solution = eqx.tree_at(lambda s: s.result, solution, result)
        return solution, solution.mixture.icl(x)

    return eqx.filter_jit(eqx.filter_vmap(fit))(ensemble)


def is_resolved(mixture: gx.GaussianMixture) -> Any:
    """Whether every component is wider than the steps of the clock.

    The likelihood of a mixture has no upper bound: a component can shrink onto a few
    samples that share one rounded number. But rounding alone, to steps of h, gives a
    variance of h² / 12 to whatever is recorded. A component that is narrower than that
    in a feature, given the other one, describes the clock and not the geyser.
    """
    u = mixture.covariances.precisions_cholesky
    conditional_variances = 1 / jnp.sum(u**2, axis=gx.Axis.features_covar)
    rounding = jnp.asarray(CLOCK_STEPS**2 / 12, dtype=u.dtype)
    return jnp.all(conditional_variances > rounding[None, None])


def best(solutions: gx.Solution, icl: Any, n_samples: float) -> gx.Cell:
    """The lane of the largest likelihood among those that converged."""
    counts = np.asarray(solutions.converged)
    lane = np.argmax(np.where(counts, solutions.log_likelihood, -np.inf))
    take = lambda leaf: jnp.asarray(leaf[lane])
    return gx.Cell.create(
        jax.tree.map(take, jax.device_get(solutions)),
        n_samples,
        icl=float(icl[lane]),
        n_converged=int(np.sum(counts)),
        n_restarts=len(counts),
    )


def finish(x: Any, cell: gx.Cell) -> gx.Cell:
    """The same with more digits of its parameters. Raises if it does not converge."""
    solver = gx.EM(tol=1e-14, max_steps=10_000)
    solution = gx.fit(cell.solution.mixture, x, solver=solver, reg_covar=0.0)
    icl = float(solution.mixture.icl(x))
    counts = (cell.n_converged, cell.n_restarts)
    return gx.Cell.create(solution, float(len(x)), icl, *counts)


def search(x: Any, n_components: Sequence[int], n_starts: int) -> gx.Selection:
    """Every family with every number of components."""
    ensemble = starts(x, max(n_components), n_starts)
    models = [(family, k) for family in FAMILIES for k in n_components]
    run = lambda model: best(*fits(x, ensemble, *model), float(len(x)))
    # Threads, since most of the time goes into compiling a program for each.
    with ThreadPoolExecutor(max_workers=2) as pool:
        table = gx.Selection(tuple(pool.map(run, models)), "bic")
    first = table.best
    cells = (finish(x, cell) if cell is first else cell for cell in table.cells)
    return dataclasses.replace(table, cells=tuple(cells))


def name(cell: gx.Cell) -> str:
    plural = "s" if cell.n_components > 1 else ""
    return f"{cell.covariance_type}, {cell.n_components} component{plural}"


def parameters(mixture: gx.GaussianMixture) -> tuple[np.ndarray, ...]:
    """Components by mean eruption: their weights, means and dense covariances."""
    order = np.argsort(mixture.means_numpy[:, 0])
    dense = np.asarray(mixture.covariances.dense(mixture.n_features))[0]
    dense = dense if dense.shape[-1] == 2 else dense * np.eye(2)
    dense = np.broadcast_to(dense, (len(order), 2, 2))
    return mixture.weights_numpy[order], mixture.means_numpy[order], dense[order]


def report(table: gx.Selection) -> str:
    """Which model wins, by how much, and what it is."""
    winner, runner_up, *_ = table.ranking
    solution = winner.solution
    lines = [
        f"Best: {name(winner)}. Next: {name(runner_up)}, +{table.margin:.2f}.\n",
        f"log-likelihood {winner.log_likelihood:.4f} nats, BIC {winner.bic:.4f}, "
        f"{winner.n_parameters} parameters, {winner.n_steps} more steps\n",
        "  k  weight     mean (minutes)           covariance (minutes²)",
        "             eruption   waiting    eruption   waiting      both",
    ]
    arrays = parameters(solution.mixture)
    for k, (weight, mean, c) in enumerate(zip(*arrays, strict=True), start=1):
        numbers = (*mean, c[0, 0], c[1, 1], c[0, 1])
        lines.append(f"{k:3d}  {weight:.4f} " + "".join(f"{n:10.4f}" for n in numbers))
    return "\n".join(lines)


def draw(x: Any, table: gx.Selection, path: pathlib.Path) -> None:
    """The winner over the data, and the BIC of every model."""
    winner = table.best
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.7, 5.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        plotting.plot_mixture(winner.solution.mixture, x, names=NAMES, ax=left)
        left.set_title(f"Old Faithful: {name(winner)}, ellipses at 1 and 2 sigma")
        plotting.plot_selection(table, ax=right)
        right.set_title("Which model? The lower, the better")
        figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.15)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    x = load()
    begin = time.perf_counter()
    table = search(x, range(1, 10), N_STARTS)
    seconds = time.perf_counter() - begin
    n_counted = sum(cell.n_converged for cell in table.cells)
    print(f"{N_STARTS * len(table.cells)} fits in {seconds:.0f} s, compiling included.")
    print(f"{n_counted} count: converged, no component narrower than clock steps.\n")
    print(f"BIC of the best of {N_STARTS} starts; lower is better\n")
    print(table, report(table), sep="\n\n")
    draw(x, table, PICTURE)
    print(f"\nPicture: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
