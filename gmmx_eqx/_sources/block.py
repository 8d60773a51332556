"""Some of the samples, as they are read."""

import dataclasses
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from .._core.aliases import Data
from .observed import Observed, observed_of


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
    - `noise`: as in [`gmmx_eqx.Observed`][], or `None`.
    - `misses`: whether NaN is a missing value.
    """

    number: int
    x: Float[np.ndarray, "rows features"]
    weight: Float[np.ndarray, " rows"]
    n_samples: int
    labels: Int[np.ndarray, " rows"] | None = None
    noise: Float[np.ndarray, "..."] | None = None
    misses: bool = False

    @property
    def arrays(self) -> tuple[Data, Float[Array, " rows"]]:
        """`x` and `weight` as JAX arrays."""
        return jax.device_put((self.x, self.weight))

    @property
    def is_observed(self) -> bool:
        """Whether values may be missing, or are noisy."""
        return self.misses or self.noise is not None

    @property
    def data(self) -> Data | Observed:
        """The samples, as functions take them."""
        return jax.device_put(self.observed if self.is_observed else self.x)

    @property
    def observed(self) -> Observed:
        """The samples as [`gmmx_eqx.Observed`][], of NumPy arrays."""
        return observed_of(self.x, None, self.noise, self.weight)

    def check_finite(self) -> None:
        """Raises a `ValueError` that says where a sample of positive weight holds NaN,
        unless that is a missing value, or infinity."""
        sound = np.isfinite(self.x) | (self.misses & np.isnan(self.x))
        bad = np.argwhere(~sound & (self.weight > 0)[:, None])
        if len(bad):
            row, feature = bad[0].tolist()
            sample = self.number * len(self.x) + row
            raise ValueError(
                f"Block {self.number} holds NaN or infinity: feature {feature} of its "
                f"row {row}, which is sample {sample}. Drop or impute such samples, "
                "give them a weight of zero, or say that NaN is a missing value: "
                "`gmmx_eqx.blocks(x, missing=True)`."
            )


def aligned(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Empty arrays that JAX takes without a copy on a CPU.

    They share one piece of memory. The system takes a large piece back as soon as it is
    freed, and keeps small ones that several threads have freed.
    """
    sizes = [int(np.prod(shape)) * dtype.itemsize for shape in shapes]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size + -size % _ALIGNMENT)
    buffer = np.empty(starts[-1] + _ALIGNMENT, np.uint8)
    buffer = buffer[-buffer.ctypes.data % _ALIGNMENT :]
    return [
        buffer[start : start + size].view(dtype).reshape(shape)
        for start, size, shape in zip(starts, sizes, shapes, strict=False)
    ]
