"""Users' numbers as floating-point arrays of JAX."""

from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .arrays import as_numbers
from .describe import concrete, describe
from .dtypes import check_range, survey, widest
from .known import constant


def as_float(
    value: Any, name: str, *, like: Any = None, missing: bool = False
) -> Float[Array, "..."]:
    """A floating-point JAX array of at least float32.

    Integers and booleans become JAX's default float; float16 and bfloat16 are computed
    in float32, since their squares overflow at 256. Python numbers and lists of them,
    which have no type of their own, take that of `like`, a PyTree, if it is given.
    """
    array = as_numbers(value, name, missing=missing)
    return as_type(array, float_type(value, array, like), name)


def float_type(value: Any, array: jax.Array | np.ndarray, like: Any = None) -> np.dtype:
    """The type that numbers are computed in: `value` as it was handed in, `array` as it
    left `as_numbers`."""
    default = np.dtype(jax.dtypes.canonicalize_dtype(float))
    dtype = array.dtype
    if isinstance(value, list | tuple):
        dtype = survey(value).dtype
    elif isinstance(value, int | float):
        dtype = None
    if dtype is None:
        leaves = jax.tree.leaves(eqx.filter(like, eqx.is_inexact_array))
        return widest(leaves) if leaves else default
    if not jnp.issubdtype(dtype, jnp.floating):
        return default
    if jnp.finfo(dtype).bits < 32:
        return np.dtype(np.float32)
    # Not canonical: big-endian, and wider than float64.
    bits = min(jnp.finfo(dtype).bits, 64)
    return np.dtype(jax.dtypes.canonicalize_dtype(f"float{bits}"))


def as_type(
    array: jax.Array | np.ndarray, dtype: np.dtype, name: str
) -> Float[Array, "..."]:
    """In this type, or a `ValueError` if known numbers are too large for it."""
    if isinstance(array, np.ndarray):
        check_range(array, dtype, name)
        # `jnp.asarray` would compile a copy for every shape.
        return jax.device_put(array.astype(dtype))
    return jnp.asarray(array, dtype=dtype)


def as_nonnegative(value: Any, name: str, *, of_features: bool = False) -> Array:
    """A finite scalar of at least zero, as an array so that sweeps do not recompile.

    **Arguments:**

    - `of_features`: whether it may be a vector of such numbers, one for each feature.
    """
    each = ", or one for each feature" if of_features else ""
    wanted = f"`{name}` must be a finite number of at least zero{each}; got "
    if isinstance(value, str | complex):
        raise ValueError(f"{wanted}{describe(value)}.")
    array = as_numbers(value, name)
    most_axes = 1 if of_features else 0
    # Not in JAX, whose comparisons of known numbers are traced inside of a program.
    numbers = concrete(array)
    if numbers is not None and not (
        numbers.ndim <= most_axes
        and numbers.size
        and numbers.dtype != bool
        and np.all(np.isfinite(numbers) & (numbers >= 0))
    ):
        shown = value if numbers.ndim and numbers.size < 9 else describe(value)
        raise ValueError(f"{wanted}{shown}.")
    return (
        constant(array, float) if isinstance(array, np.ndarray) else array.astype(float)
    )


def common_dtype(*trees: Any, also: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """All in the widest of their types, and that of `also`: nothing is narrowed
    unasked."""
    leaves = jax.tree.leaves(eqx.filter(trees, eqx.is_inexact_array))
    dtype = widest([*leaves, *also])
    cast = lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf
    return jax.tree.map(cast, trees)
