"""The layers of the package, and the rules that its code keeps."""

import ast
import contextlib
import inspect
import pathlib
import re
import subprocess
import sys

import equinox as eqx
import jaxtyping
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import aliases

from .conftest import CHECK_TYPES


PACKAGE = pathlib.Path(gx.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("_core",),
    ("_moments",),
    ("_covariances", "_sources", "_priors"),
    ("_initialisers",),
    ("_mixture",),
    ("_ops",),
    ("_em",),
    ("_fit",),
    ("interop", "plotting"),
    ("sklearn",),
)

# Imported where they are called for.
OPTIONAL = {"pandas", "tqdm"}


def layer_of(module: str) -> int:
    (level,) = [i for i, names in enumerate(LAYERS) if module in names]
    return level


def relative_imports(path: pathlib.Path) -> list[tuple[ast.AST, str]]:
    """The top-level modules of the package that a file imports from."""
    parts = path.relative_to(PACKAGE).parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = parts[: len(parts) - node.level]
            target = [*base, *(node.module or "").split(".")]
            names = [n for n in target if n] or [alias.name for alias in node.names]
            found.append((node, names[0]))
    return found


@pytest.mark.x64
@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_keeps_the_rules(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert "from __future__ import annotations" not in text
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert not re.search(r"^\s*(import|from) gmmx_eqx", text, re.MULTILINE)
    for _, target in relative_imports(path):
        assert target == own or layer_of(target) < layer_of(own), (own, target)
    if own not in ("interop", "plotting"):
        functions = [
            node
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.Lambda)
        ]
        for function in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    assert not node.level, (path, "a layer's back door")
                    names = [node.module or ""]
                else:
                    continue
                assert {name.split(".")[0] for name in names} <= OPTIONAL, path


@pytest.mark.x64
def test_every_module_is_in_a_layer():
    for path in PACKAGE.iterdir():
        name = path.name.removesuffix(".py")
        if name not in ("__init__", "__pycache__", "py.typed"):
            layer_of(name)


def subclasses(cls: type) -> list[type]:
    return [c for child in cls.__subclasses__() for c in [child, *subclasses(child)]]


@pytest.mark.x64
def test_classes_are_abstract_or_final():
    ours = [c for c in subclasses(eqx.Module) if c.__module__.startswith("gmmx_eqx.")]
    assert {gx.AbstractCovariances, gx.AbstractSource, gx.EM, gx.Solution} <= set(ours)
    for cls in ours:
        unfilled = (
            cls.__abstractmethods__ or cls.__abstractvars__ or cls.__abstractclassvars__
        )
        assert bool(unfilled) == cls.__name__.startswith("Abstract"), cls
        # Equinox makes a subclass of the same name, to tell when `__init__` is done.
        children = [c for c in cls.__subclasses__() if c.__name__ != cls.__name__]
        children = [c for c in children if c in ours]
        assert unfilled or not children, (cls, children)


@pytest.mark.x64
def test_import_is_inert():
    """No backend starts, and nothing heavy or optional is imported."""
    code = """
import sys
import gmmx_eqx
import jax._src.xla_bridge
assert not jax._src.xla_bridge.backends_are_initialized()
optional = {"sklearn", "matplotlib", "pandas", "tqdm", "safetensors"}
optional |= {"numpyro", "distreqx", "flowjax", "blackjax", "optimistix"}
optional |= {"scipy.optimize", "scipy.stats"}
assert not optional & set(sys.modules), optional & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_types_are_checked_where_they_should_be():
    """A canary: without the import hook the other tests would check less."""
    refused = pytest.raises(jaxtyping.TypeCheckError)
    with refused if CHECK_TYPES else contextlib.nullcontext():
        gx.check_shape(np.zeros(3), [3])  # pyright: ignore[reportArgumentType]


@pytest.mark.x64
def test_internal_arrays_have_the_axes_in_order():
    names = [axis.name for axis in gx.Axis]
    four_axes = [
        alias
        for alias in vars(aliases).values()
        if isinstance(alias, type)
        and issubclass(alias, jaxtyping.AbstractArray)
        and len(alias.dim_str.split()) == len(names)
    ]
    assert len(four_axes) >= 10
    for alias in four_axes:
        axes = [axis.split("=")[0] for axis in alias.dim_str.split()]
        for axis, name in zip(axes, names, strict=True):
            assert axis in (name, "_"), alias.dim_str


@pytest.mark.x64
def test_public_names():
    for name, value in vars(gx).items():
        if not name.startswith("_") and not inspect.ismodule(value):
            documented = value.__doc__ or isinstance(value, dict)
            assert documented, name
