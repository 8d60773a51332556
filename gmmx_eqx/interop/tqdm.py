import math
from typing import Any

from .._fit import AbstractProgress


class Bar(AbstractProgress):
    """A bar in a terminal or a notebook, whichever it runs in."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "`progress=True` needs tqdm: `pip install 'gmmx_eqx[progress]'`. A "
                "`gx.AbstractProgress` of your own does without it."
            ) from error
        self._make: Any = tqdm
        self._bar: Any = None

    def begin(self, unit: str, total: int | None) -> None:
        self._bar = self._make(total=total, unit=f" {unit}s", desc="EM")

    def update(self, n_done: int, log_likelihood: float, change: float) -> None:
        numbers = {}
        if not math.isnan(log_likelihood):
            numbers["log-likelihood"] = f"{log_likelihood:.6g}"
        if not math.isnan(change):
            numbers["change"] = f"{change:.1e}"
        self._bar.set_postfix(numbers, refresh=False)
        self._bar.update(n_done - self._bar.n)

    def end(self) -> None:
        self._bar.close()
