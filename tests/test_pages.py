"""The code of pages and of the gallery, run as when the site is built."""

import importlib.util
import pathlib
import re
import sys

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from gmmx_eqx._core import cache, kept


# What readers meet, with JAX as it comes.
pytestmark = pytest.mark.x32

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("[!_]*.py"))
WITH_A_PAGE = {page.stem for page in (ROOT / "docs" / "examples").glob("*.md")}
# Tested with fewer starts in `test_examples.py`.
LONG = {"old_faithful"}
PNG = b"\x89PNG"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


running = load(ROOT / "docs" / "running.py")


def pages():
    every = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    every += (ROOT / "docs").rglob("*.md")
    with_code = [page for page in every if "```python" in page.read_text("utf-8")]
    return sorted(str(page.relative_to(ROOT)) for page in with_code)


def files_of_the_tree():
    """When each was written; of text, which may be edited meanwhile, no more than that
    it is there."""
    found = [*ROOT.glob("*"), *EXAMPLES.rglob("*"), *(ROOT / "docs").rglob("*")]
    files = [path for path in found if path.is_file() and path.suffix != ".pyc"]
    is_text = lambda path: path.suffix in (".md", ".py")
    return {str(p): None if is_text(p) else p.stat().st_mtime_ns for p in files}


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A folder for a cache of programs that a page sets up, and none afterwards."""
    monkeypatch.setattr(cache, "_default_folder", lambda: tmp_path)
    monkeypatch.setattr(kept, "_folder", None)
    # So that it is taken away in the end.
    monkeypatch.setenv("GMMX_EQX_CACHE", "")
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.mark.parametrize("page", pages())
def test_pages_run_and_show_what_they_print(page, own_cache):
    before = files_of_the_tree()
    shown = running.run_page((ROOT / page).read_text("utf-8"), page)
    squeezed = "".join(shown.text.split())
    assert all("".join(printed.split()) in squeezed for printed in shown.printed)
    assert all(f"]({name})" in shown.text for name in shown.pictures)
    assert all(picture.startswith(PNG) for picture in shown.pictures.values())
    assert "<!-- check" not in shown.text and "<!-- picture" not in shown.text
    assert files_of_the_tree() == before


def test_what_a_block_prints_and_draws_stands_below_it():
    shown = running.run_page(
        "```python\nprint(1 + 1)\n```\n\nText.\n\n<!-- check\nassert True\n-->\n\n"
        "```python\nimport pylab\n\npylab.plot([1, 2])\nprint('drawn')\n```\n\n"
        "<!-- picture: A rising\nline -->\n\nEnd.\n",
        "docs/some.md",
    )
    assert shown.text == (
        "```python\nprint(1 + 1)\n```\n\n``` { .text .output }\n2\n```\n\nText.\n\n"
        "```python\nimport pylab\n\npylab.plot([1, 2])\nprint('drawn')\n```\n\n"
        "``` { .text .output }\ndrawn\n```\n\n![A rising line](some-1.png)\n\nEnd.\n"
    )
    assert shown.pictures["some-1.png"].startswith(PNG)


@pytest.mark.parametrize(
    "text, error",
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError),
        ("<!-- check\nassert False\n-->\n", AssertionError),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", ValueError),
        ("```python\nimport pylab\n\npylab.plot([1])\n```\n", ValueError),
        ("```python\n1\n```\n\n<!-- picture: Nothing -->\n", ValueError),
        ("  ```python\n  1\n  ```\n", ValueError),
        ("```python\nimport warnings\n\nwarnings.warn('')\n```\n", UserWarning),
    ],
    ids="raises check other-output not-shown no-figure indented warns".split(),
)
def test_a_page_that_is_wrong_is_an_error(text, error):
    with pytest.raises(error):
        running.run_page(text, "page.md")


GALLERY = [path for path in SCRIPTS if path.stem not in WITH_A_PAGE]


@pytest.mark.parametrize(
    "path", [p for p in GALLERY if p.stem not in LONG], ids=lambda path: path.stem
)
def test_gallery(path):
    before = files_of_the_tree()
    printed, picture = running.run_script(path)
    assert printed and picture.startswith(PNG)
    assert files_of_the_tree() == before


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_scripts_are_short_and_have_a_title(path):
    source = path.read_text("utf-8")
    assert re.match(r'"""[A-Z][^\n]{5,60}[.?]\n\n', source)
    assert 20 <= len(source.splitlines()) <= 95


def test_the_gallery_has_every_script():
    text = (ROOT / "docs" / "examples" / "index.md").read_text("utf-8")
    entries = re.findall(r"^- .*\((?:../../examples/)?(\w+)\.(?:py|md)\)$", text, re.M)
    assert sorted(entries) == [path.stem for path in SCRIPTS]


def test_only_one_place_writes_pictures():
    for path in SCRIPTS:
        assert not re.search("savefig|open\\(|write_|np.save", path.read_text("utf-8"))


def test_where_pictures_go(tmp_path, monkeypatch, capsys):
    module = load(EXAMPLES / "_picture.py")
    figure = module.plt.figure()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    kept = tmp_path / "docs" / "images" / "script.png"
    for arguments, path in (
        ([], tmp_path / "pictures" / "script.png"),
        ([str(tmp_path / "own.png")], tmp_path / "own.png"),
        (["--refresh"], kept),
    ):
        monkeypatch.setattr(sys, "argv", ["examples/script.py", *arguments])
        if path == kept:
            with pytest.raises(SystemExit, match="no picture script.png"):
                module.save(figure)
            kept.parent.mkdir(parents=True)
            kept.touch()
        module.save(figure)
        assert path.read_bytes().startswith(PNG)
        assert str(path) in capsys.readouterr().err
    module.plt.close(figure)
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    assert "pictures/" in ignored
