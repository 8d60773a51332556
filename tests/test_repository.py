"""What the files around the package say of each other."""

import pathlib
import re
import tomllib

import pytest

import gmmx_eqx as gx


pytestmark = pytest.mark.x64  # no floats in it: one world is enough

ROOT = pathlib.Path(__file__).parents[1]
# Extras of developers' tools; the others are for users, and have lower bounds.
TOOLS = ("ruff", "lint", "docs", "coverage", "wheel")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def tools() -> dict[str, str]:
    """Requirements of the tools, by name; extras of the library's own left out."""
    requirements = [r for extra in TOOLS for r in EXTRAS[extra] if "gmmx_eqx[" not in r]
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in requirements]
    assert len(set(names)) == len(names), "a tool that stands in two extras"
    return dict(zip(names, requirements, strict=True))


@pytest.mark.parametrize("name", tools())
def test_a_tool_has_one_exact_version(name):
    assert re.fullmatch(r"[\w-]+==\d+(\.\d+)+", tools()[name])


def files_with_commands() -> list[pathlib.Path]:
    workflows = sorted((ROOT / ".github" / "workflows").iterdir())
    return [ROOT / "Makefile", ROOT / ".pre-commit-config.yaml", *workflows]


@pytest.mark.parametrize("path", files_with_commands(), ids=lambda path: path.name)
def test_no_version_of_a_tool_stands_elsewhere(path):
    """Nor is a tool installed there, with whatever version is newest."""
    text = path.read_text("utf-8")
    assert not re.search(r"^\s*(- )?(rev|additional_dependencies):", text, re.M)
    for line in re.findall(r"^.*\binstall\b.*$", text, re.M):
        assert "==" not in line
        named = set(re.findall(r"[\w-]+", line.split("install", 1)[1]))
        assert not named & set(tools()), line


def test_the_changelog_begins_with_what_is_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[0] == "Unreleased"
    released = [tuple(map(int, heading.split("."))) for heading in headings[1:]]
    assert released == sorted(set(released), reverse=True)
    assert headings[1] == gx.__version__
