"""Draws `docs/images/speed.png` from `benchmarks/results/em_step_full.json`."""

import json
import pathlib

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt

from .__main__ import CENTRE, limit_of, peers, RESULTS


AXES = {"n_components": "components", "n_features": "features", "n_samples": "samples"}
STYLES = {
    "scikit-learn": ("o-", "#E69F00"),
    "gmmx": ("s-", "#009E73"),
    "gmmx_eqx": ("D-", "#0072B2"),
}


def main() -> None:
    path = RESULTS / "em_step_full.json"
    records = json.loads(path.read_text())["records"]
    records = [r for r in records if r["problem"]["covariance_type"] == "full"]
    figure, grid = plt.subplots(
        2, 3, figsize=(10, 6), sharey=True, layout="constrained"
    )
    for row, dtype in zip(grid, ("float32", "float64"), strict=True):
        for axes, (axis, word) in zip(row, AXES.items(), strict=True):
            draw(axes, [r for r in records if r["problem"]["dtype"] == dtype], axis)
            axes.set_xlabel(f"{word} ({others(axis)})")
        row[0].set_ylabel(f"{dtype}: milliseconds a step")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(pathlib.Path("docs/images/speed.png"), dpi=150)


def others(axis: str) -> str:
    letters = {"n_components": "K", "n_features": "D", "n_samples": "N"}
    rest = [f"{letters[name]} = {CENTRE[name]}" for name in AXES if name != axis]
    return ", ".join(rest)


def draw(axes, records: list[dict], axis: str) -> None:
    fixed = {name: value for name, value in CENTRE.items() if name != axis}
    chosen = [
        r
        for r in records
        if all(r["problem"][name] == value for name, value in fixed.items())
    ]
    chosen.sort(key=lambda r: r["problem"][axis])
    for name, (style, colour) in STYLES.items():
        points = [
            (r["problem"][axis], 1e3 * value)
            for r in chosen
            for peer, value in (peers(r["median"]) | ours(r)).items()
            if peer == name
        ]
        if points:
            axes.plot(*zip(*points, strict=True), style, color=colour, label=name, ms=4)
    limit = [(r["problem"][axis], 1e3 * limit_of(r)) for r in chosen]
    axes.plot(*zip(*limit, strict=True), "k:", label="matrix products alone")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)


def ours(record: dict) -> dict[str, float]:
    return {k: v for k, v in record["median"].items() if k == "gmmx_eqx"}


if __name__ == "__main__":
    main()
