from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import FigureBase

from .._mixture import AbstractGaussianMixture
from .._ops.marginal import marginal
from .arrays import Components, indices_of, names_of, Points, proba
from .axes import axes_or_new
from .line import draw_line
from .palette import blend
from .plane import draw_plane
from .view import View


# Of a panel, in inches.
_SIZE = 2.1


def plot_pairs(
    mixture: AbstractGaussianMixture,
    x: Any = None,
    *,
    sample_weight: Any = None,
    features: Any = slice(None),
    names: Sequence[str] | None = None,
    sigmas: Sequence[float | int] = (1.0, 2.0),
    ax: FigureBase | np.ndarray | None = None,
) -> np.ndarray:
    """A mixture of any number of features, on the data if there is any: the marginals
    of single features on the diagonal, those of pairs below it.

    Each panel is as in [`gmmx_eqx.plotting.plot_mixture`][]. Responsibilities, which
    colour the samples, are those of the whole mixture in all panels.

    **Arguments:** as there, and

    - `features`: which to draw, and in which order: integers, a slice or a
        [`gmmx_eqx.Features`][]. `names` are of all features of the mixture.
    - `ax`: a figure or a subfigure, or an array of axes with a row and a column for
        each feature drawn; a new figure if not given.

    **Returns:**

    The array of axes. Those above the diagonal are hidden.

    **Raises:**

    `ValueError` for an ensemble, for data with other features than the mixture's, or
    for an array of axes of another shape.
    """
    whole = Components.of(mixture)
    points = Points.of(mixture, x, sample_weight)
    names = names_of(names, x, mixture.n_features)
    chosen = indices_of(features, mixture.n_features)
    panels = _panels(ax, len(chosen))
    colours = blend(proba(mixture, points))
    view = View.of(whole, points, sigmas)
    for (row, column), panel in np.ndenumerate(panels):
        if column > row:
            panel.set_visible(False)
            continue
        own = [chosen[column]] if row == column else [chosen[column], chosen[row]]
        shown = marginal(mixture, own), points.take(own)
        window = View(view.low[own], view.high[own])
        axes_or_new(panel)
        if row == column:
            draw_line(panel, *shown, window)
            panel.set(yticks=[])
            panel.spines["left"].set_visible(False)
        else:
            draw_plane(panel, *shown, colours, window, sigmas, small=True)
        window.show(panel, fresh=True)
        _label(panel, names[chosen[column]], names[chosen[row]], row, column, panels)
    return panels


def _label(
    panel: Any, across: str, up: str, row: int, column: int, panels: np.ndarray
) -> None:
    """Names and numbers at the edges of the grid alone."""
    at_bottom, at_left = row == len(panels) - 1, column == 0 and row > 0
    panel.set(xlabel=across if at_bottom else "", ylabel=up if at_left else "")
    panel.tick_params(labelbottom=at_bottom, labelleft=at_left)


def _panels(ax: FigureBase | np.ndarray | None, size: int) -> np.ndarray:
    if ax is None:
        side = _SIZE * max(size, 2)
        ax = plt.figure(figsize=(side, side), layout="constrained")
    if isinstance(ax, np.ndarray):
        if ax.shape != (size, size):
            raise ValueError(
                f"`ax` must be a figure or an array of axes of shape {(size, size)}; "
                f"its shape is {ax.shape}."
            )
        return ax
    return np.asarray(ax.subplots(size, size, squeeze=False))
