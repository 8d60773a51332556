import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .._fit import Solution
from .._fit.solution import best_lane_numpy
from .axes import axes_or_new
from .palette import BLUE


def plot_convergence(
    solution: Solution, *, changes: bool = False, ax: Axes | None = None
) -> Axes:
    """The log-likelihood after every step of a fit.

    A dot at the end is a fit that converged, a cross one that did not. Of many fits
    every lane is drawn, and the best on top.

    **Arguments:**

    - `solution`: of one fit or, with a leading axis, of many:
        `population.solutions`.
    - `changes`: whether to draw the sizes of the steps' changes instead, on a
        logarithmic scale. EM's are a straight line in the end, and the steeper it is
        the faster it converges: by the factor that
        [`gmmx_eqx.contraction_rate`][] gives.
    - `ax`: the axes to draw in; those of a new figure if not given.

    **Returns:**

    The axes.

    **Raises:**

    `ValueError` if the solution has more than one leading axis.
    """
    histories = _histories(solution)
    n_steps = np.atleast_1d(np.asarray(solution.n_steps))
    good = np.atleast_1d(np.asarray(solution.converged))
    ax = axes_or_new(ax)
    final = [_last(history) for history in histories]
    order = np.argsort(np.where(np.isnan(final), -np.inf, final), kind="stable")
    if len(histories) > 1:
        # The same of several that differ by rounding alone as `Population.best`.
        best = best_lane_numpy(solution)
        order = np.append(order[order != best], best)
    for position, lane in enumerate(order):
        is_best = position == len(order) - 1
        values = histories[lane][: n_steps[lane] + 1]
        steps = np.arange(len(values))
        if changes:
            steps, values = steps[1:], np.abs(np.diff(values))
            # A change of zero has no logarithm.
            values = np.where(values > 0, values, np.nan)
        colour, width = (BLUE, 2.0) if is_best else ("0.72", 0.8)
        zorder = 3 if is_best else 2
        ax.plot(steps, values, color=colour, lw=width, zorder=zorder)
        marker = {"marker": "o" if good[lane] else "x", "ms": 6 if is_best else 3}
        ax.plot(steps[-1:], values[-1:], color=colour, zorder=zorder, **marker)
    ax.set(xlabel="steps of EM", ylabel="log-likelihood (nats)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if changes:
        ax.set(yscale="log", ylabel="change of the log-likelihood (nats)")
    return ax


def _histories(solution: Solution) -> Float[np.ndarray, "lanes history"]:
    values = np.asarray(solution.objectives, float)
    if values.ndim > 2:
        raise ValueError(
            "`solution` must be of one fit or have one leading axis; it has "
            f"{values.ndim - 1}, {values.shape[:-1]}."
        )
    return np.atleast_2d(values)


def _last(history: np.ndarray) -> float:
    known = history[np.isfinite(history)]
    return float(known[-1]) if known.size else float("nan")
