import contextlib
from typing import Any

import jax
import numpy as np


def precision(dtype: Any) -> contextlib.AbstractContextManager[Any]:
    """Where arrays of this type stay what they are, whether JAX's x64 mode is on or
    off. Of this thread alone; programs compiled inside are kept apart from others."""
    if dtype == np.float64:
        return jax.enable_x64(True)
    return contextlib.nullcontext()
