import importlib.metadata
import os
import pathlib
import sys
import warnings

import jax
from jax.experimental.compilation_cache import compilation_cache

from .kept import keep_in
from .processes import check_process


# Processes that are started later inherit the folder through this.
_VARIABLE = "GMMX_EQX_CACHE"


def cache_programs(folder: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """A folder of compiled programs, so that later processes need not compile them.

    Call it once, at the beginning of a script or a notebook. On a CPU, this library's
    own programs are kept as a whole, and are not traced again either, unless they
    contain classes or functions of yours. For all other programs of the process it sets
    up JAX's persistent compilation cache, with no limit on how small a program may be.
    Data of another length, and often another number of components, is the same program:
    see [how long a first result takes](../speed.md).

    Processes that import this library later, such as the workers of joblib, use the
    folder as well. They find it in the environment variable `GMMX_EQX_CACHE`. To set
    that before the import does the same as this call, but leaves JAX's cache as it is
    if that has a folder already.

    **Arguments:**

    - `folder`: where; it is made if it does not exist. If not given, it is that of
        `GMMX_EQX_CACHE` or, without one, the user's folder for caches, in a part of its
        own for each version of jaxlib. Its programs are run, so give only people you
        trust write access.

    **Returns:**

    The folder. It can be deleted at any time.
    """
    check_process()
    path = _default_folder() if folder is None else pathlib.Path(folder)
    path = path.expanduser().absolute()
    path.mkdir(parents=True, exist_ok=True)
    _set_up_jax(path)
    keep_in(path)
    os.environ[_VARIABLE] = str(path)
    return path


def cache_as_environment_says() -> None:
    """The folder of the environment variable, if there is one, from the import on. If
    JAX has a folder for its cache, that stays."""
    folder = os.environ.get(_VARIABLE)
    if not folder:
        return
    try:
        if jax.config.values["jax_compilation_cache_dir"] is None:
            cache_programs(folder)
        else:
            keep_in(pathlib.Path(folder).expanduser())
    except Exception as error:
        text = f"Programs are not kept in `{folder}`, which `{_VARIABLE}` names: "
        warnings.warn(f"{text}{error}", RuntimeWarning, stacklevel=2)


def _set_up_jax(path: pathlib.Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # Otherwise it stays off where a program was compiled before.
    compilation_cache.reset_cache()


def _default_folder() -> pathlib.Path:
    named = os.environ.get(_VARIABLE)
    if named:
        return pathlib.Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    version = importlib.metadata.version("jaxlib")
    return pathlib.Path(base).expanduser() / "gmmx_eqx" / f"jaxlib-{version}"
