import dataclasses
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from .._core.aliases import Data


# Of memory that JAX can use as it is.
_ALIGNMENT = 64

# Samples, weights and, if there are any, labels of a block.
Columns: TypeAlias = tuple[
    Float[np.ndarray, "chunks features size"],
    Float[np.ndarray, "chunks size"],
    Int[np.ndarray, "chunks size"] | None,
]


@dataclasses.dataclass(frozen=True)
class Block:
    """Some of the samples, padded to the number that every block has.

    **Attributes:**

    - `number`: which block it is.
    - `x`: shape `(rows, n_features)`; rows that are no samples are zero.
    - `weight`: shape `(rows,)`; zero for rows that are no samples.
    - `n_samples`: how many rows are samples, the first ones.
    - `labels`: shape `(rows,)`, -1 where none is known and for rows that are no
        samples; `None` if the blocks have no labels.
    """

    number: int
    x: Float[np.ndarray, "rows features"]
    weight: Float[np.ndarray, " rows"]
    n_samples: int
    labels: Int[np.ndarray, " rows"] | None = None

    @property
    def arrays(self) -> tuple[Data, Float[Array, " rows"]]:
        """`x` and `weight` as JAX arrays."""
        return jax.device_put((self.x, self.weight))


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that JAX takes without a copy on a CPU."""
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    buffer = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    offset = -buffer.ctypes.data % _ALIGNMENT
    return buffer[offset : offset + n_bytes].view(dtype).reshape(shape)
