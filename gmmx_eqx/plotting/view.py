from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from .arrays import Components, Points


# How far a component is followed, in standard deviations: to where the outermost
# contour of a single one is.
_REACH = 3.05
_MARGIN = 0.04
# Points of a grid that a component gets along each axis, however narrow it is.
_OWN = np.linspace(-4, 4, 33)


class View(NamedTuple):
    """What is shown of each feature."""

    low: Float[np.ndarray, " features"]
    high: Float[np.ndarray, " features"]

    @classmethod
    def of(
        cls, parts: Components, points: Points, sigmas: Sequence[float | int] = ()
    ) -> "View":
        """All samples, and all components with ellipses at `sigmas`."""
        means = parts.means[parts.present]
        reach = max([_REACH, *sigmas]) * parts.deviations[parts.present]
        ends = np.concatenate([means - reach, means + reach, points.x])
        low, high = np.min(ends, axis=0), np.max(ends, axis=0)
        # Numbers of this size have to differ.
        least = 1e3 * np.spacing(np.maximum(np.abs(low), np.abs(high)))
        margin = np.maximum(_MARGIN * (high - low), least)
        return cls(low - margin, high + margin)

    def grid(self, parts: Components, feature: int, size: int) -> np.ndarray:
        """So many numbers, denser where components are: a narrow one is not missed."""
        low, high = self.low[feature], self.high[feature]
        means = parts.means[parts.present, feature, None]
        own = means + parts.deviations[parts.present, feature, None] * _OWN
        inside = own[(own > low) & (own < high)]
        every = np.unique(np.concatenate([np.linspace(low, high, size), inside]))
        chosen = np.linspace(0, len(every) - 1, size).round().astype(int)
        return every[chosen]

    def show(self, ax: Axes, *, fresh: bool) -> None:
        """Sets the limits of axes; unless `fresh`, what they show is still shown."""
        for axis, low, high in zip("xy", self.low, self.high, strict=False):
            ends = (
                [low, high] if fresh else [low, high, *getattr(ax, f"get_{axis}lim")()]
            )
            ax.set(**{f"{axis}lim": (min(ends), max(ends))})
