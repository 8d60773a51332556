"""How a mixture prints with its standard errors."""

import numpy as np

from .._core.axes import Axis
from .._core.table import as_column, ends, GAP, Table
from .._mixture import GaussianMixture


# Most components and features that are shown, and how many of them are the last ones.
_ROWS, _LAST_ROWS = 12, 3
_COLUMNS, _LAST_COLUMNS = 4, 1


def table_with_errors(
    title: str, mixture: GaussianMixture, errors: GaussianMixture
) -> Table | None:
    """Weights and means, each with its standard error; `None` of an ensemble.

    Compiles nothing.
    """
    if mixture.means.ndim != len(Axis):
        return None
    k, d = mixture.n_components, mixture.n_features
    rows = ends(k, _ROWS, _LAST_ROWS)
    shown = [i for i in rows if i is not None]
    columns = [["component", *(GAP if i is None else str(i) for i in rows)]]

    def add(name: str, values: np.ndarray, own: np.ndarray) -> None:
        # To as many digits as the errors have.
        digits = as_column(own[shown].astype(np.float64))
        cells = iter(
            f"{value:.{len(text.partition('.')[2])}f} ± {text}"
            for value, text in zip(values[shown], digits, strict=True)
        )
        columns.append([name, *(GAP if i is None else next(cells) for i in rows)])

    add("weight", mixture.weights_numpy, errors.weights_numpy)
    for i in ends(d, _COLUMNS, _LAST_COLUMNS):
        if i is None:
            columns.append([GAP] * (len(rows) + 1))
        else:
            name = "mean" if d == 1 else f"mean {i}"
            add(name, mixture.means_numpy[:, i], errors.means_numpy[:, i])
    head, *body = zip(*columns, strict=True)
    return Table((title,), head, tuple(body))
