from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from .._fit import Population
from .axes import annotate, axes_or_new
from .palette import BLUE, VERMILLION


# With more optima their counts would be written over each other.
_MOST_ANNOTATED = 12
# So that a count of one is a line, too.
_BOTTOM = 0.7


def plot_optima(
    population: Population,
    *,
    nats: float = 1e-3,
    distance: float = 0.2,
    ax: Axes | None = None,
) -> Axes:
    """The optima that the starts of a population ended at: how likely each is, and how
    many starts ended there. The best is a diamond of another colour.

    **Arguments:**

    - `nats`, `distance`: which lanes are at the same optimum, as in
        `optima` of [`gmmx_eqx.Population`][].
    - `ax`: the axes to draw in; those of a new figure if not given.

    **Returns:**

    The axes.

    **Raises:**

    `ValueError` if no lane ended with a valid mixture.
    """
    optima = population.optima(nats, distance)
    if not optima:
        raise ValueError(
            "No lane of `population` ended with a valid mixture: see the `result` of "
            "its `solutions`."
        )
    values = [float(optimum.solution.log_likelihood) for optimum in optima]
    counts = [optimum.count for optimum in optima]
    ax = axes_or_new(ax, height=3.6)
    ax.vlines(values, _BOTTOM, counts, colors="0.75", lw=1.4, zorder=1)
    ax.plot(values[1:], counts[1:], "o", color=BLUE, ms=7, zorder=2)
    ax.plot(values[:1], counts[:1], "D", color=VERMILLION, ms=9, zorder=3)
    if len(optima) <= _MOST_ANNOTATED:
        colours = [VERMILLION, *[BLUE] * (len(optima) - 1)]
        for value, count, colour in zip(values, counts, colours, strict=True):
            annotate(ax, str(count), (value, float(count)), colour, offset=7.0)
    ax.set(yscale="log", ylim=(_BOTTOM, 2 * max(counts)))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="log-likelihood (nats)", ylabel="starts that ended there")
    ax.margins(x=0.08)
    return ax
