"""Formulas as MathML, which browsers draw by themselves: the built pages need no script
and nothing from the network for them. A hook of MkDocs."""

import html
import re
from typing import Any

import latex2mathml.converter


_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL
)


def _draw(formula: str, display: str) -> str:
    drawn = latex2mathml.converter.convert(formula, display=display)
    # The relation, not the accent.
    return drawn.replace("<mo>&#x0007E;</mo>", "<mo>&#x0223C;</mo>")


def _as_mathml(match: re.Match[str]) -> str:
    tag, bracket, formula = match.groups()
    formula = html.unescape(formula)
    if bracket == "(":
        return f'<{tag} class="formula">{_draw(formula, "inline")}</{tag}>'
    # What stands side by side may stand below each other on a narrow page.
    parts = [_draw(part, "block") for part in formula.split("\\qquad")]
    return f'<{tag} class="formula">{"".join(parts)}</{tag}>'


def on_page_content(content: str, **_: Any) -> str:
    return _FORMULA.sub(_as_mathml, content)
