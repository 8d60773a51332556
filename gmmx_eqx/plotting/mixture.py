from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from .._core.describe import check_instance
from .._mixture import AbstractGaussianMixture
from .._ops.highest_density import HighestDensity
from .arrays import Components, names_of, Points, proba
from .axes import axes_or_new
from .line import draw_line
from .palette import blend
from .plane import draw_plane, draw_regions
from .view import View


# With more components their weights would be written over each other.
_MOST_ANNOTATED = 8


def plot_mixture(
    mixture: AbstractGaussianMixture,
    x: Any = None,
    *,
    sample_weight: Any = None,
    names: Sequence[str] | None = None,
    sigmas: Sequence[float | int] = (1.0, 2.0),
    annotate: bool | None = None,
    regions: HighestDensity | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A mixture of one or two features, on the data if there is any.

    Of one feature: a histogram, the density in black and each component's weighted
    density, whose sum that is. Of two: the samples, in the components' colours mixed as
    their responsibilities are; an ellipse around each component at each of `sigmas`;
    and contours of the density, which hold 20, 40, 60, 80, 95 and 99 % of all
    probability. Colours come again after six components, with another dash.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`.
    - `sample_weight`: shape `(n_samples,)`: heights in the histogram, areas of dots.
    - `names`: of the features; a data frame's columns if not given.
    - `sigmas`: radii of ellipses, in standard deviations; empty for none.
    - `annotate`: whether each component's weight is written at it. If not given, where
        there are at most eight.
    - `regions`: from [`gmmx_eqx.highest_density`][] of the mixture. Over two features
        they are contours in black with their shares; over one, where the density is
        above the threshold, lines at its height.
    - `ax`: the axes to draw in; those of a new figure if not given.

    **Returns:**

    The axes.

    **Raises:**

    `ValueError` for a mixture of more than two features, an ensemble, or data with
    other features than the mixture's.

    ??? cite "Reference"

        Hyndman (1996), Computing and Graphing Highest Density Regions. The American
        Statistician 50(2), 120-126. The levels of the contours.
    """
    parts = Components.of(mixture)
    if mixture.n_features > 2:
        raise ValueError(
            f"`mixture` has {mixture.n_features} features, and one or two can be drawn "
            "in one plot. Use `plot_pairs`, or choose two with `gmmx_eqx.marginal`."
        )
    if regions is not None:
        check_instance(regions, HighestDensity, "regions", "highest_density(mixture)")
    points = Points.of(mixture, x, sample_weight)
    names = names_of(names, x, mixture.n_features)
    if annotate is None:
        annotate = len(parts.present) <= _MOST_ANNOTATED
    view = View.of(parts, points, sigmas)
    ax = axes_or_new(ax)
    fresh = not ax.has_data()
    if mixture.n_features == 1:
        draw_line(ax, mixture, points, view, annotate, regions)
        ax.set(xlabel=names[0], ylabel="density")
    else:
        colours = blend(proba(mixture, points))
        draw_plane(ax, mixture, points, colours, view, sigmas, annotate)
        if regions is not None:
            draw_regions(ax, mixture, regions, view)
        ax.set(xlabel=names[0], ylabel=names[1])
    view.show(ax, fresh=fresh)
    return ax
