"""Programs: functions that are compiled as a whole, with options for their size.

On a CPU, most of the time of a first result is XLA's compilation. Its newer emitters of
fused loops double that time, and many lanes of a fit gain from them; one fit does not.
Optimisation doubles it again. Both pay where there is much to compute.
"""

import functools as ft
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax

from .kept import kept
from .known import default_device, is_inside_program, is_known


_P = ParamSpec("_P")
_T = TypeVar("_T")

# Up to so many numbers in its largest arrays a program is hardly optimised. At this
# size a step of EM takes 0.2 ms longer, and its compilation half a second less. Beyond
# `_MEDIUM`, programs are compiled as XLA does by default.
SMALL, _MEDIUM = 2**14, 2**20

_LIGHT = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_backend_optimization_level": 1,
}
# These account for half of the time that XLA's passes take, since they go over every
# loop again after each change. In larger programs code generation takes most of it.
_LOOPS = (
    "simplify-while-loops",
    "while-loop-invariant-code-motion",
    "while-loop-trip-count-annotator",
)
_QUICK = {
    **_LIGHT,
    "xla_backend_optimization_level": 0,
    "xla_disable_hlo_passes": ",".join(_LOOPS),
}


def program(
    size: Callable[..., int] | None = None,
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A decorator for functions of modules and arrays, like `equinox.filter_jit`.

    Inside another program the function is a part of that, with its options.

    **Arguments:**

    - `size`: from the function's arguments to how many numbers its largest arrays have,
        of those that are computed many times; the size of its arguments if not given.
    """

    def decorate(fn: Callable[_P, _T]) -> Callable[_P, _T]:
        @ft.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not starts_program(args, kwargs):
                return _inner(fn)(*args, **kwargs)
            n = _n_numbers(args, kwargs) if size is None else size(*args, **kwargs)
            effort = (n > SMALL) + (n > _MEDIUM)
            found = kept(fn, effort, _options, (args, kwargs))
            return _compiled(fn, effort)(*args, **kwargs) if found is None else found()

        return call

    return decorate


def starts_program(*args: Any) -> bool:
    """Whether a function that is called now, on a CPU, is no part of a program."""
    arrays = [leaf for leaf in jax.tree.leaves(args) if isinstance(leaf, jax.Array)]
    if not is_known(arrays) or is_inside_program():
        return False
    # Arrays that were not put on a device go where NumPy's go.
    placed = [array for array in arrays if array.committed]
    devices = [device for array in placed for device in array.devices()]
    platforms = {device.platform for device in devices} or {_default_platform()}
    return platforms == {"cpu"}


def _default_platform() -> str:
    device = default_device()
    if isinstance(device, str):
        return device
    return (device or jax.local_devices()[0]).platform


def _n_numbers(*args: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(args) if eqx.is_array(leaf))


@ft.cache
def _inner(fn: Callable[..., Any]) -> Callable[..., Any]:
    return eqx.filter_jit(fn)


@ft.cache
def _compiled(fn: Callable[..., Any], effort: int) -> Callable[..., Any]:
    options: Any = {"compiler_options": _options(effort) or None}
    return eqx.filter_jit(fn, **options)


def _options(effort: int) -> dict[str, bool | int | str]:
    """From little effort, zero, to XLA's default, two."""
    if not _known_options():
        return {}
    options = (_QUICK, _LIGHT, {})[effort]
    # Those that users set themselves are theirs.
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in options.items() if name not in flags}


@ft.cache
def _known_options() -> bool:
    """Whether this version of XLA knows the options, which are not part of its API."""
    try:
        jax.jit(lambda: 0, compiler_options=_QUICK).lower().compile()
    except (RuntimeError, ValueError):
        return False
    return True
