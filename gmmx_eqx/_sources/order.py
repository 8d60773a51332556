"""Random orders of blocks and of the samples of one, on the host."""

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int


# Integers that are not negative.
Seed: TypeAlias = tuple[int, ...]


def random_order(seed: Seed, n: int) -> Int[np.ndarray, " n"]:
    """The first integers in a random order."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    return rng.permutation(n)


def shuffled(read: np.ndarray, own: Any, seed: Seed | None) -> tuple[np.ndarray, Any]:
    """Samples and their weights, or one for all, in a random order; without a seed as
    they are."""
    if seed is None:
        return read, own
    order = random_order(seed, len(read))
    return read[order], own if np.ndim(own) == 0 else own[order]
