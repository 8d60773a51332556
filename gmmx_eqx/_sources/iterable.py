"""Samples of an object that is iterated over, again for every pass."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .._core.describe import describe
from .reader import AbstractReader, float_of


class IterableReader(AbstractReader):
    """An object of which every iteration yields the same arrays in the same order, such
    as a `torch.utils.data.DataLoader` that does not shuffle.

    It is iterated over once to learn the sizes. Samples are read by going on from where
    the last reading ended, or from the beginning if they are before that.
    """

    in_order = True

    def __init__(self, x: Iterable[Any]):
        self._x = x
        # The pass and a look at one block may be two threads.
        self._lock = threading.Lock()
        self._sizes: list[int] = []
        self._digests: list[bytes] = []
        width, dtype = None, None
        for number, item in enumerate(x):
            array = _as_block(item, number)
            if width is None or dtype is None:
                width, dtype = array.shape[1], array.dtype
            if array.shape[1] != width:
                raise ValueError(
                    f"Block {number} of `x` has {array.shape[1]} features, but those "
                    f"before it have {width}."
                )
            if array.dtype != dtype:
                raise ValueError(
                    f"Block {number} of `x` has dtype {array.dtype}, but those before "
                    f"it have {dtype}. Convert them to one type."
                )
            self._sizes.append(len(array))
            self._digests.append(_digest(array))
        if width is None or dtype is None:
            raise ValueError("`x` yields nothing when it is iterated over.")
        self.shape = (sum(self._sizes), width)
        self.stored = dtype
        self.dtype = float_of(dtype)
        # At the end, so that nothing is begun before it is read.
        self._items: Iterator[Any] = iter(())
        self._number = len(self._sizes)
        # Samples that were taken from the iterator and not yet read, and where.
        self._rest = np.empty((0, width), dtype)
        self._position = self.shape[0]

    def _restart(self) -> None:
        self._items = iter(self._x)
        self._number = 0
        self._rest = self._rest[:0]
        self._position = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        with self._lock:
            if start < self._position:
                self._restart()
            parts = []
            while self._position < stop:
                if len(self._rest) == 0:
                    self._rest = self._next()
                skipped = min(max(start - self._position, 0), len(self._rest))
                end = min(stop - self._position, len(self._rest))
                if end > skipped:
                    parts.append(self._rest[skipped:end])
                self._rest = self._rest[end:]
                self._position += end
            if self._position == self.shape[0]:
                self._check_end()
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def part(self, start: int, stop: int) -> AbstractReader:
        raise ValueError(
            "An object that is iterated over can be read by this process alone. Leave "
            "out `executor`, or give files or arrays."
        )

    def _next(self) -> np.ndarray:
        """The next array, if it is what it was in the first pass."""
        number, n_blocks = self._number, len(self._sizes)
        item = next(self._items, None)
        if item is None:
            raise ValueError(
                f"`x` yielded {n_blocks} blocks when it was first iterated over, and "
                f"{number} now. {_AGAIN}"
            )
        array = _as_block(item, number)
        if _digest(array) != self._digests[number]:
            raise ValueError(
                f"Block {number} of `x` is not what it was when `x` was first iterated "
                f"over. {_AGAIN}"
            )
        self._number += 1
        return array

    def _check_end(self) -> None:
        if next(self._items, None) is not None:
            raise ValueError(
                f"`x` yielded {len(self._sizes)} blocks when it was first iterated "
                f"over, and more now. {_AGAIN}"
            )
        # What an iterator holds, such as processes that load data, it may let go.
        self._items = iter(())


_AGAIN = (
    "Every iteration must yield the same samples in the same order: without shuffling, "
    "and from a new iterator each time."
)


def _as_block(item: Any, number: int) -> np.ndarray:
    if isinstance(item, list | tuple) and len(item) == 1:
        (item,) = item
    if isinstance(item, list | tuple | dict):
        raise ValueError(
            f"Block {number} of `x` must be one array of samples, or a tuple of one; "
            f"got {describe(item)}. Leave out what is not to be fitted."
        )
    array = np.asarray(item)
    if array.ndim != 2:
        raise ValueError(
            f"Block {number} of `x` must have shape (n_samples, n_features); got "
            f"{array.shape}."
        )
    if 0 in array.shape:
        raise ValueError(f"Block {number} of `x` is empty: its shape is {array.shape}.")
    return array


def _digest(array: np.ndarray) -> bytes:
    """Of the shape and of three samples: enough to see another order or other data, and
    nothing beside the time of a pass."""
    n_samples = len(array)
    some = np.ascontiguousarray(array[[0, n_samples // 2, n_samples - 1]])
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode())
    digest.update(some.tobytes())
    return digest.digest()[:16]
