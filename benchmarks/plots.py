"""Draws `results/em_step_full.json` to `docs/images/speed.png`, and prints its tables.

`python -m benchmarks.plots`, after `python -m benchmarks --full`.
"""

import json
import pathlib

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from .__main__ import CENTRE, limit_of, peers, summarise
from .record import RESULTS


PICTURE = pathlib.Path(__file__).parents[1] / "docs" / "images" / "speed.png"
SWEEPS = {
    "n_components": "components",
    "n_features": "features",
    "n_samples": "samples",
}
# Of the palette by Okabe and Ito, with markers that tell them apart in grey.
STYLES = {
    "gmmx_eqx": {"color": "#0072B2", "marker": "o", "linewidth": 2},
    "scikit-learn": {"color": "#D55E00", "marker": "s"},
    "gmmx": {"color": "#009E73", "marker": "^"},
    "products alone": {"color": "black", "linestyle": ":"},
}


def main() -> None:
    records = json.loads((RESULTS / "em_step_full.json").read_text())["records"]
    figure, axes = plt.subplots(
        2, len(SWEEPS), figsize=(10, 6), sharey="row", layout="constrained"
    )
    for row, dtype in zip(axes, ("float32", "float64"), strict=True):
        for ax, name in zip(row, SWEEPS, strict=True):
            draw(ax, sweep(records, dtype, name), name)
        row[0].set_ylabel(f"{dtype}\nmilliseconds per step")
    for ax, name in zip(axes[0], SWEEPS, strict=True):
        others = {n: CENTRE[n] for n in ("n_samples", "n_features", "n_components")}
        del others[name]
        ax.set_title(", ".join(f"{v} {SWEEPS[n]}" for n, v in others.items()), size=10)
    for ax, label in zip(axes[1], SWEEPS.values(), strict=True):
        ax.set_xlabel(label)
    axes[0, 0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=150)
    print_tables(records)


def values(record: dict) -> dict[str, float]:
    """Seconds by what they are drawn as."""
    ours = {k: v for k, v in record["median"].items() if k == "gmmx_eqx"}
    return ours | peers(record["median"]) | {"products alone": limit_of(record)}


def sweep(records: list[dict], dtype: str, name: str) -> list[dict]:
    """Those in which only `name` differs from the centre of the grids, by size."""
    fixed = {**CENTRE, "dtype": dtype, "covariance_type": "full"}
    del fixed[name]
    found = [
        record
        for record in records
        if all(record["problem"][key] == value for key, value in fixed.items())
    ]
    return sorted(found, key=lambda record: record["problem"][name])


def draw(ax: Axes, records: list[dict], name: str) -> None:
    for label, style in STYLES.items():
        points = [
            (record["problem"][name], 1e3 * values(record)[label])
            for record in records
            if label in values(record)
        ]
        if points:
            ax.plot(*zip(*points, strict=True), label=label, markersize=5, **style)
    sizes = [record["problem"][name] for record in records]
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def print_tables(records: list[dict]) -> None:
    """In Markdown: every point, with the peak of memory in MiB."""
    labels = list(STYLES)
    print("| type | family | samples | features | components |", end=" ")
    print(" | ".join(labels), "| at its best | MiB |")
    print("|---|---|" + "---:|" * (len(labels) + 5))
    for record in records:
        problem, found = record["problem"], values(record)
        keys = ("dtype", "covariance_type", "n_samples", "n_features", "n_components")
        cells = [str(problem[key]) for key in keys]
        cells += [f"{1e3 * found[n]:.3g}" if n in found else "" for n in labels]
        best = found["products alone"] / found["gmmx_eqx"]
        cells += [f"{best:.0%}", f"{record['peak_MiB']['gmmx_eqx']:.0f}"]
        print("| " + " | ".join(cells) + " |")
    summarise(records)


if __name__ == "__main__":
    main()
