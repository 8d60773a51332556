from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb


# Okabe and Ito's colours, which can be told apart by the colour-blind, without the two
# that are too faint or too dark on white. Dark and light ones take turns, for print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
BLUE, VERMILLION = COLOURS[0], COLOURS[4]
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "^", "D", "s", "v", "P", "X")


class Style(NamedTuple):
    """How a component is drawn, in every picture the same."""

    colour: str
    dash: str


def style(component: int) -> Style:
    """Colours come again after six components, with another dash."""
    n_turns, index = divmod(component, len(COLOURS))
    return Style(COLOURS[index], DASHES[n_turns % len(DASHES)])


def blend(resp: Float[np.ndarray, "n components"]) -> Float[np.ndarray, "n 3"]:
    """The components' colours, mixed as the responsibilities are."""
    colours = np.array([to_rgb(style(k).colour) for k in range(resp.shape[1])])
    return np.clip(resp @ colours, 0, 1)
