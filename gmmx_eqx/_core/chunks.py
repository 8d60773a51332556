"""How many samples to compute with at once, so that memory stays bounded."""

import math
import sys
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp


_Samples = TypeVar("_Samples")
_PerDatum = TypeVar("_PerDatum")

# Other devices than a CPU take so many times as much: what fits its cache would leave
# most of their cores idle. Measured on an H200, where more gains nothing.
_ACCELERATOR = 64


def length(
    bytes_per_sample: int, cached: int, smallest: int, largest: int = sys.maxsize
) -> int:
    """Samples in a chunk, a power of two.

    **Arguments:**

    - `bytes_per_sample`: what is made of one sample.
    - `cached`: how many bytes a chunk may hold on a CPU.
    - `smallest`: fewest samples of a chunk.
    - `largest`: most samples of a chunk on a CPU.
    """
    if jax.default_backend() != "cpu":
        cached, largest = _ACCELERATOR * cached, _ACCELERATOR * largest
    size = 2 ** int(math.log2(max(cached / bytes_per_sample, 1)))
    return max(min(size, largest), smallest)


def map_chunks(
    fn: Callable[[_Samples], _PerDatum], samples: _Samples, size: int
) -> _PerDatum:
    """`fn(samples)` for an `fn` that treats every sample alone, `size` of them at a
    time. Samples are along the first axis of all arrays."""
    n_samples = jax.tree.leaves(samples)[0].shape[0]
    if n_samples <= 2 * size:
        return fn(samples)
    # Whole chunks and a rest, rather than padding: no copy of the data.
    n_whole = n_samples // size * size
    split = lambda leaf: leaf[:n_whole].reshape(-1, size, *leaf.shape[1:])
    join = lambda leaf: leaf.reshape(n_whole, *leaf.shape[2:])
    # Without `checkpoint`, reverse mode would keep what every chunk computed.
    whole = jax.lax.map(jax.checkpoint(fn), jax.tree.map(split, samples))
    whole = jax.tree.map(join, whole)
    if n_whole == n_samples:
        return whole
    rest = fn(jax.tree.map(lambda leaf: leaf[n_whole:], samples))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), whole, rest)
