"""The documentation leaves no public name out; `test_pages.py` runs it."""

import importlib
import json
import pathlib
import re
import sys

import pytest

import gmmx_eqx as gx

from .public_names import public_objects


ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"

# A block, and what it prints if the page says so.
_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
_FORMULA = re.compile(r"(\$\$?)([^$]+?)\1")
_OBJECT = re.compile(r"^::: gmmx_eqx\.([\w.]+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


def _read(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")


def _pages() -> list[pathlib.Path]:
    return [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def _names(pages: list[pathlib.Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.x32
def test_one_version():
    """The package's own, wherever it is repeated."""
    for page in ("CITATION.cff", "docs/cite.md"):
        found = re.findall(r"version(?: =|:) \{?([0-9.]+)", _read(ROOT / page))
        assert found[-1] == gx.__version__, page


@pytest.mark.x32
def test_workflows():
    """What is tested on a forge is what the package says it supports."""
    text = _read(ROOT / ".github" / "workflows" / "ci.yml")
    (tested,) = re.findall(r"^ +python: (\[.*\])$", text, re.MULTILINE)
    supported = re.findall(r"Python :: (3\.\d+)", _read(ROOT / "pyproject.toml"))
    assert json.loads(tested) == supported
    targets = set(re.findall(r"^(\w+):", _read(ROOT / "Makefile"), re.MULTILINE))
    used = set(re.findall(r"run: make (\w+)", text))
    assert used and used <= targets


@pytest.mark.x32
def test_readme_is_short():
    """Some forty lines, with the example of the front page, of at most eight."""
    text = re.sub(r"^<!--.*-->$", "", _read(README), flags=re.MULTILINE)
    assert len([line for line in text.splitlines() if line.strip()]) <= 50
    example, front = _BLOCK.search(text), _BLOCK.search(_read(DOCS / "index.md"))
    assert example is not None and front is not None
    assert example[0] == front[0] and example[2] is not None
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 8


@pytest.mark.x32
def test_api_pages_have_every_public_name():
    documented = [
        name
        for page in (DOCS / "api").glob("*.md")
        for name in _OBJECT.findall(_read(page))
    ]
    # Those of modules that have to be imported are not attributes of the package.
    elsewhere = ("interop.", "plotting.", "sklearn.")
    documented = [name for name in documented if not name.startswith(elsewhere)]
    assert sorted(documented) == sorted(public_objects())


@pytest.mark.x32
def test_formulas_are_drawn():
    """No macro is left over that the converter does not know."""
    sys.path.append(str(DOCS))
    try:
        draw = importlib.import_module("mathml")._draw
    finally:
        sys.path.remove(str(DOCS))
    sources = [*DOCS.rglob("*.md"), *(ROOT / "gmmx_eqx").rglob("*.py")]
    texts = [
        re.sub(r"```.*?```|`[^`]*`", "", _read(p), flags=re.DOTALL) for p in sources
    ]
    formulas = [m[2] for text in texts for m in _FORMULA.finditer(text)]
    assert len(formulas) > 300
    assert [f for f in formulas if "\\" in draw(f, "inline")] == []


@pytest.mark.x32
def test_extending_pages_have_every_abstract_class():
    """In an example or, where nobody needs one, by a link."""
    text = "".join(_read(page) for page in (DOCS / "extending").glob("*.md"))
    abstract = {name for name in set(public_objects()) if "Abstract" in name}
    assert len(abstract) > 5
    shown = lambda name: f"(gx.{name})" in text or f"[`gmmx_eqx.{name}`][]" in text
    assert {name for name in abstract if not shown(name)} == set()


@pytest.mark.x32
@pytest.mark.parametrize("page", _names(_pages()))
def test_links_lead_somewhere(page):
    path = ROOT / page
    targets = [path.parent / target for target in _LINK.findall(_read(path))]
    assert [target for target in targets if not target.exists()] == []
