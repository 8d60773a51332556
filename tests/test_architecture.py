"""The layers of the package, and the rules that its code keeps."""

import ast
import contextlib
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import equinox as eqx
import jaxtyping
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import aliases

from .conftest import CHECK_TYPES
from .public_names import public_objects


PACKAGE = pathlib.Path(gx.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("_core",),
    ("_moments",),
    ("_covariances", "_sources"),
    ("_initialisers", "_priors"),
    ("_mixture",),
    ("_ops",),
    ("_em",),
    ("_fit",),
    ("interop", "plotting"),
    ("sklearn", "divergences", "extend", "families", "univariate"),
)

# Packages that are imported where they are called for.
OPTIONAL = {"cloudpickle", "dask", "narwhals", "pandas", "pyarrow", "tqdm"}
# Imports of a higher layer, each inside the method that needs it.
DELAYED = {
    "_mixture/mixture.py": {"interop.numpy", "interop.scipy", "interop.sklearn"},
}


def layer_of(module: str) -> int:
    (level,) = [i for i, names in enumerate(LAYERS) if module in names]
    return level


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Full names of the modules that code imports from, by a statement or by a string.

    **Arguments:**

    - `package`: the names of the package that the code is in, from the outermost.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            # Without a module, or from the outermost one, the names are modules too.
            inner = module and module != PACKAGE.name
            names = [""] if inner else [f".{alias.name}" for alias in node.names]
            yield from (module + name for name in names)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rsplit(".")[-1]
            if name in ("import_module", "__import__"):
                (module, *_) = node.args
                assert isinstance(module, ast.Constant), "which module, nobody can see"
                level = len(module.value) - len(module.value.lstrip("."))
                base = package[: len(package) - level + 1] if level else ()
                yield ".".join([*base, module.value.lstrip(".")])


def own_imports(tree: ast.AST, package: tuple[str, ...]) -> set[str]:
    """Those from this library, without its name."""
    own = PACKAGE.name + "."
    found = imports(tree, package)
    return {name.removeprefix(own) for name in found if name.startswith(own)}


def broken_rules(text: str, path: str) -> list[str]:
    """What a file of the package imports and must not.

    **Arguments:**

    - `path`: of the file, within the package.
    """
    *folders, name = pathlib.PurePath(path).parts
    package, own = (PACKAGE.name, *folders), [*folders, name.removesuffix(".py")][0]
    tree = ast.parse(text)
    delayed: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            delayed.update(imports(node, package))
    ours = {name for name in delayed if name.startswith(PACKAGE.name + ".")}
    allowed = {f"{PACKAGE.name}.{name}" for name in DELAYED.get(path, ())}
    broken = [f"no import of {name}" for name in sorted(allowed - ours)]
    if own not in ("interop", "plotting"):
        others = {name for name in delayed - ours if name.split(".")[0] not in OPTIONAL}
        broken += [f"delayed: {name}" for name in sorted(ours - allowed | others)]
    for name in sorted(own_imports(tree, package) - DELAYED.get(path, set())):
        target = name.split(".")[0]
        if target != own and layer_of(target) >= layer_of(own):
            broken.append(f"upwards: {name}")
    return broken


@pytest.mark.x64
@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_keeps_the_rules(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert "from __future__ import annotations" not in text
    if path == PACKAGE / "__init__.py":
        return
    # By its statements: an example in a docstring is not one.
    nodes = ast.walk(ast.parse(text))
    imported = [
        ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert not [line for line in imported if re.match("(import|from) gmmx_eqx", line)]
    assert not broken_rules(text, path.relative_to(PACKAGE).as_posix())


@pytest.mark.parametrize(
    "text",
    [
        "from .._ops import mean",
        "from .. import _ops",
        "from .._ops.moments import mean",
        "import gmmx_eqx._ops.moments",
        "from gmmx_eqx import _ops",
        "import importlib\nimportlib.import_module('gmmx_eqx._ops')",
        "from importlib import import_module\nimport_module('.._ops', __package__)",
        "__import__('gmmx_eqx._ops')",
        "def load():\n    from .._core import axes",
        "def load():\n    import scipy.stats",
        "load = lambda: __import__('scipy.stats')",
    ],
)
def test_a_broken_rule_is_seen(text):
    assert broken_rules("from .._core import axes", "_covariances/diag.py") == []
    assert broken_rules(text, "_covariances/diag.py")


def test_a_module_of_unknown_name_is_seen():
    with pytest.raises(AssertionError, match="nobody can see"):
        broken_rules("import_module(f'gmmx_eqx.{name}')", "_covariances/diag.py")


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
    assert {
        gx.extend.AbstractCovariances,
        gx.extend.AbstractSource,
        gx.EM,
        gx.Solution,
    } <= set(ours)
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
    for name, value in public_objects().items():
        assert value.__doc__ or isinstance(value, dict), name
    # A newcomer reads the list of the first level; what few need is one level down.
    assert len([name for name in public_objects() if "." not in name]) <= 82
