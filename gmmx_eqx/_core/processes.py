"""Forked processes, which have none of the threads that JAX computes with."""

import os
import sys
from typing import NamedTuple


class _State(NamedTuple):
    """What is known of this process, and of the one that it was forked from."""

    used: bool = False
    stranded: bool = False


_state = _State()


def check_process() -> None:
    """Raises a `RuntimeError` in a process forked after JAX had been used: the first
    computation would wait for a thread that is not there, for ever."""
    global _state
    if _state.stranded:
        raise RuntimeError(
            "This process was forked from one that had already used JAX, and has none "
            "of its threads: a computation would never end. Start processes by "
            '`multiprocessing.get_context("spawn")` or `"forkserver"`, use joblib with '
            'its backend `"loky"`, or fork before JAX is first used.'
        )
    if not _state.used:
        _state = _state._replace(used=True)


def _after_fork() -> None:
    global _state
    _state = _state._replace(stranded=_state.stranded or _jax_was_running())


def _jax_was_running() -> bool:
    # Not public, and read without JAX's lock, which a thread that is gone may hold.
    # Where there is no such thing, JAX's use by this library alone counts.
    bridge = sys.modules.get("jax._src.xla_bridge")
    backends = getattr(bridge, "_backends", None)
    return _state.used if backends is None else bool(backends)


# Windows has no `fork`.
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
