"""Objects that hold arrays, as `pickle` and its kind store them."""

from typing import Any

import jax
import numpy as np

from .processes import check_process


_WIDE = (np.float64, np.complex128)


class Pickled:
    """An object whose pickle names its float64 arrays, so that none of them is rounded.

    JAX rounds float64 arrays to float32, without a warning, where its x64 mode is off.
    """

    def __getstate__(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        fields = dict(vars(self))
        wide = [
            name
            for name, value in fields.items()
            if isinstance(value, jax.Array) and value.dtype in _WIDE
        ]
        return fields, tuple(wide)

    def __setstate__(self, state: tuple[dict[str, Any], tuple[str, ...]]) -> None:
        check_process()
        fields, wide = state
        for name in wide:
            if fields[name].dtype not in _WIDE:
                raise ValueError(
                    f"A `{type(self).__name__}` of float64 numbers cannot be loaded "
                    "while JAX's x64 mode is off, without rounding them to float32. "
                    'Call `jax.config.update("jax_enable_x64", True)` first.'
                )
        # Not `setattr`: fields are frozen.
        vars(self).update(fields)
