"""What is known before a program runs."""

import functools as ft
from typing import Any

import jax
import jax.core
import numpy as np
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array


# When the package is imported, which is outside of everything.
_NOTHING_TRACED = get_opaque_trace_state()


def is_known(*trees: Any) -> bool:
    """Whether no array among the leaves is traced."""
    leaves = jax.tree.leaves(trees)
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def is_on_one_device(array: Array) -> bool:
    return is_known(array) and len(array.devices()) == 1


def is_on_host(array: Array) -> bool:
    """Whether NumPy sees the array without a copy."""
    if not is_on_one_device(array):
        return False
    (device,) = array.devices()
    return device.platform == "cpu"


def is_inside_program() -> bool:
    """Whether whatever is computed now is traced, as a part of a program or of a
    function that is mapped or differentiated."""
    return get_opaque_trace_state() != _NOTHING_TRACED


def constant(value: Any, dtype: Any = None, device: Any = None) -> jax.Array:
    """An array of known numbers. `jnp.asarray`, `jnp.full`, `jnp.arange` and the like
    compile a program for every shape where they are called outside of one."""
    numbers = np.asarray(value, dtype)
    numbers = numbers.astype(jax.dtypes.canonicalize_dtype(numbers.dtype))
    return jax.device_put(numbers, device)


def put_like(numbers: np.ndarray, like: Array) -> Array:
    """Where another array is."""
    return put_all_like(numbers, like)


def put_all_like(tree: Any, like: Array) -> Any:
    """`put_like` of every array of a tree. One transfer for all takes less time."""
    return jax.device_put(tree, like.sharding if like.committed else None)


def count(n: int, dtype: Any = int) -> jax.Array:
    """A number as an array for a program. Equal numbers share an array, so that it must
    not enter an object that a user gets."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    if is_inside_program():
        return constant(n, dtype)
    return _count(n, dtype, default_device())


def default_device() -> Any:
    """The default device that the user has set, or `None`."""
    return jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]


@ft.lru_cache(maxsize=256)
def _count(n: int, dtype: Any, device: Any) -> jax.Array:
    del device
    return constant(n, dtype)
