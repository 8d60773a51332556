from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .._mixture import AbstractGaussianMixture
from .arrays import Components, indices_of, names_of, Points, proba
from .axes import axes_or_new
from .palette import style
from .plane import ellipse


_MANY = 5000


def plot_uncertainty(
    mixture: AbstractGaussianMixture,
    x: Any,
    *,
    sample_weight: Any = None,
    features: Any = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How unsure the component of every sample is: one minus its largest
    responsibility, the chance that its label is wrong.

    Over two features it is the dots' colour and size, with a bar that says which is
    which and the components' ellipses at two standard deviations; over one it is the
    height.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`.
    - `sample_weight`: shape `(n_samples,)`. Samples of weight zero are left out.
    - `features`: one or two integers or a [`gmmx_eqx.Features`][]: what to draw it
        over; the first two features if not given.
    - `names`: of all features of the mixture; a data frame's columns if not given.
    - `ax`: the axes to draw in; those of a new figure if not given.

    **Returns:**

    The axes.

    **Raises:**

    `ValueError` for an ensemble, data with other features than the mixture's, or more
    than two `features`.
    """
    parts = Components.of(mixture)
    points = Points.of(mixture, x, sample_weight)
    names = names_of(names, x, mixture.n_features)
    features = slice(2) if features is None else features
    own = indices_of(features, mixture.n_features)
    if len(own) > 2:
        raise ValueError(f"`features` must be one or two; got {len(own)}, {own}.")
    unsure = 1 - np.max(proba(mixture, points), axis=1)
    # The most unsure on top.
    order = np.argsort(unsure, kind="stable")
    unsure, shown = unsure[order], points.x[order][:, own]
    ax = axes_or_new(ax)
    # Unsure between two components is a half; between more it can be larger.
    top = max(0.5, float(np.max(unsure)))
    colours: Any = {"c": unsure, "cmap": "cividis_r", "vmin": 0, "vmax": top}
    colours |= {"ec": "0.35", "lw": 0.3, "zorder": 2, "rasterized": len(shown) > _MANY}
    if len(own) == 1:
        ax.scatter(shown[:, 0], unsure, s=14, **colours)
        ax.set(ylim=(-0.02 * top, 1.04 * top), ylabel="chance that the label is wrong")
        ax.set_xlabel(names[own[0]])
        return ax
    dots = ax.scatter(*shown.T, s=10 + 50 * unsure / top, **colours)
    for k in parts.present:
        covariance = parts.covariances[k][np.ix_(own, own)]
        colour, dash = "0.45", style(k).dash
        line: Any = {"color": colour, "ls": dash, "lw": 1, "fill": False, "zorder": 1}
        ax.add_patch(ellipse(parts.means[k][own], covariance, 2, **line))
    ax.autoscale_view()
    ax.set(xlabel=names[own[0]], ylabel=names[own[1]])
    label = "chance that the label is wrong"
    ax.figure.colorbar(dots, ax=ax, label=label)
    return ax
