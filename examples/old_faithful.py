"""Which Gaussian mixture describes the eruptions of Old Faithful?

Fits every covariance family with one to nine components to 272 eruptions, each from
many random starts, chooses by BIC, and draws the winner. Run it with `make demo`.
"""

import functools as ft
import math
import pathlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

import gmmx_eqx as gx


ROOT = pathlib.Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "old_faithful.png"

FAMILIES = tuple(gx.CovarianceType)
N_STARTS = 64
# Eruptions were timed to the second, waiting times to the minute. In minutes.
CLOCK_STEPS = np.array([1 / 60, 1.0])

# Okabe and Ito's colours can be told apart by the colour-blind.
COLOURS = ("#009E73", "#E69F00", "#0072B2", "#CC79A7", "#56B4E9", "#D55E00")
STYLE: Any = {
    "font.size": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
}


class Candidate(NamedTuple):
    """The best fit of one family and number of components."""

    family: str
    n_components: int
    solution: gx.Solution
    bic: float
    n_counted: int  # how many fits it was chosen from

    def __str__(self) -> str:
        plural = "s" if self.n_components > 1 else ""
        return f"{self.family}, {self.n_components} component{plural}"


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
    """A fit of k components per start, all in one program, and which of them count."""
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
        return solution, solution.converged & is_resolved(solution.mixture)

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


def best(family: str, solutions: gx.Solution, counts: Any, n_samples: int) -> Candidate:
    """The lane of the largest likelihood among those that count."""
    likelihoods = np.where(counts, solutions.log_likelihood, -np.inf)
    take = lambda leaf: jnp.asarray(leaf[np.argmax(likelihoods)])
    solution = jax.tree.map(take, jax.device_get(solutions))
    mixture = solution.mixture
    bic = -2 * float(np.max(likelihoods)) + mixture.n_parameters * math.log(n_samples)
    return Candidate(family, mixture.n_components, solution, bic, int(np.sum(counts)))


def finish(x: Any, candidate: Candidate) -> Candidate:
    """The same with more digits of its parameters. Raises if it does not converge."""
    solver = gx.EM(tol=1e-14, max_steps=10_000)
    solution = gx.fit(candidate.solution.mixture, x, solver=solver, reg_covar=0.0)
    return candidate._replace(solution=solution, bic=float(solution.mixture.bic(x)))


def search(x: Any, n_components: Sequence[int], n_starts: int) -> list[Candidate]:
    """Every family with every number of components, the lowest BIC first."""
    ensemble = starts(x, max(n_components), n_starts)
    models = [(family, k) for family in FAMILIES for k in n_components]
    run = lambda model: best(model[0], *fits(x, ensemble, *model), len(x))
    # Threads, since most of the time goes into compiling a program for each.
    with ThreadPoolExecutor(max_workers=2) as pool:
        first, *others = sorted(pool.map(run, models), key=lambda c: c.bic)
    return [finish(x, first), *others]


def table(candidates: Sequence[Candidate]) -> str:
    """BIC with a column per family and a row per number of components."""
    cells = {(c.family, c.n_components): c for c in candidates}
    lines = ["  K" + "".join(f"{family:>12}" for family in FAMILIES)]
    for k in sorted({c.n_components for c in candidates}):
        row = [cells[family, k] for family in FAMILIES]
        texts = [f"{c.bic:11.2f}" + ("*" if c is candidates[0] else " ") for c in row]
        lines.append(f"{k:3d} " + "".join(texts))
    return "\n".join(lines)


def parameters(mixture: gx.GaussianMixture) -> tuple[np.ndarray, ...]:
    """Components by mean eruption: their order, weights, means, dense covariances."""
    order = np.argsort(mixture.means_numpy[:, 0])
    dense = np.asarray(mixture.covariances.values_dense)[0]
    dense = dense if dense.shape[-1] == 2 else dense * np.eye(2)
    dense = np.broadcast_to(dense, (len(order), 2, 2))
    return order, mixture.weights_numpy[order], mixture.means_numpy[order], dense[order]


def report(candidates: Sequence[Candidate]) -> str:
    """Which model wins, by how much, and what it is."""
    winner, runner_up, *_ = candidates
    solution, mixture = winner.solution, winner.solution.mixture
    lines = [
        f"Best: {winner}. Next: {runner_up}, +{runner_up.bic - winner.bic:.2f}.\n",
        f"log-likelihood {solution.log_likelihood:.4f} nats, BIC {winner.bic:.4f}, "
        f"{mixture.n_parameters} parameters, {int(solution.n_steps)} more steps\n",
        "  k  weight     mean (minutes)           covariance (minutes²)",
        "             eruption   waiting    eruption   waiting      both",
    ]
    _, *arrays = parameters(mixture)
    for k, (weight, mean, c) in enumerate(zip(*arrays, strict=True), start=1):
        numbers = (*mean, c[0, 0], c[1, 1], c[0, 1])
        lines.append(f"{k:3d}  {weight:.4f} " + "".join(f"{n:10.4f}" for n in numbers))
    return "\n".join(lines)


def draw(x: Any, candidates: Sequence[Candidate], path: pathlib.Path) -> None:
    """The winner over the data, and the BIC of every model."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.7, 5.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        draw_mixture(left, x, candidates[0])
        draw_bic(right, candidates)
        figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.15)


def draw_mixture(axes: Any, x: Any, winner: Candidate) -> None:
    """Samples in the colours of their responsibilities, ellipses, and the density."""
    mixture = winner.solution.mixture
    order, *arrays = parameters(mixture)
    points = np.asarray(x)
    margin = 0.17 * np.ptp(points, axis=0)
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 160).T), axis=-1)
    density = np.exp(mixture.log_prob(grid.reshape(-1, 2))).reshape(160, 160)
    levels = density.max() * 0.5 ** np.arange(8, -1, -1)  # each half of the next
    axes.contourf(*grid.T, density.T, levels, cmap="Greys", norm="log", alpha=0.22)
    axes.contour(*grid.T, density.T, levels, colors="#B4B4B4", linewidths=0.6)
    colours = [to_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(order))]
    blend = np.clip(np.asarray(mixture.predict_proba(x))[:, order] @ colours, 0, 1)
    axes.scatter(*points.T, s=20, c=blend, lw=0.4, ec="white", zorder=2)
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    text: Any = {"textcoords": "offset points", "ha": "center", "weight": "bold"}
    text["path_effects"] = [withStroke(linewidth=3, foreground="white")]
    for colour, weight, mean, covariance in zip(colours, *arrays, strict=True):
        root = np.linalg.cholesky(covariance)
        for sigmas, width in ((1, 2.2), (2, 1.3)):
            ellipse = mean[:, None] + sigmas * root @ circle
            axes.plot(*ellipse, color=colour, lw=width, zorder=3)
        top = mean + 2 * root @ root[1] / np.linalg.norm(root[1])
        axes.annotate(f"{weight:.0%}", top, (0, 6), color=colour, **text)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_xlabel("Length of the eruption (minutes)")
    axes.set_ylabel("Waiting time until the next (minutes)")
    axes.set_title(f"Old Faithful: {winner}, ellipses at 1 and 2 sigma")


def draw_bic(axes: Any, candidates: Sequence[Candidate]) -> None:
    lowest = candidates[0]
    for family, marker in zip(FAMILIES, "o^Ds", strict=True):
        own = [c for c in candidates if c.family == family]
        excess = {c.n_components: c.bic - lowest.bic for c in own}
        counts, values = zip(*sorted(excess.items()), strict=True)
        colour, width = ("#D55E00", 2) if family == lowest.family else ("#666666", 1.2)
        style = {"color": colour, "marker": marker, "ms": 5, "lw": width}
        axes.plot(counts, values, label=family, **style)
    axes.legend(loc="center", bbox_to_anchor=(0.62, 0.7), ncols=2, frameon=False)
    axes.set_yscale("symlog", linthresh=10, linscale=0.6)
    axes.set_yticks([0, 10, 100, 1000], ["0", "10", "100", "1000"])
    axes.set_xticks(sorted({c.n_components for c in candidates}))
    axes.set_xlabel("Number of components")
    axes.set_ylabel(f"BIC minus the best, {lowest.bic:.1f}")
    axes.set_title("Which model? The lower, the better")


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    x = load()
    begin = time.perf_counter()
    candidates = search(x, range(1, 10), N_STARTS)
    seconds = time.perf_counter() - begin
    n_counted = sum(c.n_counted for c in candidates)
    print(f"{N_STARTS * len(candidates)} fits in {seconds:.0f} s, compiling included.")
    print(f"{n_counted} count: converged, no component narrower than clock steps.\n")
    print(f"BIC of the best of {N_STARTS} starts; lower is better\n")
    print(table(candidates), report(candidates), sep="\n\n")
    draw(x, candidates, PICTURE)
    print(f"\nPicture: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
