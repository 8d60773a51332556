"""A mixture of two features."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse

from .._mixture import AbstractGaussianMixture
from .._ops.highest_density import HighestDensity
from .arrays import Components, Points
from .axes import annotate
from .palette import style
from .view import View


_GRID_SIZE = 140
# The share of all probability within each contour.
_SHARES = (0.99, 0.95, 0.8, 0.6, 0.4, 0.2)
_N_SAMPLES = 4000
# From the outermost contour inwards.
_SHADES = ("0.97", "0.945", "0.92", "0.89", "0.86", "0.83")
# Points beyond which dots become one image in a vector graphic.
_MANY = 5000


def draw_plane(
    ax: Axes,
    mixture: AbstractGaussianMixture,
    points: Points,
    colours: Float[np.ndarray, "n 3"],
    view: View,
    sigmas: Sequence[float | int],
    annotated: bool = False,
    small: bool = False,
) -> None:
    """Contours of the density, samples in the given colours, and ellipses."""
    parts = Components.of(mixture)
    _draw_density(ax, mixture, parts, view)
    if len(points.x):
        ax.scatter(
            *points.x.T,
            s=points.sizes * (0.4 if small else 1),
            c=colours,
            lw=0.4 if len(points.x) < 1000 and not small else 0,
            ec="white",
            zorder=2,
            rasterized=len(points.x) > _MANY,
        )
    for k in parts.present:
        colour, dash = style(k)
        for i, sigma in enumerate(sorted(sigmas)):
            width = (2.0 if i == 0 else 1.2) * (0.7 if small else 1)
            ax.add_patch(
                ellipse(
                    parts.means[k],
                    parts.covariances[k],
                    sigma,
                    color=colour,
                    ls=dash,
                    lw=width,
                    fill=False,
                    zorder=3,
                )
            )
        if annotated:
            covariance = parts.covariances[k]
            up = max(sigmas, default=0) * covariance[1] / np.sqrt(covariance[1, 1])
            x, y = (parts.means[k] + up).tolist()
            annotate(ax, f"{parts.weights[k]:.0%}", (x, y), colour)


def ellipse(
    mean: np.ndarray, covariance: np.ndarray, sigmas: float | int, **kwargs: object
) -> Ellipse:
    """Where the Mahalanobis distance from the mean is `sigmas`."""
    # In closed form: a decomposition has the smaller axis to within rounding of the
    # larger one, and with features in different units the ellipse would be a line.
    (a, c), (_, b) = covariance
    large, small = max(a, b), min(a, b)
    half = 0.5 * np.hypot(a - b, 2 * c)
    long = 0.5 * (a + b) + half
    # What the other feature leaves; rounding can make it negative.
    short = max(small - c * (c / large), 0) * (large / long)
    turn = 0.5 * np.arctan2(2 * c, abs(a - b))
    # At most 45 degrees from the axis of the feature that varies more.
    width, height, angle = (long, short, turn) if a >= b else (short, long, -turn)
    return Ellipse(
        tuple(mean),
        2 * sigmas * np.sqrt(width),
        2 * sigmas * np.sqrt(height),
        angle=np.degrees(angle),
        **kwargs,  # pyright: ignore[reportArgumentType]  # properties of a patch
    )


def draw_regions(
    ax: Axes, mixture: AbstractGaussianMixture, regions: HighestDensity, view: View
) -> None:
    """Contours around regions of highest density, with their shares."""
    across, up, heights = _on_grid(mixture, Components.of(mixture), view)
    # From the outermost inwards, as thresholds rise.
    levels = np.asarray(regions.log_thresholds, float)[::-1]
    shares = 100 * np.asarray(regions.shares, float)[::-1]
    # Two shares of few samples may have one threshold.
    levels, first = np.unique(levels, return_index=True)
    heights = np.maximum(heights, levels[0] - 50)
    lines = ax.contour(across, up, heights, levels, colors="black", linewidths=1.1)
    texts = [f"{share:.3g} %" for share in shares[first]]
    labels = dict(zip(levels.tolist(), texts, strict=True))
    ax.clabel(lines, fmt=labels, fontsize="small")


def _on_grid(
    mixture: AbstractGaussianMixture, parts: Components, view: View
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both axes of a grid, and the log-density on it."""
    across, up = (view.grid(parts, i, _GRID_SIZE) for i in (0, 1))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    values = np.asarray(mixture.log_prob(grid), float)
    return across, up, values.reshape(_GRID_SIZE, _GRID_SIZE)


def _draw_density(
    ax: Axes, mixture: AbstractGaussianMixture, parts: Components, view: View
) -> None:
    across, up = (view.grid(parts, i, _GRID_SIZE) for i in (0, 1))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    samples = parts.sample(_N_SAMPLES)
    # One call, so that it is one program.
    values = np.asarray(mixture.log_prob(np.concatenate([grid, samples])), float)
    on_grid, on_samples = values[: len(grid)], values[len(grid) :]
    levels = np.unique(np.quantile(on_samples, 1 - np.array(_SHARES)))
    # Far away a logarithm is so small that nothing can be interpolated.
    heights = np.maximum(on_grid, levels[0] - 50).reshape(_GRID_SIZE, _GRID_SIZE)
    shades = _SHADES[-len(levels) :]
    fill = [*levels, max(np.max(heights), levels[-1]) + 1]
    ax.contourf(across, up, heights, fill, colors=shades, zorder=0)
    lines = {"colors": "0.72", "linewidths": 0.6, "linestyles": "solid"}
    ax.contour(across, up, heights, levels, zorder=1, **lines)
