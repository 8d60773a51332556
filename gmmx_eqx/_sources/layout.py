"""Which samples share what is known of them."""

from typing import NamedTuple

import equinox as eqx
import jax.core
import numpy as np
from jaxtyping import Array, Bool, Int

from .._core import buckets, chunks
from .._core.known import constant
from .._core.spread import Spread, spread_of
from .observed import Observed


# A group pays for one factorisation for each component, as a sample with noise of its
# own does, and is padded to whole blocks.
_FEWEST_OF_A_GROUP = 8
# Of blocks of one group, as of chunks of complete samples.
_SMALLEST, _LARGEST = 16, 4096
# How many samples are looked at before all of them.
_PROBE = 2048
# What the factors of one chunk may hold, for samples with noise of their own. Of fewer
# samples a chunk keeps one core busy, not two.
_CHUNK_BYTES, _SMALLEST_CHUNK, _LARGEST_CHUNK = 2**20, 256, 2**13


class Groups(NamedTuple):
    """How many blocks there are room for, and of how many samples each."""

    size: int
    n_blocks: int

    @classmethod
    def of(cls, n_samples: int, n_patterns: int) -> "Groups | None":
        """For so many samples with at most so many patterns of gaps; `None` if these
        are too many."""
        if n_patterns * _FEWEST_OF_A_GROUP > n_samples:
            return None
        size = _block_size(n_samples, n_patterns)
        return cls(size, -(-n_samples // size) + n_patterns)


class Layout(eqx.Module):
    """Samples in blocks, each of samples that share `H`, `R` and what is missing; or
    in order, if too few of them do.

    **Attributes:**

    - `rows`: the samples of each block, or `None` if they are in order.
    - `real`: which of these are not padding.
    - `size`: samples of a block.
    - `misses`: whether any value is missing, or not known to be there.
    - `spread`: how samples are spread over devices, or `None`.
    """

    rows: Int[Array, "*sets blocks size"] | None
    real: Bool[Array, "*sets blocks size"] | None
    size: int = eqx.field(static=True)
    misses: bool = eqx.field(static=True)
    spread: Spread | None = eqx.field(static=True, default=None)

    @classmethod
    def in_order(
        cls, observed: Observed, n_components: int, misses: bool | None = None
    ) -> "Layout":
        """Without groups.

        **Arguments:**

        - `misses`: whether any value may be missing, if that is known.
        """
        if misses is None:
            y = _known(observed.y)
            misses = y is None or bool(np.isnan(y).any())
        spread = spread_of(observed.y, "y")
        n_shards = 1 if spread is None else spread.n_shards
        size = _chunk_size(observed, n_components, n_shards)
        return cls(None, None, size, misses, spread)

    @classmethod
    def of(
        cls, observed: Observed, n_components: int, size: int | None = None
    ) -> "Layout":
        """On the host; without groups where the numbers are not known yet.

        **Arguments:**

        - `size`: of the blocks of groups, if it is given.
        """
        in_order = cls.in_order(observed, n_components)
        if in_order.spread is not None:
            return in_order
        y = _known(observed.y)
        keys = None if y is None else _keys(observed, np.isnan(y))
        if keys is None:
            return in_order
        probe = keys[:: -(-len(keys) // _PROBE)]
        if len(np.unique(probe)) * _FEWEST_OF_A_GROUP > len(probe):
            return in_order
        _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
        if len(counts) * _FEWEST_OF_A_GROUP > len(keys):
            return in_order
        size = size or _block_size(len(keys), len(counts))
        rows, real = _in_blocks(group, counts, size)
        filled = buckets.size(len(rows)) if len(rows) > 16 else len(rows)
        padding = [(0, filled - len(rows)), (0, 0)]
        rows, real = (constant(np.pad(array, padding)) for array in (rows, real))
        return cls(rows, real, size, in_order.misses)

    @classmethod
    def of_gaps(cls, missing: Bool[np.ndarray, "n m"], groups: Groups) -> "Layout":
        """Of samples that share all but which values are missing; NumPy arrays of the
        same shapes for any number of samples and patterns that there is room for, so
        that all are one program."""
        keys = _gaps(missing)
        _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
        arrays = _in_blocks(group, counts, groups.size)
        padding = [(0, groups.n_blocks - len(arrays[0])), (0, 0)]
        rows, real = (np.pad(array, padding) for array in arrays)
        like = cls(None, None, groups.size, misses=True)
        own = lambda layout: (layout.rows, layout.real)
        is_none = lambda leaf: leaf is None
        return eqx.tree_at(own, like, (rows, real), is_leaf=is_none)

    @classmethod
    def of_sets(cls, sets: list[Observed], n_components: int) -> "Layout | None":
        """Of many data sets, in blocks of the same size, and as many for each, with a
        leading axis; `None` if too few samples of a set share all."""
        each = [cls.of(observed, n_components) for observed in sets]
        if any(layout.rows is None for layout in each):
            return None
        size = max(layout.size for layout in each)
        each = [cls.of(observed, n_components, size) for observed in sets]
        misses = any(layout.misses for layout in each)
        n_blocks = max(len(np.asarray(layout.rows)) for layout in each)

        def stacked(arrays: list[Array | None]) -> Array:
            padding = lambda rows: [(0, n_blocks - len(rows)), (0, 0)]
            known = map(np.asarray, arrays)
            return constant(np.stack([np.pad(rows, padding(rows)) for rows in known]))

        rows, real = ([getattr(one, name) for one in each] for name in ("rows", "real"))
        return cls(stacked(rows), stacked(real), size, misses)


def count_patterns(missing: Bool[np.ndarray, "n m"]) -> int:
    """How many patterns of gaps there are."""
    return np.unique(_gaps(missing)).size


def _in_blocks(
    group: Int[np.ndarray, " n"], counts: Int[np.ndarray, " groups"], size: int
) -> tuple[Int[np.ndarray, "blocks size"], Bool[np.ndarray, "blocks size"]]:
    """The samples of each block, and which of these are not padding, which repeats the
    first sample of its group."""
    order = np.argsort(group, kind="stable")
    n_blocks = -(-counts // size)
    before = np.cumsum(counts) - counts
    begin = np.cumsum(n_blocks * size) - n_blocks * size
    place = np.arange(len(order)) + np.repeat(begin - before, counts)
    rows = np.repeat(order[before], n_blocks * size)
    rows[place] = order
    real = np.zeros(rows.size, bool)
    real[place] = True
    return rows.reshape(-1, size), real.reshape(-1, size)


def _gaps(missing: Bool[np.ndarray, "n m"]) -> np.ndarray:
    """A number for each pattern, which is quicker to sort, or bytes."""
    packed = np.packbits(missing, axis=1)
    if packed.shape[1] > 8:
        packed = np.ascontiguousarray(packed)
        return packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
    wide = np.zeros((len(packed), 8), np.uint8)
    wide[:, : packed.shape[1]] = packed
    return wide.view(np.uint64)[:, 0]


def _known(array: Array | None) -> np.ndarray | None:
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def _keys(observed: Observed, missing: np.ndarray) -> np.ndarray | None:
    """The same number, or bytes, for samples that share all; `None` if not known."""
    n_samples = len(missing)
    parts = []
    for array, shared in ((observed.H, 2), (observed.R, 2)):
        if (
            array is None
            or array.shape[:1] != (n_samples,)
            or _is_shared(array, shared, observed)
        ):
            continue
        numbers = _known(array)
        if numbers is None:
            return None
        flat = np.ascontiguousarray(numbers.reshape(n_samples, -1))
        parts.append(flat.view(np.uint8).reshape(n_samples, -1))
    if not parts:
        return _gaps(missing)
    parts.append(np.packbits(missing, axis=1))
    together = np.ascontiguousarray(np.concatenate(parts, axis=1))
    return together.view(np.dtype((np.void, together.shape[1])))[:, 0]


def _is_shared(array: Array, most: int, observed: Observed) -> bool:
    m = observed.n_outputs
    if array is observed.H:
        return array.ndim <= most
    return array.ndim < most or array.shape == (m, m)


def _block_size(n_samples: int, n_groups: int) -> int:
    """As large as leaves little padding."""
    most = max(n_samples // (8 * n_groups), 1)
    size = 2 ** int(np.log2(most))
    return max(_SMALLEST, min(size, _LARGEST))


def _chunk_size(observed: Observed, n_components: int, n_shards: int) -> int:
    n_samples, m = observed.y.shape[-2:]
    n_samples = n_samples // n_shards
    bytes_per_sample = n_components * m * (m + 3) * observed.y.dtype.itemsize
    size = chunks.length(
        bytes_per_sample, _CHUNK_BYTES, _SMALLEST_CHUNK, _LARGEST_CHUNK
    )
    return n_samples if n_samples <= 2 * size else size
