"""The pages of the API, as they are built, show every public name and every public
member of a public class, each with its signature and a line of what it is."""

import dataclasses
import enum
import html
import inspect
import pathlib
import re
from typing import Any

import equinox as eqx
import pytest

from .public_names import public_objects


ROOT = pathlib.Path(__file__).parents[1]

pytestmark = pytest.mark.x32

_HEADING = re.compile(r'<h\d id="gmmx_eqx\.([\w.]+)" class="doc doc-heading">')
_TEXT = re.compile(r"<p>(.*?)</p>", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a page says of one object, up to the next."""

    signature: str
    text: str


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> dict[str, Entry]:
    """By name after `gmmx_eqx.`; of the pages of the API alone, built as they are."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    site = tmp_path_factory.mktemp("site")
    config = load_config(
        str(ROOT / "mkdocs.yml"),
        docs_dir=str(ROOT / "docs" / "api"),
        site_dir=str(site),
        hooks=[],
    )
    config.nav = None
    build(config)
    found = {}
    for page in site.rglob("*.html"):
        # Names and what follows each, by turns.
        parts = _HEADING.split(page.read_text(encoding="utf-8"))[1:]
        found |= dict(zip(parts[::2], map(_entry, parts[1::2]), strict=True))
    return found


def _entry(text: str) -> Entry:
    text = text.split('<details class="mkdocstrings-source"')[0]
    signature, contents = "", text
    if "doc-signature" in text:
        signature, _, contents = text.partition("</code></pre>")
    lines = _TEXT.search(contents)
    return Entry(_plain(signature), _plain(lines[1]) if lines else "")


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text)).strip()


def _classes() -> dict[str, type]:
    return {n: v for n, v in public_objects().items() if inspect.isclass(v)}


def _members(cls: type) -> dict[str, type]:
    """The package's own public members of a class, and the class that defines each."""
    found = {}
    for parent in cls.__mro__:
        if parent.__module__.startswith("gmmx_eqx"):
            names = {*vars(parent), *inspect.get_annotations(parent)}
            for name in names:
                if not name.startswith("_"):
                    found.setdefault(name, parent)
    return found


def _has_signature(value: Any) -> bool:
    """Functions, and classes that are there to be called."""
    if inspect.isclass(value):
        is_enum = issubclass(value, (enum.Enum, eqx.Enumeration))
        return not is_enum and not value.__name__.startswith("Abstract")
    return callable(value)


def test_every_public_name(entries):
    missing = []
    for name, value in public_objects().items():
        entry = entries.get(name, Entry("", ""))
        if not entry.text or (_has_signature(value) and not entry.signature):
            missing.append(name)
    assert missing == []


def test_every_public_member(entries):
    """By the class itself, or by another that has it from the same place: the methods
    of covariances are explained once."""
    shown = set()
    for name, cls in _classes().items():
        for parent in cls.__mro__:
            for member in _members(parent):
                entry = entries.get(f"{name}.{member}")
                if entry and entry.signature and entry.text:
                    shown.add((_members(cls)[member], member))
    missing = [
        f"{name}.{member}"
        for name, cls in _classes().items()
        for member in _members(cls)
        if not any((parent, member) in shown for parent in cls.__mro__)
    ]
    assert missing == []
