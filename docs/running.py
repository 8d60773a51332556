"""Code of the documentation, run: blocks of pages, and scripts of the gallery.

The hook `pages.py` shows what comes of it when the site is built, and the tests run the
same.
"""

import contextlib
import io
import pathlib
import re
import runpy
import sys
import tempfile
import unittest.mock
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import jax
import matplotlib
import matplotlib.pyplot as plt

import gmmx_eqx as gx


ROOT = pathlib.Path(__file__).parents[1]
_STYLE = ROOT / "examples" / "style.mplstyle"

# A block of Python, what it prints if the page says so, and a place for its picture; or
# a check, which is not shown.
_PIECE = re.compile(
    r"^```python\n(?P<code>.*?)^```$"
    r"(?:\n\n```text\n(?P<text>.*?)^```$)?"
    r"(?:\n\n<!-- picture: (?P<picture>.*?) -->$)?"
    r"|^<!-- check\n(?P<check>.*?)^-->\n*",
    re.MULTILINE | re.DOTALL,
)
_OUTPUT = "\n\n``` {{ .text .output }}\n{}\n```"


class Shown(NamedTuple):
    """A page as readers see it, what was printed on it, and its pictures."""

    text: str
    printed: list[str]
    pictures: dict[str, bytes]  # PNG files, by name


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Families that are registered, figures and float64 mode end with the page."""
    x64 = jax.config.jax_enable_x64
    families = unittest.mock.patch.dict(gx.COVARIANCE)
    matplotlib.use("Agg")
    plt.close("all")
    with contextlib.ExitStack() as stack:
        stack.enter_context(families)
        stack.enter_context(warnings.catch_warnings(action="error"))
        # Other packages count on JAX's own rules of promotion.
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        stack.enter_context(plt.style.context(_STYLE))
        stack.enter_context(contextlib.chdir(ROOT))
        try:
            yield
        finally:
            plt.close("all")
            jax.config.update("jax_enable_x64", x64)


def _picture() -> bytes:
    """The only figure that is open."""
    numbers = plt.get_fignums()
    if len(numbers) != 1:
        raise ValueError(f"a picture is announced, and {len(numbers)} figures are open")
    file = io.BytesIO()
    plt.figure(numbers[0]).savefig(file, format="png", metadata={"Software": None})
    plt.close("all")
    return file.getvalue()


def run_page(text: str, name: str) -> Shown:
    """All blocks and checks of a page, one after the other, in one namespace."""
    printed, pictures = [], {}
    namespace = {"__name__": "page"}

    def run(piece: re.Match[str]) -> str:
        kind = "check" if piece["code"] is None else "code"
        # Line numbers of a traceback are those of the page.
        padding = "\n" * text[: piece.start(kind)].count("\n")
        output, bars = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(bars):
            exec(compile(padding + piece[kind], name, "exec"), namespace)
        printed.append(output.getvalue().rstrip())
        if kind == "check":
            return ""
        block = text[piece.start() : piece.end("code")] + "```"
        if piece["text"] is not None:
            if piece["text"].split() != printed[-1].split():
                raise ValueError(f"{name} shows\n{piece['text']}but has\n{printed[-1]}")
            block += f"\n\n```text\n{piece['text']}```"
        elif printed[-1]:
            block += _OUTPUT.format(printed[-1])
        if piece["picture"] is not None:
            file = f"{pathlib.Path(name).stem}-{len(pictures) + 1}.png"
            pictures[file] = _picture()
            what = " ".join(piece["picture"].split())
            block += f"\n\n![{what}]({file})"
        elif plt.get_fignums():
            raise ValueError(f"{name} draws a picture that it does not show:\n{block}")
        return block

    blocks = sum(piece["code"] is not None for piece in _PIECE.finditer(text))
    if blocks != text.count("```python"):
        raise ValueError(f"{name} has a block that would not be run")
    with _as_it_was():
        return Shown(_PIECE.sub(run, text), printed, pictures)


def run_script(path: pathlib.Path) -> tuple[str, bytes]:
    """What a script of the gallery prints, and its picture; run as a program."""
    output, notes = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        picture = pathlib.Path(folder) / "picture.png"
        arguments = [str(path), str(picture)]
        places = [str(path.parent), *sys.path]
        stack.enter_context(_as_it_was())
        stack.enter_context(unittest.mock.patch.object(sys, "argv", arguments))
        stack.enter_context(unittest.mock.patch.object(sys, "path", places))
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(notes))
        runpy.run_path(str(path), run_name="__main__")
        return output.getvalue().rstrip(), picture.read_bytes()
