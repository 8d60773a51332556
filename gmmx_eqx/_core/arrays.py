"""Users' numbers, whatever holds them, as arrays."""

import contextlib
import decimal
import numbers
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .describe import describe
from .dtypes import check_range, is_real, survey
from .placement import on_automatic_mesh
from .processes import check_process


_REAL = (numbers.Real, decimal.Decimal, np.bool_)
# By name: what pandas writes for a missing value is found without importing it.
_MISSING = ("NoneType", "NAType", "MaskedConstant")


def as_numbers(
    value: Any, name: str, *, missing: bool = False, wanted: str = "numeric"
) -> jax.Array | np.ndarray:
    """Real numbers in a type of their own: a JAX array, or a NumPy array in the byte
    order of this machine. A list that holds traced arrays becomes a JAX array.

    **Arguments:**

    - `missing`: whether what is masked or `NA` is NaN, rather than refused.
    - `wanted`: what they must be, for messages.

    **Raises:**

    `ValueError` for what is not an array of real numbers.
    """
    check_process()
    convert = getattr(value, "__jax_array__", None)
    if convert is not None and not isinstance(value, jax.Array):
        value = convert()
    if isinstance(value, jax.Array):
        if not is_real(value.dtype):
            is_complex = jnp.issubdtype(value.dtype, jnp.complexfloating)
            what = "real" if is_complex else wanted
            raise ValueError(
                f"`{name}` must be {what}; got an array of dtype {value.dtype}."
            )
        return on_automatic_mesh(value, name)
    if isinstance(value, list | tuple):
        found = survey(value)
        if found.special:
            return _stack(
                value,
                found.python if found.dtype is None else found.dtype,
                name,
                missing,
                wanted,
            )
    with _in_words(name):
        array = np.asanyarray(value)
    return _of_numpy(array, name, missing, wanted)


def _stack(
    value: Any, dtype: np.dtype, name: str, missing: bool, wanted: str
) -> jax.Array | np.ndarray:
    parts = [
        _stack(item, dtype, name, missing, wanted)
        if isinstance(item, list | tuple)
        else as_numbers(item, name, missing=missing, wanted=wanted)
        for item in value
    ]
    with _in_words(name):
        if all(isinstance(part, np.ndarray) for part in parts):
            return np.stack(parts) if parts else np.zeros(0)
        dtype = jax.dtypes.canonicalize_dtype(dtype)
        return jnp.stack([jnp.asarray(part, dtype=dtype) for part in parts])


@contextlib.contextmanager
def _in_words(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"`{name}` is not an array of numbers: {error}") from error


def _of_numpy(
    array: np.ndarray, name: str, missing: bool, wanted: str
) -> jax.Array | np.ndarray:
    if array.dtype.names is not None:
        raise ValueError(
            f"`{name}` must be a plain array; got a structured one of the fields "
            f"{list(array.dtype.names)}. Use "
            "`numpy.lib.recfunctions.structured_to_unstructured`."
        )
    absent = None
    if isinstance(array, np.ma.MaskedArray) and np.any(array.mask):
        absent = np.ma.getmaskarray(array)
        if not missing:
            raise ValueError(
                f"`{name}` is a masked array: {_where(absent, 'masked')}. What lies "
                "under a mask is no data: leave these out, or fill in samples with "
                "`gmmx_eqx.impute`."
            )
        array = np.where(absent, 0, array.data)
    array = np.asarray(array)
    if array.dtype.kind == "O":
        types = {type(item): item for item in array.reshape(-1).tolist()}
        if any(isinstance(item, jax.Array) for item in types.values()):
            listed = array.tolist()
            return as_numbers(listed, name, missing=missing, wanted=wanted)
        is_na = np.array([type(item).__name__ in _MISSING for item in array.flat], bool)
        is_na = is_na.reshape(array.shape)
        if np.any(is_na):
            if not missing:
                raise ValueError(
                    f"`{name}` has missing values: {_where(is_na, 'NA')}. Leave these "
                    "out, or fill in samples with `gmmx_eqx.impute`."
                )
            absent = is_na if absent is None else is_na | absent
            array = np.where(is_na, 0, array)
        array = _of_objects(array, name, wanted)
    if not is_real(array.dtype):
        raise ValueError(
            f"`{name}` must be {wanted}; got an array of dtype {array.dtype}."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        check_range(array, np.dtype(np.float64), name)
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if absent is not None:
        if not jnp.issubdtype(array.dtype, jnp.floating):
            array = array.astype(np.float64)
        array = np.where(absent, array.dtype.type(np.nan), array)
    return array


def _of_objects(array: np.ndarray, name: str, wanted: str) -> np.ndarray:
    """Python's numbers as integers or Booleans if all are, or as float64."""
    # The first of each.
    types = {type(item): item for item in reversed(array.reshape(-1).tolist())}
    for kind, item in types.items():
        if not issubclass(kind, _REAL):
            raise ValueError(
                f"`{name}` must be {wanted}; it holds {describe(item)}, of type "
                f"`{kind.__name__}`."
            )
    narrow = ((bool, (bool, np.bool_)), (np.int64, (int, np.integer)))
    for dtype, parents in narrow:
        if types and all(issubclass(kind, parents) for kind in types):
            with contextlib.suppress(OverflowError):
                return array.astype(dtype)
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(f"`{name}` is too large for float64: {error}.") from error


def _where(absent: np.ndarray, what: str) -> str:
    first = tuple(np.argwhere(absent)[0].tolist())
    number = f"{np.count_nonzero(absent)} of its {absent.size} numbers are {what}"
    return f"{number}, the first at {first}" if first else number
