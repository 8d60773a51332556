"""The noise of samples that are read in blocks."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import inputs
from .block import aligned
from .reader import AbstractReader
from .readers import noise_reader_of


@dataclasses.dataclass(frozen=True)
class BlockNoise:
    """The covariance of the noise.

    **Attributes:**

    - `shape`: of that of one sample.
    - `shared`: that of all samples, or `None`.
    - `reader`: of that of each sample, as one row, or `None`.
    """

    shape: tuple[int, ...]
    shared: Float[np.ndarray, "..."] | None
    reader: AbstractReader | None

    @classmethod
    def of(cls, noise: Any, n_samples: int, n_features: int) -> "BlockNoise":
        """From what users hand in.

        **Raises:**

        `ValueError` if its shape is not right.
        """
        n, d = n_samples, n_features
        shape = tuple(getattr(noise, "shape", ())) or np.shape(noise)
        if shape in ((), (d,), (d, d)):
            return cls(shape, np.asarray(inputs.as_numbers(noise, "noise")), None)
        if shape not in ((n, d), (n, d, d)):
            raise ValueError(
                f"`noise` must be a number, or have shape ({d},), ({d}, {d}), or "
                f"({n}, {d}) or ({n}, {d}, {d}) for noise of each sample; got {shape}."
            )
        if isinstance(noise, list | tuple):
            noise = np.asarray(inputs.as_numbers(noise, "noise"))
        return cls(shape[1:], None, noise_reader_of(noise))

    def read(
        self, start: int, stop: int, rows: int, dtype: np.dtype
    ) -> Float[np.ndarray, "..."]:
        """That of some samples, with more rows, each like the first one."""
        if self.shared is not None:
            return self.shared.astype(dtype)
        assert self.reader is not None
        self.reader.check_unchanged()
        read = self.reader.read(start, stop).reshape(-1, *self.shape)
        d = self.shape[0]
        # Variances of as many rows as features would be taken for one matrix.
        if len(self.shape) == 1 and rows == d:
            read = read[..., None] * np.eye(d, dtype=read.dtype)
        (noise,) = aligned(dtype, (rows, *read.shape[1:]))
        noise[: len(read)] = read
        noise[len(read) :] = noise[:1]
        return noise

    def part(self, start: int, stop: int) -> "BlockNoise":
        """That of these samples alone, by the numbers that they have here."""
        if self.reader is None:
            return self
        return dataclasses.replace(self, reader=self.reader.part(start, stop))

    def sampled(self) -> Float[np.ndarray, "..."]:
        """Some of the numbers, which differ for other noise."""
        if self.reader is None:
            assert self.shared is not None
            return self.shared
        n_samples = self.reader.shape[0]
        starts = np.unique(np.linspace(0, n_samples - 1, 64).astype(int)).tolist()
        return np.concatenate([self.reader.read(i, i + 1) for i in starts])
