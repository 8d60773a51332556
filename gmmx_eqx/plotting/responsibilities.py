from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .._mixture import AbstractGaussianMixture
from .arrays import Components, Points, proba
from .axes import axes_or_new
from .palette import style


# With more components their numbers would be written over each other.
_MOST_LABELLED = 15


def plot_responsibilities(
    mixture: AbstractGaussianMixture,
    x: Any,
    *,
    sample_weight: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """The responsibilities of every sample, as bars one on the other.

    Samples are sorted by their most probable component, and within it by how sure that
    is, so that the borders between blocks show how much components overlap. Works for
    any number of features.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`.
    - `sample_weight`: shape `(n_samples,)`: the widths of the bars.
    - `ax`: the axes to draw in; those of a new figure if not given.

    **Returns:**

    The axes.

    **Raises:**

    `ValueError` for an ensemble, or data with other features than the mixture's.
    """
    parts = Components.of(mixture)
    points = Points.of(mixture, x, sample_weight)
    resp = proba(mixture, points)
    label = np.argmax(resp, axis=1)
    order = np.lexsort((-np.max(resp, axis=1), label))
    resp, label, weight = resp[order], label[order], points.weight[order]
    edges = np.concatenate([[0], np.cumsum(weight)])
    # The last bar, too, has a right edge.
    heights = np.concatenate([resp, resp[-1:]])
    ax = axes_or_new(ax, width=7.5, height=2.8)
    below = np.zeros(len(edges))
    blocks = {}
    # In the same order everywhere, so that a component is one band.
    for k in parts.present:
        above = below + heights[:, k]
        colour, _ = style(k)
        ax.fill_between(edges, below, above, step="post", color=colour, lw=0)
        below = above
        own = np.flatnonzero(label == k)
        if own.size:
            blocks[k] = edges[own[0]], edges[own[-1] + 1]
    for _, end in list(blocks.values())[:-1]:
        ax.axvline(end, color="white", lw=1.2)
    ax.set(xlim=(0, edges[-1]), ylim=(0, 1), ylabel="responsibility")
    ax.set_xlabel("samples, by their most probable component")
    shown = blocks if len(blocks) <= _MOST_LABELLED else {}
    ax.set_xticks([(a + b) / 2 for a, b in shown.values()], [str(k) for k in shown])
    ax.tick_params(axis="x", length=0)
    return ax
