"""Formulas as MathML, which browsers draw by themselves: the built pages need no script
and nothing from the network for them. A hook of MkDocs."""

import html
import re
from typing import Any
from xml.etree import ElementTree

import latex2mathml.converter


_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL
)
# Functions such as log, which browsers take for variables or operators.
_WORD = re.compile(r"[A-Za-z]{2,}")
_SCRIPTS = ("msub", "msup", "msubsup", "munder")


def _is_function(element: ElementTree.Element) -> bool:
    """Whether this is a word such as log or max, perhaps with an index."""
    if element.tag in _SCRIPTS:
        return _is_function(element[0])
    return element.tag in ("mi", "mo") and bool(_WORD.fullmatch(element.text or ""))


def _space_functions(row: ElementTree.Element) -> None:
    """Sets words as TeX does: with a thin space to their argument, unless that is in
    parentheses, and to a factor before them."""
    for child in row:
        _space_functions(child)
    if row.tag not in ("mrow", "math", "mstyle"):
        return
    children = list(row)
    for child, before, after in zip(
        children, [None, *children], [*children[1:], None], strict=False
    ):
        if not _is_function(child):
            continue
        word = child[0] if child.tag in _SCRIPTS else child
        word.tag = "mi"
        if after is not None and after.text != "(":
            row.insert(list(row).index(child) + 1, _thin_space())
        if before is not None and before.tag != "mo" and not _is_function(before):
            row.insert(list(row).index(child), _thin_space())


def _thin_space() -> ElementTree.Element:
    return ElementTree.Element("mspace", width="0.167em")


def _draw(formula: str, display: str) -> str:
    # Without an entry in the table of latex2mathml, \arg would stay as it is.
    formula = formula.replace(r"\arg\max", r"\operatorname{argmax}")
    drawn = latex2mathml.converter.convert_to_element(formula, display=display)
    for element in drawn.iter():
        text = html.unescape(element.text or "")
        if text in ("~", "\N{TILDE OPERATOR}"):  # the relation, not the accent
            element.tag, text = "mo", "\N{TILDE OPERATOR}"
        if text == "|" and not element.attrib:  # of \lvert and \rvert: no operator
            element.attrib = {"lspace": "0", "rspace": "0"}
        element.text = text
    _space_functions(drawn)
    return ElementTree.tostring(drawn, encoding="unicode")


def _as_mathml(match: re.Match[str]) -> str:
    tag, bracket, formula = match.groups()
    formula = html.unescape(formula)
    if bracket == "(":
        return f'<{tag} class="formula">{_draw(formula, "inline")}</{tag}>'
    # What stands side by side may stand below each other on a narrow page.
    parts = [_draw(part, "block") for part in formula.split("\\qquad")]
    return f'<{tag} class="formula">{"".join(parts)}</{tag}>'


def on_page_content(content: str, **_: Any) -> str:
    content = _FORMULA.sub(_as_mathml, content)
    # A line does not begin with the comma after a formula.
    return re.sub(r"(</math>)(</span>)([.,;:)]+)", r"\1\3\2", content)
