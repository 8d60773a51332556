"""Data on the host, or beyond it, read one block at a time."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Data, PerFeature
from .._core.describe import as_key
from .._core.likes import KeyLike, SampleWeightLike
from .draw import Drawn, numbers_drawn
from .order import Seed, shuffled
from .reader import AbstractReader
from .readers import reader_of
from .workers import ExecutorLike, Workers


# Of one block. As many samples as make a pass over it long enough to hide its start.
_BLOCK_BYTES = 32 * 2**20
# Of memory that JAX can use as it is.
_ALIGNMENT = 64
# How many blocks are read ahead.
_AHEAD = 1

_Loaded = TypeVar("_Loaded")
# Samples and weights of a block.
Columns: TypeAlias = tuple[
    Float[np.ndarray, "chunks features size"], Float[np.ndarray, "chunks size"]
]
Weights: TypeAlias = Float[np.ndarray, " n_samples"]
# What is read in blocks. Checked by hand: see `likes`.
if TYPE_CHECKING:
    SourceLike: TypeAlias = Any
else:
    SourceLike = Annotated[Any, ""]


@dataclasses.dataclass(frozen=True)
class Block:
    """Some of the samples, padded to the number that every block has.

    **Attributes:**

    - `number`: which block it is.
    - `x`: shape `(rows, n_features)`; rows that are no samples are zero.
    - `weight`: shape `(rows,)`; zero for rows that are no samples.
    - `n_samples`: how many rows are samples, the first ones.
    """

    number: int
    x: Float[np.ndarray, "rows features"]
    weight: Float[np.ndarray, " rows"]
    n_samples: int

    @property
    def arrays(self) -> tuple[Data, Float[Array, " rows"]]:
        """`x` and `weight` as JAX arrays."""
        return jax.device_put((self.x, self.weight))


class Blocks:
    """Data that is read one block at a time, as often as it is needed; made by
    [`gmmx_eqx.blocks`][].

    Nothing but a few blocks is held in memory: the one that is computed with and those
    that a thread reads ahead.

    **Attributes:**

    - `shape`: `(n_samples, n_features)`.
    - `dtype`: the type that blocks are computed in.
    - `rows`: how many samples each block has; the last one may have fewer.
    - `workers`: what computes with the blocks, `None` for this process.

    A pickle holds no samples but those that are in this process's memory alone, and no
    workers.
    """

    def __init__(
        self,
        reader: AbstractReader,
        rows: int,
        weight: Weights | None,
        *,
        first: int = 0,
        workers: Workers | None = None,
    ):
        self._reader = reader
        self._weight = weight
        # The sample that the first weight is of.
        self._first = first
        self.workers = workers
        self.shape: tuple[int, int] = reader.shape
        self.dtype: np.dtype[Any] = np.dtype(reader.dtype)
        self.rows: int = rows

    def __repr__(self) -> str:
        n_samples, n_features = self.shape
        return (
            f"Blocks: {n_samples} samples, {n_features} features, {self.dtype.name}, "
            f"{len(self)} blocks of {self.rows}"
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise ValueError(
            "Blocks are taken by `gmmx_eqx.fit`, `fit_restarts` and `select`, by "
            "starts such as `from_k_means`, and by `score`, `aic`, `bic` and `icl` of "
            "a mixture. Elsewhere use "
            "`gmmx_eqx.map_blocks(fn, blocks)`, or a draw of the samples: "
            "`x, weight = blocks.draw(10_000, key)`."
        )

    def __len__(self) -> int:
        """How many blocks there are."""
        return -(-self.shape[0] // self.rows)

    def __getstate__(self) -> dict[str, Any]:
        reader = self._reader.part(0, self.shape[0])
        return {**vars(self), "_reader": reader, "workers": None}

    def part(self, numbers: range) -> "Blocks":
        """Blocks with the same numbers, of which these alone can be loaded: what is
        sent to another process.

        **Raises:**

        `ValueError` if other processes cannot read them.
        """
        start = numbers.start * self.rows
        stop = min(numbers.stop * self.rows, self.shape[0])
        weight = self._weight
        if weight is not None:
            weight = weight[start - self._first : stop - self._first]
        return Blocks(self._reader.part(start, stop), self.rows, weight, first=start)

    @property
    def in_order(self) -> bool:
        """Whether it takes long to read blocks in another order."""
        return self._reader.in_order

    @property
    def n_present(self) -> int:
        """How many samples have a positive weight."""
        if self._weight is None:
            return self.shape[0]
        return int(np.count_nonzero(self._weight > 0))

    @property
    def total_weight(self) -> float:
        """The weight of all samples."""
        if self._weight is None:
            return float(self.shape[0])
        return float(np.sum(self._weight, dtype=np.float64))

    def load(self, number: int) -> Block:
        """One block, read now.

        **Raises:**

        `ValueError` if it does not have the shape it should, or holds no numbers.
        """
        read, own = self._read(number)
        n_read = len(read)
        x = _aligned((self.rows, self.shape[1]), self.dtype)
        with np.errstate(over="ignore"):
            x[:n_read] = read
        x[n_read:] = 0
        weight = _aligned((self.rows,), self.dtype)
        weight[:n_read] = own
        weight[n_read:] = 0
        return Block(number, x, weight, n_read)

    def columns(
        self, number: int, pivot: PerFeature, size: int, seed: Seed | None = None
    ) -> Columns:
        """One block in the layout of [`gmmx_eqx.extend.InMemory`][]: NumPy arrays of
        shapes `(chunks, features, size)`, about `pivot` and in its type, and `(chunks,
        size)`.
        On a CPU, XLA takes three times as long. A `seed` orders samples at random.
        """
        read, own = shuffled(*self._read(number), seed)
        n_read, n_features = read.shape
        dtype = np.dtype(pivot.dtype)
        n_chunks = -(-self.rows // size)
        columns = _aligned((n_chunks, n_features, size), dtype)
        weights = _aligned((n_chunks, size), dtype)
        flat = weights.reshape(-1)
        flat[:n_read] = own
        flat[n_read:] = 0
        about = np.asarray(pivot).reshape(n_features, 1)
        whole = n_read // size
        with np.errstate(over="ignore", invalid="ignore"):
            chunks = read[: whole * size].reshape(whole, size, n_features)
            np.subtract(
                chunks.swapaxes(1, 2), about, out=columns[:whole], casting="unsafe"
            )
            rest = read[whole * size :].T
            columns[whole:] = 0
            if rest.size:
                n_rest = rest.shape[1]
                np.subtract(
                    rest, about, out=columns[whole, :, :n_rest], casting="unsafe"
                )
        if self._weight is not None:
            # Not a product: a sample of weight zero may be NaN, and no other.
            np.copyto(columns, 0, where=(weights == 0)[:, None])
        return columns, weights

    def _read(self, number: int) -> tuple[np.ndarray, Any]:
        """The samples of a block as they are, and their weights."""
        n_samples, n_features = self.shape
        if not 0 <= number < len(self):
            raise IndexError(f"Block {number} of {len(self)}.")
        start = number * self.rows
        stop = min(start + self.rows, n_samples)
        self._reader.check_unchanged()
        read = self._reader.read(start, stop)
        if np.ma.is_masked(read):
            raise ValueError(
                f"Block {number} is a masked array in which numbers are masked. What "
                "lies under a mask is no data: leave such samples out."
            )
        read = np.asarray(read)
        if read.shape != (stop - start, n_features):
            raise ValueError(
                f"Block {number}, the samples {start} to {stop - 1}, has shape "
                f"{read.shape}; expected {(stop - start, n_features)}."
            )
        if read.dtype.kind not in "fiub":
            raise ValueError(f"Block {number} must hold numbers; got {read.dtype}.")
        stored = self._reader.stored
        # Integers in a file may be read as numbers in their unit.
        if stored is not None and stored.kind == "f" and read.dtype != stored:
            raise ValueError(
                f"Block {number} has dtype {read.dtype}, but the data has {stored}."
            )
        if self._weight is None:
            return read, 1
        return read, self._weight[start - self._first : stop - self._first]

    def check_finite(self, block: Block) -> None:
        """Raises a `ValueError` that says where a sample of positive weight holds NaN
        or infinity."""
        bad = np.argwhere(~np.isfinite(block.x) & (block.weight > 0)[:, None])
        if len(bad):
            row, feature = bad[0].tolist()
            sample = block.number * self.rows + row
            raise ValueError(
                f"Block {block.number} holds NaN or infinity: feature {feature} of its "
                f"row {row}, which is sample {sample}. Drop or impute such samples, or "
                "give them a weight of zero."
            )

    def __iter__(self) -> Iterator[Block]:
        return self.ahead(self.load)

    def ahead(
        self,
        load: Callable[[int], _Loaded],
        depth: int = _AHEAD,
        *,
        numbers: Sequence[int] | None = None,
    ) -> Iterator[_Loaded]:
        """`load` of the number of every block in order, or of these numbers, by a
        thread that is `depth` blocks ahead."""
        numbers = range(len(self)) if numbers is None else numbers
        # A thread, never a fork: JAX has threads of its own.
        with ThreadPoolExecutor(1, "gmmx_eqx-blocks") as pool:
            waiting = [pool.submit(load, number) for number in numbers[:depth]]
            for i in range(len(numbers)):
                block = waiting.pop(0).result() if waiting else load(numbers[i])
                if i + depth < len(numbers):
                    waiting.append(pool.submit(load, numbers[i + depth]))
                yield block
                del block

    def draw(self, n_samples: int, key: KeyLike) -> Drawn:
        """Random samples without replacement, in the order of the data, and their
        weights: all of them if there are no more.

        **Arguments:**

        - `key`: a `jax.random` key.
        """
        chosen = numbers_drawn(n_samples, self.shape[0], as_key(key))
        numbers, positions = np.divmod(chosen, self.rows)
        xs, weights = [], []
        for number in np.unique(numbers):
            block = self.load(int(number))
            own = positions[numbers == number]
            xs.append(block.x[own])
            weights.append(block.weight[own])
        return np.concatenate(xs), np.concatenate(weights)

    def fingerprint(self) -> str:
        """A text that differs for other data, or for other blocks of the same data:
        from the sizes and 256 samples spread over all blocks, not from every number."""
        digest = hashlib.sha256(repr((self.shape, self.dtype.str, self.rows)).encode())
        n_samples = self.shape[0]
        for start in np.unique(np.linspace(0, max(n_samples - 4, 0), 64).astype(int)):
            read = np.asarray(
                self._reader.read(int(start), min(int(start) + 4, n_samples))
            )
            digest.update(np.ascontiguousarray(read).tobytes())
        if self._weight is not None:
            digest.update(np.ascontiguousarray(self._weight).tobytes())
        return digest.hexdigest()[:32]


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that JAX takes without a copy on a CPU."""
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    buffer = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    offset = -buffer.ctypes.data % _ALIGNMENT
    return buffer[offset : offset + n_bytes].view(dtype).reshape(shape)


def blocks(
    x: SourceLike,
    rows: int | None = None,
    *,
    sample_weight: SampleWeightLike | None = None,
    executor: ExecutorLike | None = None,
) -> Blocks:
    """Data of any size, of which fits and mixtures read one block at a time.

    **Arguments:**

    - `x`: anything with a `shape` of `(n_samples, n_features)`, a `dtype` and slices of
        samples: a `numpy.memmap`, a data set of h5py, zarr or netCDF, an array of dask;
        or a data frame; or a `pyarrow.parquet.ParquetFile`, or its path, which ends in
        `.parquet`. Or a list of such parts. Or what can be iterated over again and
        again and yields arrays, or tuples of one array, always the same in the same
        order: a `torch.utils.data.DataLoader` that does not shuffle. It is iterated
        over once to learn the sizes.
    - `rows`: how many samples to take at a time; as many as have 32 MiB if not given.
        Memory is that of about four blocks.
    - `sample_weight`: shape `(n_samples,)`, in memory.
    - `executor`: what computes with the blocks, [in other
        processes](../blocks.md#workers-dask-mpi-process-pools), which read them
        themselves: `client.get_executor()` of Dask, an `MPIPoolExecutor` of mpi4py, or
        any other object with `submit` of `concurrent.futures`; this process if not
        given. A `ProcessPoolExecutor` does not go on when a worker is killed: give a
        function that makes one, `lambda: ProcessPoolExecutor(...)`, and a pass goes on
        with another.

    **Returns:**

    A [`gmmx_eqx.extend.Blocks`][].

    **Raises:**

    `ValueError` if the data is not of two axes, is empty, can be read only once, or
    does not know how many samples it has; if the weights do not fit; if there is an
    executor, but other processes cannot read the data or would be forked. While blocks
    are read: if one has another shape or type than the others, if a sample of positive
    weight is not finite, or if the data is not what it was.

    **Example:**

    ```python
    x = np.random.default_rng(0).normal(size=(1000, 2))
    print(gx.blocks(x, rows=300))
    ```

    ```text
    Blocks: 1000 samples, 2 features, float32, 4 blocks of 300
    ```
    """
    reader = reader_of(x)
    n_samples, n_features = reader.shape
    if n_samples == 0 or n_features == 0:
        raise ValueError(f"`x` is empty: its shape is {reader.shape}.")
    if rows is None:
        size = n_features * np.dtype(reader.dtype).itemsize
        rows = reader.rows or max(_BLOCK_BYTES // size, 1)
    rows = min(inputs.check_count(rows, "rows"), n_samples)
    weight = None
    if sample_weight is not None:
        weight = np.asarray(inputs.as_numbers(sample_weight, "sample_weight"))
        if weight.shape != (n_samples,):
            raise ValueError(
                f"`sample_weight` must have one number per sample, shape "
                f"{(n_samples,)}; got {weight.shape}."
            )
        weight = weight.astype(reader.dtype)
        if not (np.all(np.isfinite(weight)) and np.all(weight >= 0)):
            raise ValueError("`sample_weight` must be finite and not negative.")
        if not np.any(weight > 0):
            raise ValueError("`sample_weight` must not be zero for all samples.")
    workers = None
    if executor is not None:
        # Before the first pass, and before there are any workers.
        reader.part(0, rows)
        workers = Workers(executor)
    return Blocks(reader, rows, weight, workers=workers)
