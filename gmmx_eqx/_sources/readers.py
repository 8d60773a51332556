"""Ways to read some samples of data that need not be in memory."""

import bisect
import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import jax
import numpy as np

from .._core.describe import describe
from .handles import (
    AbstractHandle,
    check_in_memory,
    handle_of,
    opened,
    ParquetPath,
    pickled,
)
from .iterable import IterableReader
from .reader import AbstractReader, float_of
from .unchanged import File


class _Slices(AbstractReader):
    """An object with `shape`, `dtype` and slices."""

    def __init__(self, x: Any, shape: tuple[int, int] | None = None):
        self._x = x
        # Of matrices as rows.
        self.shape = _checked_shape(x.shape) if shape is None else shape
        self.stored = np.dtype(x.dtype)
        self.dtype = float_of(x.dtype)
        self.file = File.of(x)

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asanyarray(self._x[start:stop])

    def check_unchanged(self) -> None:
        shape = tuple(map(int, self._x.shape))
        if shape[0] != self.shape[0] or np.prod(shape[1:]) != self.shape[1]:
            raise ValueError(_changed(self.shape, shape))
        if self.file is not None:
            self.file.check()

    def part(self, start: int, stop: int) -> AbstractReader:
        handle = handle_of(self._x)
        if handle is None:
            check_in_memory(self._x.nbytes, "an array")
            return _Window(self, start, self.read(start, stop))
        return _Elsewhere(self, handle)


class _Elsewhere(AbstractReader):
    """An object with slices that every process opens for itself."""

    def __init__(self, whole: AbstractReader, handle: AbstractHandle):
        self.shape, self.dtype, self.rows = whole.shape, whole.dtype, whole.rows
        self._handle = handle

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(opened(self._handle)[start:stop])

    def part(self, start: int, stop: int) -> AbstractReader:
        del start, stop
        return self


class _Window(AbstractReader):
    """A copy of some of the samples."""

    def __init__(self, whole: AbstractReader, first: int, samples: np.ndarray):
        self.shape, self.dtype, self.rows = whole.shape, whole.dtype, whole.rows
        self._first = first
        self._samples = samples

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._samples[start - self._first : stop - self._first]

    def part(self, start: int, stop: int) -> AbstractReader:
        del start, stop
        return self


class _Dask(AbstractReader):
    """A dask array, which computes what is asked for."""

    def __init__(self, x: Any):
        self._x = x
        self.shape = _checked_shape(x.shape)
        self.dtype = float_of(x.dtype)
        self.rows = max(x.chunks[0])

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self._x[start:stop].compute())

    def part(self, start: int, stop: int) -> AbstractReader:
        import dask

        # The graph of these samples alone.
        optimize: Any = getattr(dask, "optimize")  # noqa: B009  # for pyright
        (own,) = optimize(self._x[start:stop])
        return _DaskPart(self, start, pickled(own))


class _DaskPart(AbstractReader):
    """The graph of some of the samples of a dask array."""

    def __init__(self, whole: AbstractReader, first: int, handle: AbstractHandle):
        self.shape, self.dtype, self.rows = whole.shape, whole.dtype, whole.rows
        self._first = first
        self._handle = handle

    def read(self, start: int, stop: int) -> np.ndarray:
        own = self._handle.open()[start - self._first : stop - self._first]
        # By this thread: a worker that asked its cluster would wait for itself.
        return np.asarray(own.compute(scheduler="synchronous"))

    def part(self, start: int, stop: int) -> AbstractReader:
        del start, stop
        return self


class _Frame(AbstractReader):
    """A data frame that narwhals knows."""

    def __init__(self, frame: Any):
        self._frame = frame
        self.shape = _checked_shape(frame.shape)
        self.dtype = float_of(np.asarray(frame[:1].to_numpy()).dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self._frame[start:stop].to_numpy())

    def check_unchanged(self) -> None:
        shape = _checked_shape(self._frame.shape)
        if shape != self.shape:
            raise ValueError(_changed(self.shape, shape))

    def part(self, start: int, stop: int) -> AbstractReader:
        n_bytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        check_in_memory(n_bytes, "a data frame")
        return _Window(self, start, self.read(start, stop))


class _Parquet(AbstractReader):
    """A file in the format Parquet, by its row groups."""

    def __init__(self, file: Any, handle: ParquetPath | None = None):
        self._file = file
        self._handle = handle
        sizes = [
            file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)
        ]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.shape = (int(self._starts[-1]), len(file.schema_arrow.names))
        kinds = [kind.to_pandas_dtype() for kind in file.schema_arrow.types]
        self.dtype = max(map(float_of, kinds), key=lambda kind: kind.itemsize)
        self._last: tuple[int, np.ndarray] | None = None

    def _group(self, number: int) -> np.ndarray:
        # Blocks that are read in order ask for a group several times.
        if self._last is None or self._last[0] != number:
            table = self._file.read_row_group(number)
            columns = [column.to_numpy() for column in table.columns]
            self._last = number, np.stack(columns, axis=1)
        return self._last[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        first = bisect.bisect_right(self._starts, start) - 1
        parts = []
        while start < stop:
            end = min(stop, int(self._starts[first + 1]))
            offset = int(self._starts[first])
            parts.append(self._group(first)[start - offset : end - offset])
            start, first = end, first + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def part(self, start: int, stop: int) -> AbstractReader:
        del start, stop
        if self._handle is None:
            raise ValueError(
                "A `pyarrow.parquet.ParquetFile` does not know its path, by which "
                "other processes could read it. Give the path itself: "
                '`gmmx_eqx.blocks("x.parquet")`.'
            )
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None, "_last": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # Not one that other threads read at the same time.
        self._file = state["_handle"].open()


class _Parts(AbstractReader):
    """Several readers, one after the other."""

    def __init__(self, readers: Sequence[AbstractReader]):
        self._readers = dict(enumerate(readers))
        if not readers:
            raise ValueError("`x` must have at least one part; it is empty.")
        widths = {reader.shape[1] for reader in readers}
        if len(widths) != 1:
            raise ValueError(
                "All parts must have as many features; got "
                f"{', '.join(str(reader.shape[1]) for reader in readers[:6])}."
            )
        sizes = [reader.shape[0] for reader in readers]
        self._starts = [0, *np.cumsum(sizes).tolist()]
        self.shape = (self._starts[-1], widths.pop())
        self.dtype = max((r.dtype for r in readers), key=lambda kind: kind.itemsize)
        self.in_order = any(reader.in_order for reader in readers)

    def check_unchanged(self) -> None:
        for reader in self._readers.values():
            reader.check_unchanged()

    def read(self, start: int, stop: int) -> np.ndarray:
        parts = self._parts(start, stop)
        return np.concatenate([self._readers[i].read(*within) for i, *within in parts])

    def part(self, start: int, stop: int) -> AbstractReader:
        own = copy.copy(self)
        # The others are not sent: there may be thousands.
        own._readers = {
            i: self._readers[i].part(*within)
            for i, *within in self._parts(start, stop)
            if i in self._readers
        }
        return own

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Which parts samples are in, and which of theirs they are."""
        number = bisect.bisect_right(self._starts, start) - 1
        while start < stop:
            end = min(stop, self._starts[number + 1])
            offset = self._starts[number]
            if end > start:
                yield number, start - offset, end - offset
            start, number = end, number + 1


_EXPECTED = (
    "`x` must be an object with `shape`, `dtype` and slices, a data frame, a "
    "`pyarrow.parquet.ParquetFile` or its path, a list of such parts, or an iterable "
    "of arrays; got {}."
)


def reader_of(x: Any) -> AbstractReader:
    """A way to read data of any supported kind.

    **Raises:**

    `ValueError` for what cannot be read in any order.
    """
    if isinstance(x, list | tuple):
        return _Parts([reader_of(part) for part in x])
    if isinstance(x, str | os.PathLike):
        if not os.fspath(x).endswith(".parquet"):
            raise ValueError(_EXPECTED.format(describe(x)))
        handle = ParquetPath.of(x)
        return _Parquet(handle.open(), handle)
    module = type(x).__module__.partition(".")[0]
    if module == "pyarrow" and hasattr(x, "read_row_group"):
        return _Parquet(x)
    if module == "dask" and hasattr(x, "chunks"):
        if any(np.isnan(size) for size in x.chunks[0]):
            raise ValueError(
                "The sizes of the dask array's chunks are not known. Use "
                "`x.compute_chunk_sizes()` first."
            )
        return _Dask(x)
    frame = _as_frame(x)
    if frame is not None:
        return _Frame(frame)
    if isinstance(x, jax.Array | np.ndarray) or (
        hasattr(x, "shape") and hasattr(x, "dtype") and hasattr(x, "__getitem__")
    ):
        return _Slices(x)
    if isinstance(x, Iterator):
        raise ValueError(
            "`x` can be read only once, but a fit takes several passes. Give an object "
            "with `shape`, `dtype` and slices, a list of arrays, or an object of which "
            "every `iter(x)` begins anew."
        )
    if isinstance(x, Iterable) and not isinstance(x, bytes | Mapping | Set):
        return IterableReader(x)
    raise ValueError(_EXPECTED.format(describe(x)))


def noise_reader_of(noise: Any) -> AbstractReader:
    """A way to read the covariances of the noise of samples: of matrices, shape
    `(n_samples, n_features, n_features)`, as rows."""
    if len(noise.shape) == 2:
        return reader_of(noise)
    n_samples, *shape = map(int, noise.shape)
    return _Slices(noise, (n_samples, int(np.prod(shape))))


def _as_frame(x: Any) -> Any:
    if not (hasattr(x, "columns") and hasattr(x, "shape")):
        return None
    try:
        import narwhals
    except ImportError as error:
        raise ImportError(
            "Blocks of a data frame need narwhals: `pip install "
            "'gmmx_eqx[blocks]'`. Or give `frame.to_numpy()`."
        ) from error
    return narwhals.from_native(x, eager_only=True)


def _checked_shape(shape: Any) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(
            f"`x` must have shape (n_samples, n_features); got {tuple(shape)}."
        )
    return int(shape[0]), int(shape[1])


def _changed(before: tuple[int, int], now: tuple[int, ...]) -> str:
    return (
        f"The data has changed: its shape was {before}, and is {now} now. Make new "
        "blocks."
    )
