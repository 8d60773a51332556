"""Which samples share what is known of them."""

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
# What the factors of one chunk may hold, for samples with noise of their own.
_CHUNK_BYTES, _SMALLEST_CHUNK, _LARGEST_CHUNK = 2**20, 64, 2**13


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
        size = size or _block_size(counts)
        order = np.argsort(group, kind="stable")
        n_blocks = -(-counts // size)
        begin = np.repeat(np.cumsum(n_blocks * size) - n_blocks * size, counts)
        place = (
            begin
            + np.arange(len(order))
            - np.repeat(np.cumsum(counts) - counts, counts)
        )
        total = int(n_blocks.sum())
        filled = buckets.size(total) if total > 16 else total
        # Padding repeats the first sample of its block, whose gaps it has.
        first = np.repeat(order[np.cumsum(counts) - counts], n_blocks * size)
        rows = np.concatenate([first, np.zeros((filled - total) * size, int)])
        rows[place] = order
        real = np.zeros(rows.size, bool)
        real[place] = True
        shape = (filled, size)
        return cls(
            constant(rows.reshape(shape)),
            constant(real.reshape(shape)),
            size,
            in_order.misses,
        )

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


def _known(array: Array | None) -> np.ndarray | None:
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def _keys(observed: Observed, missing: np.ndarray) -> np.ndarray | None:
    """The same number, or bytes, for samples that share all; `None` if not known."""
    n_samples = len(missing)
    parts = [np.packbits(missing, axis=1)]
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
    together = np.ascontiguousarray(np.concatenate(parts, axis=1))
    return together.view(np.dtype((np.void, together.shape[1])))[:, 0]


def _is_shared(array: Array, most: int, observed: Observed) -> bool:
    m = observed.n_outputs
    if array is observed.H:
        return array.ndim <= most
    return array.ndim < most or array.shape == (m, m)


def _block_size(counts: np.ndarray) -> int:
    """As large as leaves little padding."""
    total, n_groups = int(counts.sum()), len(counts)
    most = max(total // (8 * n_groups), 1)
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
