import gc
import os
import zlib

import jax
import jax.random as jr
import numpy as np
import pytest
from jaxtyping import install_import_hook


X64 = os.environ.get("JAX_ENABLE_X64", "1") == "1"
# Checking the arguments of every function takes a fifth of the time. `make test` does
# it in one world, the workflows in both.
CHECK_TYPES = X64 or os.environ.get("GMMX_EQX_CHECK_TYPES") == "1"

# Of whoever runs the tests.
os.environ.pop("GMMX_EQX_CACHE", None)

if CHECK_TYPES:
    # Before the package is imported for the first time.
    strategy = "beartype.BeartypeConf(strategy=beartype.BeartypeStrategy.On)"
    install_import_hook("gmmx_eqx", f"beartype.beartype(conf={strategy})")

jax.config.update("jax_enable_x64", X64)
jax.config.update("jax_numpy_rank_promotion", "raise")  # free: everything is 4-D
jax.config.update("jax_numpy_dtype_promotion", "strict")


# Tracing makes so many objects that looking for garbage as often as Python does by
# default takes a tenth of the time.
gc.set_threshold(50_000, 20, 20)


# Each of these files takes a minute or so on one worker. They begin first, so that in
# the end no worker waits for another's.
LONG = """
    buckets debug_nans divergence docs docstrings examples examples_of_use frozen
    implicit laws low_rank many options pages programs ridge_of_features select sizes
    sklearn_estimator squarem unconstrained
""".split()


def pytest_collection_modifyitems(config, items):
    # Deselected rather than skipped: what belongs to the other world is not in this.
    own, other = ("x64", "x32") if X64 else ("x32", "x64")
    kept, left = [], []
    for item in items:
        if item.get_closest_marker(other) is None:
            kept.append(item)
            continue
        if item.get_closest_marker(own):
            raise pytest.UsageError(f"{item.nodeid} is of both worlds: never run")
        left.append(item)
    config.hook.pytest_deselected(items=left)
    is_short = lambda item: item.path.stem.removeprefix("test_") not in LONG
    items[:] = sorted(kept, key=is_short)


@pytest.fixture
def getkey(request):
    """A new key at every call, the same ones in every run of a test."""
    keys = iter(range(zlib.crc32(request.node.name.encode()), 2**32))
    return lambda: jr.key(next(keys))


@pytest.fixture(scope="session")
def dtype() -> type[np.floating]:
    """The default float of this run: float64 with x64 on, float32 with it off."""
    return np.float64 if X64 else np.float32


@pytest.fixture
def standard_promotion():
    """JAX's own rules, which other packages count on."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Compiled programs are of no use to the next file, and take memory."""
    yield
    jax.clear_caches()
