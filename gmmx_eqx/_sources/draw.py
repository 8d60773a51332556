"""Random samples of data that is not at hand as a whole, from which fits start."""

from collections.abc import Callable
from typing import TypeAlias

import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._core.aliases import Data, Labels, SampleWeight
from .._core.known import constant
from .._core.likes import KeyLike
from .._core.spread import Spread
from .._core.spread_checks import take_rows
from .block import Block


# How many there are.
DRAWN = 2**15

LabelSet: TypeAlias = Int[Array | np.ndarray, " n"]
Drawn: TypeAlias = tuple[Float[np.ndarray, "n features"], Float[np.ndarray, " n"]]
DrawnWithNoise: TypeAlias = tuple[
    Float[np.ndarray, "n features"],
    Float[np.ndarray, " n"],
    Float[np.ndarray, "..."] | None,
]


def numbers_drawn(n_samples: int, total: int, key: KeyLike) -> Int[np.ndarray, " n"]:
    """Numbers of samples without replacement, in order: all if there are no more."""
    if n_samples >= total:
        return np.arange(total)
    seed = np.asarray(jr.key_data(key), np.uint32)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    return np.sort(rng.choice(total, n_samples, replace=False))


def labels_drawn(labels: LabelSet, key: KeyLike) -> Labels:
    """Those of the samples that fits start from."""
    return constant(np.asarray(labels)[numbers_drawn(DRAWN, len(labels), key)])


def draw_spread(
    x: Data, weight: SampleWeight | None, spread: Spread, key: KeyLike
) -> tuple[Data, SampleWeight | None]:
    """Samples of data on several devices, and their weights, which are not spread."""
    index = numbers_drawn(DRAWN, len(x), key)
    take = lambda array: constant(take_rows(array, index, spread))
    return take(x), None if weight is None else take(weight)


def samples_of(
    load: Callable[[int], Block],
    rows: int,
    chosen: Int[np.ndarray, " n"],
    has_own_noise: bool,
) -> DrawnWithNoise:
    """Chosen samples of blocks, their weights, and their noise.

    **Arguments:**

    - `rows`: how many samples a block has.
    """
    numbers, positions = np.divmod(chosen, rows)
    parts = []
    for number in np.unique(numbers):
        block = load(int(number))
        own = positions[numbers == number]
        noise = block.noise
        if has_own_noise and noise is not None:
            noise = noise[own]
        parts.append((block.x[own], block.weight[own], noise))
    xs, weights, noises = zip(*parts, strict=True)
    noise = np.concatenate(noises) if has_own_noise else noises[0]
    return np.concatenate(xs), np.concatenate(weights), noise
