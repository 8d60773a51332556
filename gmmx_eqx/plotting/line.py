"""A mixture of one feature."""

import numpy as np
from matplotlib.axes import Axes

from .._mixture import AbstractGaussianMixture
from .._ops.highest_density import HighestDensity
from .arrays import Components, Points
from .axes import annotate
from .palette import style
from .view import View


_GRID_SIZE = 512
_BINS = (12, 80)


def draw_line(
    ax: Axes,
    mixture: AbstractGaussianMixture,
    points: Points,
    view: View,
    annotated: bool = False,
    regions: HighestDensity | None = None,
) -> None:
    """A histogram, the density, and each component's share of it."""
    parts = Components.of(mixture)
    grid = view.grid(parts, 0, _GRID_SIZE)
    joint = np.asarray(mixture.estimate_log_prob(grid[:, None]), float)[:, :, 0, 0]
    shares = np.exp(joint)
    if len(points.x):
        ax.hist(
            points.x[:, 0],
            bins=_n_bins(points.x[:, 0]),
            weights=points.weight,
            density=True,
            color="0.88",
            ec="white",
            lw=0.6,
            label="data",
            zorder=0,
        )
    for k in parts.present:
        colour, dash = style(k)
        ax.fill_between(grid, shares[:, k], color=colour, alpha=0.12, lw=0, zorder=1)
        ax.plot(
            grid, shares[:, k], color=colour, ls=dash, lw=1.6, label=f"component {k}"
        )
        if annotated:
            top = int(np.argmax(shares[:, k]))
            at = (float(grid[top]), float(shares[top, k]))
            annotate(ax, f"{parts.weights[k]:.0%}", at, colour)
    total = np.sum(shares, axis=1)
    ax.plot(grid, total, color="black", lw=1.8, label="mixture", zorder=4)
    if regions is not None:
        for share, height in zip(*heights_of(regions), strict=True):
            inside = np.where(total >= height, height, np.nan)
            ax.plot(grid, inside, color="black", lw=3, label=f"{share:.3g} %", zorder=5)
    ax.set_ylim(bottom=0)


def heights_of(regions: HighestDensity) -> tuple[np.ndarray, np.ndarray]:
    """Shares in percent, and the densities at which their regions end."""
    shares, thresholds = regions.shares, regions.log_thresholds
    return 100 * np.asarray(shares, float), np.exp(np.asarray(thresholds, float))


def _n_bins(values: np.ndarray) -> int:
    """By the rule of Freedman and Diaconis, but neither few nor very many."""
    low, high = np.quantile(values, (0.25, 0.75))
    width = 2 * (high - low) / len(values) ** (1 / 3)
    number = np.ptp(values) / width if width > 0 else _BINS[0]
    return int(np.clip(np.ceil(number), *_BINS))
