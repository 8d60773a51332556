"""What an error says of a name that other libraries use and this one does not.

Nothing is looked up before Python itself has not found the name.
"""

import functools as ft
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, ParamSpec, TypeVar


_P = ParamSpec("_P")
_T = TypeVar("_T")


def hinted(hints: Mapping[str, str]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A decorator: Python's `TypeError` for an argument that there is not says what
    takes its place.

    **Arguments:**

    - `hints`: by the argument's name.
    """

    def decorate(fn: Callable[_P, _T]) -> Callable[_P, _T]:
        @ft.wraps(fn)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return fn(*args, **kwargs)
            except TypeError:
                known = inspect.signature(fn).parameters
                for name in kwargs:
                    if name not in known and name in hints:
                        raise TypeError(
                            f"{fn.__qualname__}() got an unexpected keyword argument "
                            f"'{name}'. {hints[name]}"
                        ) from None
                raise

        return call

    return decorate


def no_attribute(value: Any, name: str, hint: str | None) -> NoReturn:
    """Raises Python's `AttributeError`, with the hint."""
    if hint is None:
        # Also where a property is there and raised one: its own message is raised.
        object.__getattribute__(value, name)
    cls = type(value).__name__
    raise AttributeError(f"'{cls}' object has no attribute '{name}'. {hint}")


def members(cls: type) -> set[str]:
    """Public names of an object's methods, properties and fields."""
    names = {*dir(cls), *(n for c in cls.__mro__ for n in inspect.get_annotations(c))}
    return {name for name in names if not name.startswith("_")}
