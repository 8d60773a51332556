"""Programs that a folder keeps as a whole, so that later processes do not trace them.

JAX's persistent cache keeps what XLA compiles and finds it by the program's text, so a
process must trace and lower a function before it can look. Here a program is found by
the function's name, by the arguments, and by whatever else the text depends on: the
source of this library, the versions of others, and JAX's settings.
"""

import functools as ft
import hashlib
import io
import os
import pathlib
import pickle
import re
import uuid
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jax.experimental import serialize_executable
from jax.sharding import get_abstract_mesh, SingleDeviceSharding

from .surroundings import LIBRARIES, PACKAGE, settings, surroundings


_Array: TypeAlias = jax.Array | np.ndarray
_Function: TypeAlias = Callable[..., Any]
_Options: TypeAlias = Callable[[int], dict[str, bool | int | str]]

# Names identify classes and functions of these packages, since the packages' versions
# are part of the key.
_KNOWN = {*LIBRARIES, PACKAGE.name, "builtins", "collections", "functools"}

# With these set, functions run as Python, or JAX looks at their values.
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

    def __call__(self, arrays: list[_Array]) -> Any:
        results = iter(self.run(*arrays))
        leaves = [next(results) if leaf is _HOLE else leaf for leaf in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)


_programs: dict[Any, _Program | None] = {}


def keep_in(folder: pathlib.Path) -> None:
    """The folder in which programs are looked for and kept from now on. Nothing is kept
    if the source has changed since it was imported, or is not there."""
    global _folder
    _folder = None if surroundings() is None else folder.absolute()


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
    arrays = _arrays(leaves)
    if not _are_on_the_one_device(arrays):
        return None
    flags = os.environ.get("XLA_FLAGS")
    known = *map(_described, leaves), effort, flags, *settings()
    key = _folder, fn, tree, known
    try:
        is_new = key not in _programs
    except TypeError:
        # Something cannot be hashed, which Equinox explains.
        return None
    if is_new:
        path = _path(fn, leaves, tree, known, _folder)
        _programs[key] = path and (
            _load(path) or _make(fn, options(effort), leaves, tree, path)
        )
    program = _programs[key]
    return None if program is None else ft.partial(program, arrays)


def _arrays(leaves: list[Any]) -> list[_Array]:
    return [leaf for leaf in leaves if eqx.is_array(leaf)]


def _are_on_the_one_device(arrays: list[_Array]) -> bool:
    """Whether the only device is a CPU, no mesh is set, and every array is on it or is
    NumPy's."""
    devices = jax.devices()
    if len(devices) > 1 or not get_abstract_mesh().empty:
        return False
    if devices[0].platform != "cpu":
        return False
    placed = [array for array in arrays if isinstance(array, jax.Array)]
    return all(
        isinstance(array.sharding, SingleDeviceSharding)
        and array.sharding.device_set == {*devices}
        for array in placed
    )


def _with_holes(leaves: list[Any]) -> list[Any]:
    return [_HOLE if eqx.is_array(leaf) else leaf for leaf in leaves]


def _described(leaf: Any) -> Any:
    """The type of an array; any other leaf itself, with its class, since 1 is equal to
    1.0."""
    if not eqx.is_array(leaf):
        return type(leaf).__name__, leaf
    # NumPy's arrays have neither, and keys have no weak type.
    facts = getattr(leaf, "weak_type", False), getattr(leaf, "committed", False)
    return leaf.shape, str(leaf.dtype), *facts


def _path(
    fn: _Function, leaves: list[Any], tree: Any, known: Any, folder: pathlib.Path
) -> pathlib.Path | None:
    """The place of a program; `None` if it cannot be kept."""
    if any(getattr(jax.config, f"jax_{name}") for name in _WATCHING):
        return None
    name = fn.__module__, fn.__qualname__
    try:
        # Unlike the leaves, this tree has static fields and classes.
        numbered = jax.tree.unflatten(tree, range(len(leaves)))
        text = _pickled((name, numbered, known, surroundings()))
    except Exception:
        # Objects of users may raise whatever they like.
        return None
    return folder / "programs" / hashlib.sha256(text).hexdigest()


def _make(
    fn: _Function,
    options: dict[str, bool | int | str],
    leaves: list[Any],
    tree: Any,
    path: pathlib.Path,
) -> _Program | None:
    """A program that is compiled now, and written; `None` if it cannot be kept."""
    arrays, template = _arrays(leaves), _with_holes(leaves)
    found: list[Any] = []

    def of_arrays(*arrays: jax.Array) -> list[_Array]:
        given = iter(arrays)
        filled = [next(given) if leaf is _HOLE else leaf for leaf in template]
        args, kwargs = jax.tree.unflatten(tree, filled)
        results, tree_of_results = jax.tree.flatten(fn(*args, **kwargs))
        found[:] = tree_of_results, _with_holes(results)
        return _arrays(results)

    # A name that JAX's own cache does not have: a program from there cannot be written
    # once more, since XLA has lost the names of its functions.
    of_arrays.__name__ = f"{fn.__name__}_{uuid.uuid4().hex}"
    lowered = jax.jit(of_arrays, compiler_options=options or None).lower(*arrays)
    called = set(re.findall(r"custom_call @(\w+)", lowered.as_text()))
    # Other calls, such as those of Python, are of objects of this process.
    if not all(name.startswith("lapack_") for name in called):
        return None
    compiled = lowered.compile()
    program = _Program(compiled, *found)
    _write(program, compiled, bool(called), path)
    return program


def _write(
    program: _Program, compiled: Any, uses_lapack: bool, path: pathlib.Path
) -> None:
    # Another file first: the process may end meanwhile, and others may read.
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        numbered = jax.tree.unflatten(program.tree, range(len(program.leaves)))
        others = [None if leaf is _HOLE else (leaf,) for leaf in program.leaves]
        executable = serialize_executable.serialize(compiled)
        text = _pickled((executable, numbered, others, uses_lapack))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(zlib.compress(text, 1))
        draft.replace(path)
    except Exception as error:
        if path.parent.is_dir():
            draft.unlink(missing_ok=True)
        text = f"A program could not be kept in `{path.parent}`: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def _load(path: pathlib.Path) -> _Program | None:
    """The program that was written there, if there is one that this machine runs."""
    try:
        content = pickle.loads(zlib.decompress(path.read_bytes()))
        executable, numbered, others, uses_lapack = content
        devices = jax.devices()
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
    """A look-up of LAPACK's functions, which JAX otherwise does when it lowers a call.
    Without it, a loaded program that calls one of them ends the process."""
    jax.jit(jax.lax.linalg.cholesky).lower(np.eye(1, dtype=np.float32))


class _Pickler(pickle.Pickler):
    """A pickler that refuses classes and functions of other packages, whose source may
    change."""

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
