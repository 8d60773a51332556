"""One style for the pictures of the examples, and where a script's picture goes."""

import pathlib
import sys

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


ROOT = pathlib.Path(__file__).parents[1]
plt.style.use(ROOT / "examples" / "style.mplstyle")


def save(figure: Figure) -> None:
    """Into the file that is named on the command line; by `--refresh`, over the picture
    of the documentation; otherwise into `pictures/`, which git ignores."""
    name = f"{pathlib.Path(sys.argv[0]).stem}.png"
    path = ROOT / "pictures" / name
    if sys.argv[1:] == ["--refresh"]:
        path = ROOT / "docs" / "images" / name
        if not path.exists():
            sys.exit(f"The documentation has no picture {name} that is kept.")
    elif sys.argv[1:]:
        path = pathlib.Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"Picture: {path}", file=sys.stderr)
