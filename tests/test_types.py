"""Every public signature says the shape of every array."""

import dataclasses
import inspect
import pathlib
import re
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import equinox as eqx
import jax
import jaxtyping
import numpy as np
import pytest

from gmmx_eqx._core import aliases, likes

from .public_names import public_objects


NOTATION = pathlib.Path(__file__).parents[1] / "docs" / "notation.md"

# What may be anything, and is no array.
NOT_ARRAYS = {
    "components",  # of SciPy
    "device",
    "dtype",
    "estimator",
    "extras",
    "fn",
    "index",
    "kwargs",
    "other",
    "solver",
    "state",  # of a solver
    "what",
}
# What returns something of another package, or what a function given to it returns.
RETURNS_ANYTHING = {
    "begin",  # states of a solver
    "visit",
    "finish",
    "step",
    "to_sklearn",
    "to_scipy",
    "to_pandas",
    "to_dict",
    "reduce",
}


def public_functions() -> Iterator[tuple[str, Any]]:
    """Functions, and the methods and properties of classes, with their names."""
    for name, value in public_objects().items():
        if not inspect.isclass(value):
            if callable(value):
                yield name, value
            continue
        for cls in value.__mro__:
            if not cls.__module__.startswith("gmmx_eqx"):
                continue
            for attribute, member in vars(cls).items():
                special = attribute in ("__init__", "__call__")
                if attribute.startswith("_") and not special:
                    continue
                member = getattr(member, "fget", None) or member
                member = getattr(member, "__func__", member)
                member = getattr(member, "__wrapped__", member)
                if inspect.isfunction(member):
                    yield f"{name}.{attribute}", member


FUNCTIONS = dict(public_functions())


def hints(function: Any) -> dict[str, Any]:
    return {
        name: hint
        for name, hint in inspect.get_annotations(function).items()
        if name != "self"
    }


def parts(hint: Any) -> Iterator[Any]:
    """The types that a hint is made of; shapes are not taken apart."""
    if typing.get_origin(hint) is Annotated or isinstance(hint, type | str):
        yield hint
        return
    yield hint
    for argument in typing.get_args(hint):
        yield from parts(argument)


def is_plain_array(hint: Any) -> bool:
    return hint in (Any, jax.Array, np.ndarray, object)


@pytest.mark.x32
@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_say_shapes(name):
    function = FUNCTIONS[name]
    signature = inspect.signature(function)
    annotated = hints(function)
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls") or parameter.name in NOT_ARRAYS:
            continue
        assert parameter.name in annotated, parameter
        for part in parts(annotated[parameter.name]):
            assert not is_plain_array(part), parameter
    if name.endswith("__init__") or name.split(".")[-1] in RETURNS_ANYTHING:
        return
    assert "return" in annotated
    for part in parts(annotated["return"]):
        # The arrays of NumPy are what is handed out for show: their names say so.
        shown = part is np.ndarray and name.endswith("_numpy")
        assert shown or not is_plain_array(part), annotated["return"]


@pytest.mark.x32
def test_fields_say_shapes():
    modules = [
        value
        for value in public_objects().values()
        if inspect.isclass(value) and issubclass(value, eqx.Module)
    ]
    assert len(modules) > 25
    for module in modules:
        for field in dataclasses.fields(module):
            for part in parts(field.type):
                assert not is_plain_array(part), (module, field.name)


def _aliases(module: types.ModuleType) -> dict[str, str]:
    """The public aliases of arrays, and their shapes."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("_") or name in ("Array", "ArrayLike"):
            continue
        if typing.get_origin(value) is Annotated:
            found[name] = value.__metadata__[0]
        elif isinstance(value, type) and issubclass(value, jaxtyping.AbstractArray):
            found[name] = value.dim_str
    return found


@pytest.mark.x32
def test_aliases_are_documented():
    """Those that are in a public signature are explained in the page on notation."""
    in_page = set(re.findall(r"`(\w+)`", NOTATION.read_text(encoding="utf-8")))
    known = _aliases(aliases) | _aliases(likes)
    assert len(known) > 40
    used = set()
    for function in FUNCTIONS.values():
        try:
            source = inspect.getsource(function)
        except OSError:  # made by a decorator of classes
            continue
        signature = source[: source.index('"""')] if '"""' in source else source
        used |= set(re.findall(r"\b[A-Z]\w+\b", signature)) & set(known)
    assert len(used) > 30
    assert used - in_page == set()
