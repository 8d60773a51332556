"""Handles: what a pickle holds of data that another process opens by itself."""

import abc
import dataclasses
import functools as ft
import io
import mmap
import os
import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._core.describe import describe


# A copy of data in memory goes with the tasks of a pass up to this size, and an object
# of another kind goes with each of them.
_MOST_IN_MEMORY, _MOST_EACH = 8 * 2**20, 2**20
# How many opened files a process keeps.
_N_OPENED = 64


class AbstractHandle(abc.ABC):
    """How to open data; hashable, so that a process opens it once."""

    @abc.abstractmethod
    def open(self) -> Any:
        """An object with slices of samples."""


@ft.lru_cache(_N_OPENED)
def opened(handle: AbstractHandle) -> Any:
    """The data of a handle, which this process keeps open."""
    return handle.open()


@dataclasses.dataclass(frozen=True)
class _Mapped(AbstractHandle):
    """A part of a file of numbers.

    **Attributes:**

    - `stamp`: of the file, which is opened again when it is another one.
    - `start`: the byte that the first number begins at.
    """

    path: str
    stamp: tuple[int, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int

    def open(self) -> np.ndarray:
        with open(self.path, "rb") as file:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.ndarray(self.shape, self.dtype, buffer, self.start, self.strides)


@dataclasses.dataclass(frozen=True)
class _Named(AbstractHandle):
    """A data set of a file, by its name.

    **Attributes:**

    - `file`: the class that opens files, `h5py.File`.
    """

    file: Callable[..., Any]
    path: str
    stamp: tuple[int, ...]
    name: str

    def open(self) -> Any:
        return self.file(self.path, "r")[self.name]


@dataclasses.dataclass(frozen=True)
class ParquetPath(AbstractHandle):
    """A file in the format Parquet."""

    path: str
    stamp: tuple[int, ...]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "ParquetPath":
        path = os.path.abspath(path)
        return cls(path, _stamp(path))

    def open(self) -> Any:
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise ImportError(
                "A path of a Parquet file needs pyarrow: `pip install pyarrow`."
            ) from error
        return ParquetFile(self.path)


@dataclasses.dataclass(frozen=True)
class _Pickle(AbstractHandle):
    """An object that pickles itself, without its samples: an array of zarr, a graph of
    dask."""

    content: bytes

    def open(self) -> Any:
        return pickle.loads(self.content)


def handle_of(x: Any) -> AbstractHandle | None:
    """A handle of an object with slices; `None` if its samples are in memory.

    **Raises:**

    `ValueError` for an object that other processes cannot get at.
    """
    mapped = _mapping(x)
    if mapped is not None:
        address = lambda array: array.__array_interface__["data"][0]
        start = mapped.offset + address(x) - address(mapped)
        path = os.path.abspath(str(mapped.filename))
        return _Mapped(path, _stamp(path), x.dtype, x.shape, x.strides, start)
    if isinstance(x, np.ndarray | jax.Array):
        return None
    if type(x).__module__.partition(".")[0] == "h5py":
        path = os.path.abspath(x.file.filename)
        if not os.path.exists(path):
            raise ValueError(
                f"The HDF5 file `{x.file.filename}` is in memory, where other "
                "processes cannot read it."
            )
        return _Named(type(x.file), path, _stamp(path), x.name)
    return pickled(x)


def pickled(x: Any) -> AbstractHandle:
    """The pickle of an object, as a handle.

    **Raises:**

    `ValueError` if it cannot be pickled, or with its samples only.
    """
    content = _Limited()
    try:
        dump(x, content)
    except _TooLargeError:
        raise ValueError(
            f"{_name(x)} cannot be read by other processes: its pickle has more than "
            f"{_MOST_EACH // 2**20} MiB, so it seems to hold the samples. Save them to "
            "a file, and give an `np.load(path, mmap_mode='r')`, a data set of h5py or "
            "an array of zarr."
        ) from None
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{_name(x)} cannot be read by other processes, since it cannot be "
            f"pickled: {error}"
        ) from error
    return _Pickle(content.getvalue())


def dump(x: Any, file: io.BytesIO) -> None:
    """A pickle, by cloudpickle if that is installed: it knows functions that were
    written in a notebook."""
    try:
        import cloudpickle
    except ImportError:
        pickle.dump(x, file)
    else:
        cloudpickle.dump(x, file)


class _TooLargeError(Exception):
    """Of a pickle that is longer than it may be."""


class _Limited(io.BytesIO):
    """A file in memory that takes a few bytes only."""

    def write(self, data: Any, /) -> int:
        if self.tell() + memoryview(data).nbytes > _MOST_EACH:
            raise _TooLargeError
        return io.BytesIO.write(self, data)


def check_in_memory(n_bytes: int, what: str) -> None:
    """Raises a `ValueError` if data in memory is too large to be sent elsewhere."""
    if n_bytes > _MOST_IN_MEMORY:
        raise ValueError(
            f"`x` is {what} of {n_bytes / 2**20:.0f} MiB in the memory of this "
            f"process. Up to {_MOST_IN_MEMORY // 2**20} MiB are copied to other "
            "processes. Save it where they can read it, `np.save(path, x)`, and give "
            "`np.load(path, mmap_mode='r')`."
        )


def _name(x: Any) -> str:
    return f"`x`, {describe(x)}," if describe(x).startswith("an ") else "`x`"


def _mapping(x: Any) -> np.memmap | None:
    """The memory map that an array is a view of."""
    base = x
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and isinstance(base.base, mmap.mmap):
            return base if base.filename is not None else None
        base = base.base
    return None


def _stamp(path: str) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
