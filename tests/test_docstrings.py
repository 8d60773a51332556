"""The examples in docstrings run, and print what they say."""

import ast
import contextlib
import inspect
import io
import pathlib
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx


PACKAGE = pathlib.Path(gx.__file__).parent
_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
# What most programs use.
SHOWN = """
    GaussianMixture GaussianMixture.create GaussianMixture.from_cholesky
    GaussianMixture.from_initialiser GaussianMixture.from_k_means
    GaussianMixture.from_labels GaussianMixture.from_responsibilities
    AbstractGaussianMixture.log_prob AbstractGaussianMixture.predict
    AbstractGaussianMixture.predict_proba AbstractGaussianMixture.sample
    fit fit_restarts fit_batch select EM SQUAREM observe condition marginal
    kl_variational kl_monte_carlo save load
""".split()


def docstrings(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Of a module and all that is defined in it, with names."""
    for child in ast.iter_child_nodes(node):
        inner = names
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            inner = (*names, child.name)
            yield ".".join(inner), ast.get_docstring(child) or ""
        yield from docstrings(child, inner)


def examples() -> dict[str, str]:
    """Docstrings with examples, by file and name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        file = path.relative_to(PACKAGE).as_posix()
        own = [("", ast.get_docstring(tree) or ""), *docstrings(tree, ())]
        found |= {f"{file}:{name}": text for name, text in own if "```" in text}
    return found


EXAMPLES = examples()


def blocks(text: str) -> list[tuple[str, str | None]]:
    return [(block[1], block[2]) for block in _BLOCK.finditer(inspect.cleandoc(text))]


def run(code: str, expected: str | None) -> None:
    """The code, with what examples take for granted."""
    names = {"gx": gx, "jax": jax, "jnp": jnp, "jr": jr, "np": np}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    assert printed.getvalue().split() == (expected or "").split()


@pytest.mark.x32
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, tmp_path, monkeypatch, standard_promotion):
    text = EXAMPLES[name]
    found = blocks(text)
    assert len(found) == text.count("```python") > 0, "a block that would not be run"
    assert text.count("```") == 2 * len(re.findall("```(?:python|text)", text))
    # Some write files.
    monkeypatch.chdir(tmp_path)
    for code, expected in found:
        assert len(code.splitlines()) <= 8
        run(code, expected)


@pytest.mark.x32
def test_what_is_used_most_has_an_example():
    named = {name.partition(":")[2] for name in EXAMPLES}
    assert set(SHOWN) <= named
    assert "interop/sklearn/estimator.py:GaussianMixture" in EXAMPLES


@pytest.mark.x32
@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n\n```text\n2\n```",
        "```python\nprint(1)\n```",
        "```python\n1 / 0\n```",
    ],
)
def test_a_wrong_example_is_seen(text):
    ((code, expected),) = blocks(text)
    with pytest.raises((AssertionError, ZeroDivisionError)):
        run(code, expected)
