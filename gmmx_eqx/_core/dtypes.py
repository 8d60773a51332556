"""The types of users' numbers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


# The widest first.
_PYTHON = (float, int, bool)


def is_real(dtype: Any) -> bool:
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def widest(arrays: list[Any]) -> np.dtype:
    """The widest of some floating-point types, also under strict promotion."""
    return max((a.dtype for a in arrays), key=lambda dtype: jnp.finfo(dtype).bits)


class Survey(NamedTuple):
    """What a list holds.

    **Attributes:**

    - `dtype`: the widest floating-point type of what has a type; another type that
        holds all of these, if none is floating; `None` where there are Python's own
        numbers alone.
    - `python`: the type of Python's own numbers, or Boolean.
    - `special`: whether NumPy would fail, or take what is masked for data.
    """

    dtype: np.dtype | None
    python: np.dtype
    special: bool


def survey(value: list[Any] | tuple[Any, ...]) -> Survey:
    dtype, special = None, False
    types = set()
    for leaf in _leaves(value):
        kind = type(leaf)
        types.add(kind)
        # The commonest first: there may be many.
        if kind in _PYTHON:
            continue
        special = (
            special
            or isinstance(leaf, jax.core.Tracer)
            or "__jax_array__" in dir(kind)
            or (isinstance(leaf, np.ma.MaskedArray) and bool(np.any(leaf.mask)))
        )
        own = getattr(leaf, "dtype", None)
        if isinstance(own, np.dtype):
            dtype = own if dtype is None else wider(dtype, own)
    python = next((t for t in _PYTHON if t in types), bool)
    python = jax.dtypes.canonicalize_dtype(python)
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        dtype = wider(dtype, python)
    return Survey(dtype, python, special)


def wider(first: np.dtype, second: np.dtype) -> np.dtype:
    floats = [d for d in (first, second) if jnp.issubdtype(d, jnp.floating)]
    if floats:
        return max(floats, key=lambda dtype: jnp.finfo(dtype).bits)
    return np.promote_types(first, second)


def _leaves(value: Any) -> Iterator[Any]:
    for item in value:
        if isinstance(item, list | tuple):
            yield from _leaves(item)
        else:
            yield item


def check_range(array: np.ndarray, dtype: np.dtype, name: str) -> None:
    """Raises a `ValueError` if numbers overflow in the type they are computed in."""
    if array.dtype.kind != "f" or not array.size:
        return
    if array.dtype.itemsize <= dtype.itemsize:
        return
    largest = np.max(np.abs(array), where=np.isfinite(array), initial=0)
    # As they are: comparing with a float32 would round `largest` to an infinity.
    if largest > float(jnp.finfo(dtype).max):
        raise ValueError(
            f"`{name}` reaches {largest:.3g}, too large for {dtype.name}. Rescale it"
            + (
                "."
                if dtype == np.float64
                else ", or compute in float64: "
                "`jax.config.update('jax_enable_x64', True)`."
            )
        )


def has_type(value: Any) -> bool:
    """Whether numbers have a type of their own; Python's numbers and lists of them do
    not."""
    if isinstance(value, list | tuple):
        return survey(value).dtype is not None
    return not isinstance(value, int | float)
