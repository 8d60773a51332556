"""What reads some samples of data that need not be in memory."""

import abc
from typing import Any

import jax
import numpy as np

from .unchanged import File


class AbstractReader(abc.ABC):
    """Samples that can be read in any order, and again.

    **Attributes:**

    - `shape`: `(n_samples, n_features)`.
    - `dtype`: the type that they are computed in.
    - `stored`: the type that they are read in, if it is the same for all.
    - `rows`: how many samples it is natural to read at once, or `None`.
    - `in_order`: whether it takes long to read samples in another order.
    - `file`: where they are, if that is known.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    stored: np.dtype | None = None
    rows: int | None = None
    in_order: bool = False
    file: File | None = None

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """The samples from `start` to before `stop`."""

    def check_unchanged(self) -> None:
        """Raises a `ValueError` if it is known that the data is not what it was."""
        if self.file is not None:
            self.file.check()

    @abc.abstractmethod
    def part(self, start: int, stop: int) -> "AbstractReader":
        """A reader of these samples, by the numbers that they have here, whose pickle
        holds them only where nothing but this process does. A part has no smaller ones.

        **Raises:**

        `ValueError` if another process cannot read them.
        """


def float_of(dtype: Any) -> np.dtype:
    """float32 and float64 as they are, as far as JAX's x64 mode lets it; float16 as
    float32; other numbers as JAX's default float."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiub":
        raise ValueError(f"`x` must hold numbers; its dtype is {dtype}.")
    if dtype.kind != "f":
        return np.dtype(jax.dtypes.canonicalize_dtype(float))
    wide = np.float64 if dtype.itemsize >= 8 else np.float32
    return np.dtype(jax.dtypes.canonicalize_dtype(wide))
