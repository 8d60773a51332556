"""Small tables of text, for a prompt or a notebook."""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


GAP = "..."
# Between columns.
_SPACE = "  "
# Of numbers in a column, beside a largest one whose digits are all shown.
_DIGITS = 4


class Table(NamedTuple):
    """Lines of text, and a table below them.

    **Attributes:**

    - `title`: the lines.
    - `head`: the names of the columns.
    - `rows`: as many texts each.
    """

    title: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Columns flush right, two spaces apart."""
        columns = zip(self.head, *self.rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        lines = [
            _SPACE.join(
                cell.rjust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in (self.head, *self.rows)
        ]
        return "\n".join([*self.title, *lines])

    def split(self, most: int) -> tuple["Table", ...]:
        """As few tables as are no wider than `most`, and about as wide as each other.
        Each has the first column, and the first table has the lines."""
        texts = list(zip(self.head, *self.rows, strict=True))
        first, *widths = (max(map(len, column)) + len(_SPACE) for column in texts)
        most -= first - len(_SPACE)
        n_tables = len(_runs(widths, most))
        evenly = (_runs(widths, limit) for limit in range(most + 1))
        runs = next((r for r in evenly if len(r) <= n_tables), _runs(widths, most))
        part = lambda row, run: (row[0], *(row[1 + i] for i in run))
        return tuple(
            Table(
                () if i else self.title,
                part(self.head, run),
                tuple(part(row, run) for row in self.rows),
            )
            for i, run in enumerate(runs)
        )

    def html(self) -> str:
        """The same in HTML."""
        title = "<br>".join(map(html.escape, self.title))
        title = title and f"<p>{title}</p>"
        head = _html_row("th", self.head)
        body = "".join(_html_row("td", row) for row in self.rows)
        return (
            f"<div>{title}<table><thead>{head}</thead>"
            f"<tbody>{body}</tbody></table></div>"
        )


def _runs(widths: list[int], most: int) -> list[range]:
    """Columns that follow each other, as many as fit into each run."""
    runs, begin, used = [], 0, 0
    for i, width in enumerate(widths):
        if i > begin and used + width > most:
            runs.append(range(begin, i))
            begin, used = i, 0
        used += width
    return [*runs, range(begin, len(widths))]


def _html_row(tag: str, cells: Sequence[str]) -> str:
    inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"


def as_column(values: np.ndarray) -> list[str]:
    """Numbers with as many decimals as the largest needs for four digits; each with
    four digits of its own if they are very large, or small beside the largest."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not sizes.size:
        return [f"{value:.{_DIGITS - 1}f}" for value in values]
    largest = np.max(sizes)
    if largest >= 1e6 or np.min(sizes) < max(1e-3 * largest, 1e-4):
        return [f"{value:.{_DIGITS}g}" for value in values]
    decimals = max(0, _DIGITS - 1 - int(np.floor(np.log10(largest))))
    return [f"{value:.{decimals}f}" for value in values]


def ends(n: int, most: int, n_last: int) -> list[int | None]:
    """Indices of `n`, or of the first and the `n_last` last, `most` in all, with `None`
    for those between."""
    if n <= most:
        return list(range(n))
    return [*range(most - n_last), None, *range(n - n_last, n)]
