"""Data on the host, or beyond it, read one block at a time."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float, Int

from .._core import labels as known_labels
from .._core.aliases import PerFeature
from .._core.describe import as_key
from .._core.likes import KeyLike
from .block import aligned, Block, Columns
from .block_noise import BlockNoise
from .draw import Drawn, DrawnWithNoise, numbers_drawn, samples_of
from .observed import Observed
from .order import Seed, shuffled
from .reader import AbstractReader
from .workers import Workers


# How many blocks are read ahead.
_AHEAD = 1

_Loaded = TypeVar("_Loaded")
Weights: TypeAlias = Float[np.ndarray, " n_samples"]
Labels: TypeAlias = Int[np.ndarray, " n_samples"]


class Blocks:
    """Data that is read one block at a time, as often as it is needed; made by
    [`gmmx_eqx.blocks`][].

    Nothing but a few blocks is held in memory: one or two that are computed with, and
    the one that a thread reads ahead.

    With missing values or noise they stand for [`gmmx_eqx.Observed`][].

    **Attributes:**

    - `shape`: `(n_samples, n_features)`.
    - `dtype`: the type that blocks are computed in.
    - `rows`: how many samples each block has; the last one may have fewer.
    - `labels`: which component each sample is known to belong to, -1 where it is not
        known, shape `(n_samples,)`; `None` if there are none.
    - `workers`: what computes with the blocks, `None` for this process.
    - `misses`: whether NaN is a missing value.

    A pickle holds no samples but those that are in this process's memory alone, and no
    workers.
    """

    def __init__(
        self,
        reader: AbstractReader,
        rows: int,
        weight: Weights | None,
        *,
        labels: Labels | None = None,
        first: int = 0,
        workers: Workers | None = None,
        noise: BlockNoise | None = None,
        misses: bool = False,
    ):
        self._reader = reader
        self._weight = weight
        self.labels = labels
        # The sample that the first weight and the first label are of.
        self._first = first
        self.workers = workers
        self._noise = noise
        self.misses = misses
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
        whole = self._parts(0, self.shape[0])
        return {**vars(self), **whole, "workers": None}

    def part(self, numbers: range) -> "Blocks":
        """Blocks with the same numbers, of which these alone can be loaded: what is
        sent to another process.

        **Raises:**

        `ValueError` if other processes cannot read them.
        """
        start = numbers.start * self.rows
        stop = min(numbers.stop * self.rows, self.shape[0])
        part = slice(start - self._first, stop - self._first)
        weight = None if self._weight is None else self._weight[part]
        labels = None if self.labels is None else self.labels[part]
        reader, noise = self._parts(start, stop).values()
        own = {"first": start, "noise": noise, "misses": self.misses}
        return Blocks(reader, self.rows, weight, labels=labels, **own)

    def _parts(self, start: int, stop: int) -> dict[str, Any]:
        noise = None if self._noise is None else self._noise.part(start, stop)
        return {"_reader": self._reader.part(start, stop), "_noise": noise}

    @property
    def in_order(self) -> bool:
        """Whether it takes long to read blocks in another order."""
        return self._reader.in_order

    @property
    def sample_weight(self) -> Weights | None:
        """The weight of each sample; `None` if all have a weight of one."""
        return self._weight

    @property
    def is_observed(self) -> bool:
        """Whether values may be missing, or are noisy."""
        return self.misses or self._noise is not None

    @property
    def has_own_noise(self) -> bool:
        """Whether every sample has noise of its own."""
        return self._noise is not None and self._noise.shared is None

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
        x, weight = aligned(self.dtype, (self.rows, self.shape[1]), (self.rows,))
        with np.errstate(over="ignore"):
            x[:n_read] = read
        x[n_read:] = 0
        weight[:n_read] = own
        weight[n_read:] = 0
        labels = self._labels_of(number, self.rows)
        noise = None
        if self._noise is not None:
            start = number * self.rows
            noise = self._noise.read(start, start + n_read, self.rows, self.dtype)
        return Block(number, x, weight, n_read, labels, noise, self.misses)

    def columns(
        self, number: int, pivot: PerFeature, size: int, seed: Seed | None = None
    ) -> Columns:
        """One block in the layout of [`gmmx_eqx.extend.InMemory`][]: NumPy arrays of
        samples, shape `(chunks, features, size)`, about `pivot` and in its type; of
        weights, `(chunks, size)`; and of labels, `(chunks, size)`, or `None`.

        On a CPU, XLA takes three times as long. A `seed` orders samples and weights at
        random; labels stay in the order of the data.
        """
        read, own = shuffled(*self._read(number), seed)
        n_read, n_features = read.shape
        dtype = np.dtype(pivot.dtype)
        n_chunks = -(-self.rows // size)
        shapes = (n_chunks, n_features, size), (n_chunks, size)
        columns, weights = aligned(dtype, *shapes)
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
        labels = self._labels_of(number, n_chunks * size)
        return columns, weights, None if labels is None else labels.reshape(-1, size)

    def _labels_of(self, number: int, size: int) -> Labels | None:
        """Those of a block, with -1 up to a size."""
        if self.labels is None:
            return None
        start = number * self.rows - self._first
        own = self.labels[start : start + self.rows]
        padding = (0, size - len(own))
        return np.pad(own, padding, constant_values=known_labels.UNKNOWN)

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
        x, weight, _ = self._drawn(n_samples, key)
        return x, weight

    def draw_observed(self, n_samples: int, key: KeyLike) -> Observed:
        """The same with noise, as [`gmmx_eqx.Observed`][]."""
        x, weight, noise = self._drawn(n_samples, key)
        return Observed(x, R=noise, sample_weight=weight)

    def _drawn(self, n_samples: int, key: KeyLike) -> DrawnWithNoise:
        chosen = numbers_drawn(n_samples, self.shape[0], as_key(key))
        return samples_of(self.load, self.rows, chosen, self.has_own_noise)

    def fingerprint(self) -> str:
        """A text that differs for other data, or for other blocks of the same data:
        from the sizes and 256 samples spread over all blocks, not from every number."""
        known = (self.shape, self.dtype.str, self.rows, *[True] * self.misses)
        digest = hashlib.sha256(repr(known).encode())
        n_samples = self.shape[0]
        for start in np.unique(np.linspace(0, max(n_samples - 4, 0), 64).astype(int)):
            read = np.asarray(
                self._reader.read(int(start), min(int(start) + 4, n_samples))
            )
            digest.update(np.ascontiguousarray(read).tobytes())
        for array in (
            self._weight,
            self.labels,
            self._noise and self._noise.sampled(),
        ):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]
