"""What was given, in words, for the messages of errors."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from .known import constant
from .processes import check_process


_MOST_NUMBERS, _LONGEST = 4, 60


def concrete(array: Any) -> np.ndarray | None:
    """The array's numbers, or `None` while tracing, when it has none yet."""
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def describe(value: Any, *, most_numbers: int = _MOST_NUMBERS) -> str:
    """An array of more numbers by its shape and type, anything else as it prints, if
    that is short."""
    if isinstance(value, jax.Array | np.ndarray) and (
        isinstance(value, jax.core.Tracer) or value.size > most_numbers
    ):
        kind = "a NumPy array" if isinstance(value, np.ndarray) else "an array"
        return f"{kind} of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, type):
        return f"the class `{value.__name__}`"
    text = repr(value)
    if len(text) <= _LONGEST and "\n" not in text:
        return text
    name = type(value).__name__
    return f"an object of type `{name}`"


def check_instance(value: Any, cls: type, name: str, example: str) -> None:
    """Raises a `ValueError` unless the value is an instance of a class."""
    if isinstance(value, cls):
        return
    hint = ""
    if isinstance(value, type) and issubclass(value, cls):
        hint = f" Make one of it: `{value.__name__}()`."
    article = "an" if cls.__name__[0] in "AEIOU" else "a"
    raise ValueError(
        f"`{name}` must be {article} `{cls.__name__}`, such as `gmmx_eqx.{example}`; "
        f"got {describe(value)}.{hint}"
    )


def as_key(key: Any, name: str = "key") -> Any:
    """One `jax.random` key, of either kind, as a JAX array.

    **Raises:**

    `ValueError` for anything else.
    """
    check_process()
    if isinstance(key, jax.Array | np.ndarray):
        is_new = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0
        is_old = key.dtype == np.uint32 and key.ndim == 1
        if is_new or is_old:
            return constant(key) if isinstance(key, np.ndarray) else key
    raise ValueError(
        f"`{name}` must be one random key, such as `jax.random.key(0)`; got "
        f"{describe(key)}."
    )
