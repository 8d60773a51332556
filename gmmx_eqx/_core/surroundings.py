"""What a compiled program depends on besides its function and its arguments."""

import functools as ft
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re
import sys
import time
from typing import Any

import jax


PACKAGE = pathlib.Path(__file__).parents[1]
LIBRARIES = ("jax", "jaxlib", "equinox", "numpy", "jaxtyping", "lineax")

_IMPORTED = time.time()

# Settings that no program depends on.
_APART = re.compile("cache|log_|logging|traceback|transfer_guard|dump")


def settings() -> list[Any]:
    """JAX's, as they are for this thread."""
    values = jax.config.values
    # Some that are listed are no attributes. Others are another one in each thread.
    found = [getattr(jax.config, name, values[name]) for name in _names_of_settings()]
    return [repr(x) if isinstance(x, dict | list) else x for x in found]


@ft.cache
def _names_of_settings() -> list[str]:
    return [name for name in sorted(jax.config.values) if not _APART.search(name)]


@ft.cache
def surroundings() -> tuple[Any, ...] | None:
    """What programs depend on besides their arguments and JAX's settings; `None` if
    that is not known."""
    source = _source()
    versions = [importlib.metadata.version(name) for name in LIBRARIES]
    machine = _processor(), os.cpu_count()
    own = source, versions, sys.version, *machine, _names_of_settings()
    return None if source is None else own


def _source() -> str | None:
    """A digest of this library's source, unless that may not be what was imported."""
    digest = hashlib.sha256()
    files = sorted(PACKAGE.rglob("*.py"))
    for path in files:
        digest.update(str(path.relative_to(PACKAGE)).encode())
        digest.update(path.read_bytes())
    is_old = all(path.stat().st_mtime < _IMPORTED for path in files)
    return digest.hexdigest() if files and is_old else None


def _processor() -> tuple[str, ...]:
    """The processor, since a program may use instructions that another lacks."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    # Their names on x86 and on ARM.
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    models = [line for line in lines if line.startswith(("model name", "CPU part"))]
    return platform.machine(), platform.processor(), *flags[:1], *models[:1]
