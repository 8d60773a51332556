import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.4) -> Axes:
    """The axes given, or those of a new figure of this size in inches."""
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def annotate(
    ax: Axes, text: str, at: tuple[float, float], colour: str, offset: float = 4.0
) -> Annotation:
    """Bold text so many points above a place, readable on whatever is below it."""
    return ax.annotate(
        text,
        at,
        xytext=(0, offset),
        textcoords="offset points",
        color=colour,
        weight="bold",
        ha="center",
        va="bottom",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        annotation_clip=True,
        zorder=5,
    )
