"""Programs that a folder keeps as a whole, so that later processes do not trace them.

JAX's persistent cache keeps what XLA compiles and finds it by the program's text, so a
process must trace and lower a function before it can look. Here a program is found by
the function's name, by the arguments, and by whatever else the text depends on: the
source of this library, the versions of others, and JAX's settings.
"""

import functools as ft
import hashlib
import importlib.metadata
import io
import os
import pathlib
import pickle
import platform
import re
import sys
import tempfile
import uuid
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jax.experimental import serialize_executable


_Function: TypeAlias = Callable[..., Any]
_Options: TypeAlias = Callable[[int], dict[str, bool | int]]

_PACKAGE = pathlib.Path(__file__).parents[1]

# Classes and functions of these are known by their names, since their versions are.
_LIBRARIES = ("jax", "jaxlib", "equinox", "numpy", "jaxtyping", "lineax")
_KNOWN = {*_LIBRARIES, _PACKAGE.name, "builtins", "collections", "functools"}

# With these set, JAX watches functions or their values while they run.
_WATCHING = ("debug_nans", "debug_infs", "disable_jit", "check_tracer_leaks")

_folder: pathlib.Path | None = None


class _Hole:
    """The place of an array."""


_HOLE = _Hole()


class _Program(NamedTuple):
    """A compiled function of arrays, and what belongs around the arrays it returns.

    **Attributes:**

    - `leaves`: the leaves of what is returned, with holes for arrays.
    """

    run: Callable[..., list[jax.Array]]
    tree: Any
    leaves: list[Any]

    def __call__(self, arrays: list[jax.Array]) -> Any:
        results = iter(self.run(*arrays))
        leaves = [next(results) if leaf is _HOLE else leaf for leaf in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)


_programs: dict[Any, _Program | None] = {}


def keep_in(folder: pathlib.Path) -> None:
    """Where programs are looked for and kept from now on."""
    global _folder
    _folder = folder


def kept(
    fn: _Function, effort: int, options: _Options, args: Any
) -> Callable[[], Any] | None:
    """The function with these arguments, as a program of the folder, to which it is
    added if need be; `None` without a folder, or if the program cannot be kept.

    **Arguments:**

    - `effort`, `options`: how to compile, and the compiler's options for it.
    - `args`: a tuple and a dictionary; all of their arrays are known.
    """
    if _folder is None:
        return None
    leaves, tree = jax.tree.flatten(args)
    settings = tuple(getattr(jax.config, name) for name in _names_of_settings())
    known = *map(_described, leaves), effort, settings
    key = _folder, fn, tree, known
    if key not in _programs:
        path = _path(fn, leaves, tree, known, _folder)
        _programs[key] = path and (
            _load(path) or _make(fn, options(effort), leaves, tree, path)
        )
    program = _programs[key]
    return None if program is None else ft.partial(program, _arrays(leaves))


def _arrays(leaves: list[Any]) -> list[jax.Array]:
    return [leaf for leaf in leaves if eqx.is_array(leaf)]


def _with_holes(leaves: list[Any]) -> list[Any]:
    return [_HOLE if eqx.is_array(leaf) else leaf for leaf in leaves]


def _described(leaf: Any) -> Any:
    """The type of an array. Another leaf itself, with its class: 1 is equal to 1.0."""
    if eqx.is_array(leaf):
        # NumPy's arrays and keys have no weak type.
        return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False)
    return type(leaf).__name__, leaf


@ft.cache
def _names_of_settings() -> list[str]:
    # Some that are listed cannot be read.
    return [name for name in sorted(jax.config.values) if hasattr(jax.config, name)]


def _path(
    fn: _Function, leaves: list[Any], tree: Any, known: Any, folder: pathlib.Path
) -> pathlib.Path | None:
    """The place of a program; `None` if it cannot be kept."""
    if any(getattr(jax.config, f"jax_{name}") for name in _WATCHING):
        return None
    devices = set(jax.local_devices())
    placed = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    if len(devices) > 1 or any(array.devices() != devices for array in placed):
        return None
    # With static fields and classes, which the leaves alone do not have.
    numbered = jax.tree.unflatten(tree, range(len(leaves)))
    name = fn.__module__, fn.__qualname__
    try:
        text = _pickled((name, numbered, known, _surroundings()))
    except Exception:
        # Whatever `pickle` meets in arguments of users: this is no error of theirs.
        return None
    return folder / "programs" / hashlib.sha256(text).hexdigest()


def _make(
    fn: _Function,
    options: dict[str, bool | int],
    leaves: list[Any],
    tree: Any,
    path: pathlib.Path,
) -> _Program:
    """Compiles a program, and keeps it."""
    arrays, template = _arrays(leaves), _with_holes(leaves)
    found: list[Any] = []

    def of_arrays(*arrays: jax.Array) -> list[jax.Array]:
        given = iter(arrays)
        filled = [next(given) if leaf is _HOLE else leaf for leaf in template]
        args, kwargs = jax.tree.unflatten(tree, filled)
        results, tree_of_results = jax.tree.flatten(fn(*args, **kwargs))
        found[:] = tree_of_results, _with_holes(results)
        return _arrays(results)

    # A name that JAX's own cache does not have: a program from there cannot be written
    # once more, since XLA has lost the names of its functions.
    of_arrays.__name__ = f"{fn.__name__}_{uuid.uuid4().hex}"
    jitted = jax.jit(of_arrays, compiler_options=options or None)
    lowered = jitted.lower(*arrays)
    compiled = lowered.compile()
    program = _Program(compiled, *found)
    called = set(re.findall(r"custom_call @(\w+)", lowered.as_text()))
    # Other functions, such as those of Python, may be of this process alone.
    if all(name.startswith("lapack_") for name in called):
        _write(program, compiled, bool(called), path)
    return program


def _write(
    program: _Program, compiled: Any, uses_lapack: bool, path: pathlib.Path
) -> None:
    numbered = jax.tree.unflatten(program.tree, range(len(program.leaves)))
    others = [None if leaf is _HOLE else (leaf,) for leaf in program.leaves]
    try:
        executable = serialize_executable.serialize(compiled)
        text = zlib.compress(_pickled((executable, numbered, others, uses_lapack)), 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place first: a process may end here, and others may read.
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        os.replace(name, path)
    except Exception as error:
        warnings.warn(
            f"A program could not be kept in `{path.parent}`: {error}",
            RuntimeWarning,
            stacklevel=2,
        )


def _load(path: pathlib.Path) -> _Program | None:
    """The program that was written there, if there is one that this machine runs."""
    try:
        content = pickle.loads(zlib.decompress(path.read_bytes()))
        executable, numbered, others, uses_lapack = content
        devices = jax.local_devices()
        run = serialize_executable.deserialize_and_load(
            *executable, backend=devices[0].client, execution_devices=devices
        )
    except Exception:
        # Also if it is damaged: it is compiled and written again.
        return None
    if uses_lapack:
        _find_lapack()
    leaves = [_HOLE if other is None else other[0] for other in others]
    return _Program(run, jax.tree.structure(numbered), leaves)


@ft.cache
def _find_lapack() -> None:
    """JAX looks for LAPACK's functions when it lowers a call of one. A program that
    calls them before would end the process."""
    jax.jit(jax.lax.linalg.cholesky).lower(np.eye(1, dtype=np.float32))


class _Pickler(pickle.Pickler):
    """Refuses classes and functions of other packages, whose source may change."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) or callable(obj):
            package = str(getattr(obj, "__module__", None)).partition(".")[0]
            if package not in _KNOWN:
                raise pickle.PicklingError(f"{obj} is of another package.")
        return NotImplemented


def _pickled(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(value)
    return file.getvalue()


@ft.cache
def _surroundings() -> tuple[Any, ...]:
    """What programs depend on besides their arguments and JAX's settings."""
    source = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        source.update(path.read_bytes())
    return (
        source.hexdigest(),
        [importlib.metadata.version(name) for name in _LIBRARIES],
        sys.version,
        os.environ.get("XLA_FLAGS"),
        _processor(),
        os.cpu_count(),
    )


def _processor() -> tuple[str, ...]:
    """A program may use instructions that another processor does not have."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    # In words of x86 and of ARM.
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    models = [line for line in lines if line.startswith(("model name", "CPU part"))]
    return platform.machine(), platform.processor(), *flags[:1], *models[:1]
