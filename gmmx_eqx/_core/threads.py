"""Work side by side in threads, for programs that are compiled while others run; and
the settings that it is done under."""

import concurrent.futures
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax


_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

# What a `with` block of JAX's sets holds for its own thread alone.
_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "jax_enable_x64": jax.enable_x64,
    "jax_default_device": jax.default_device,
    "jax_default_matmul_precision": jax.default_matmul_precision,
    "jax_numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "jax_numpy_rank_promotion": jax.numpy_rank_promotion,
    "jax_debug_nans": jax.debug_nans,
    "jax_disable_jit": jax.disable_jit,
}


def settings() -> dict[str, Any]:
    """Those of the calling thread that mean the same in another process."""
    return _values(_SETTINGS.keys() - {"jax_default_device"})


def _values(names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(jax.config, name) for name in names}


@contextlib.contextmanager
def under(values: dict[str, Any]) -> Iterator[None]:
    """Settings for a `with` block of this thread."""
    with contextlib.ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(_SETTINGS[name](value))
        yield


def map_in_threads(
    fn: Callable[[_Item], _Found], items: Iterable[_Item], n_threads: int
) -> list[_Found]:
    """`fn` of every item, in order, under the settings of the calling thread; in this
    thread itself if there is to be one."""
    if n_threads == 1:
        return [fn(item) for item in items]
    with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(as_here(fn), items))


def as_here(fn: Callable[..., _Found]) -> Callable[..., _Found]:
    """`fn` for another thread, under the settings of the calling one."""
    values = _values(_SETTINGS)

    def call(*args: Any) -> _Found:
        with under(values):
            return fn(*args)

    return call


def n_cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
