"""Formulas as MathML, which browsers draw by themselves: the built pages need no script
and nothing from the network for them. A hook of MkDocs."""

import html
import re
from typing import Any

import latex2mathml.converter


_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL
)


def _as_mathml(match: re.Match[str]) -> str:
    tag, bracket, formula = match.groups()
    display = "inline" if bracket == "(" else "block"
    drawn = latex2mathml.converter.convert(html.unescape(formula), display=display)
    return f'<{tag} class="formula">{drawn}</{tag}>'


def on_page_content(content: str, **_: Any) -> str:
    return _FORMULA.sub(_as_mathml, content)
