from matplotlib.axes import Axes

from .._fit import Selection
from .axes import axes_or_new
from .palette import MARKERS, VERMILLION


# Below, differences of a criterion are drawn as they are, above by their logarithm. A
# difference of ten is "very strong" evidence (Kass, Raftery 1995).
_LINEAR = 10.0


def plot_selection(
    table: Selection, *, criterion: str | None = None, ax: Axes | None = None
) -> Axes:
    """By how much the criterion of every cell of a table exceeds that of the best,
    against the number of components, with a line for each family.

    The family that wins is coloured, and a ring marks the best cell. The scale is
    linear up to ten and logarithmic above. Cells all of whose fits failed are left out.

    **Arguments:**

    - `table`: a [`gmmx_eqx.Selection`][].
    - `criterion`: `"bic"`, `"aic"` or `"icl"`; the table's own if not given.
    - `ax`: the axes to draw in; those of a new figure if not given.

    **Returns:**

    The axes.

    **Raises:**

    `ValueError` if there is no such criterion, or no fit ended with a valid mixture.
    """
    table = table.by(criterion)
    best, cells = table.best, table.ranking
    value_of = lambda cell: getattr(cell, table.criterion)
    ax = axes_or_new(ax)
    families = list(
        dict.fromkeys(cell.covariance_type for cell in table.cells if cell.is_valid)
    )
    for i, family in enumerate(families):
        own = [cell for cell in cells if cell.covariance_type == family]
        own.sort(key=lambda cell: cell.n_components)
        wins = family == best.covariance_type
        ax.plot(
            [cell.n_components for cell in own],
            [value_of(cell) - value_of(best) for cell in own],
            label=family,
            color=VERMILLION if wins else "0.42",
            marker=MARKERS[i % len(MARKERS)],
            ms=5,
            lw=2 if wins else 1.2,
            zorder=3 if wins else 2,
        )
    ring = {"ms": 13, "mfc": "none", "mec": VERMILLION, "mew": 1.4, "clip_on": False}
    ax.plot([best.n_components], [0], "o", zorder=4, **ring)
    ax.set_yscale("symlog", linthresh=_LINEAR, linscale=0.6)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xticks(sorted({cell.n_components for cell in table.cells}))
    name = table.criterion.upper()
    ax.set(xlabel="number of components")
    ax.set(ylabel=f"{name} minus the best, {value_of(best):.1f}")
    ax.legend(frameon=False)
    return ax
