"""Numbers of samples that share a program.

A compiled program is for one shape. If it were for every number of samples, a loop over
groups of different sizes would compile anew for each, in seconds, and keep megabytes
for each. So data whose numbers are known is padded, with samples that do not count, to
one of few sizes before it reaches a program, and results are cut afterwards.
"""

import math
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .aliases import Count, Data, SampleWeight
from .known import count, is_known, is_on_host, is_on_one_device, put_like


FilledData: TypeAlias = Float[Array, "filled features"]
# As `Weighting`.
FilledWeighting: TypeAlias = Float[Array, " filled"] | Count | None


# Sizes are m * 2**e. For few samples compiling takes longer than computing, and m is
# one of four numbers; for many it is one of sixteen: little is computed in vain.
_COARSE, _FINE = 4, 16
_FEW = 4096
# No program is for fewer samples. With more than the largest, compiling takes little
# time beside computing, and a copy of the data may not fit into memory.
_SMALLEST, _LARGEST = 8, 2**20


def size(n_samples: int, n_lanes: int = 1) -> int:
    """The number of samples of the program that takes `n_samples`.

    **Arguments:**

    - `n_lanes`: the number of fits, each of which computes the padding in vain.
    """
    if n_samples > _LARGEST:
        return n_samples
    if n_samples <= 2 * _SMALLEST:
        return _SMALLEST if n_samples <= _SMALLEST else 2 * _SMALLEST
    few = n_samples * n_lanes <= _FEW
    unit = max(2 ** (n_samples.bit_length() - 1) // (_COARSE if few else _FINE), 1)
    bucket = -(-n_samples // unit) * unit
    return bucket if few else min(bucket, _round_number(n_samples))


def _round_number(n: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, … that is at least `n`: data sets of such
    sizes are as common as those of powers of two."""
    power = 10 ** int(math.log10(n))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= n)


def fill(
    x: Data, weight: SampleWeight | None, *others: Any, n_lanes: int = 1
) -> tuple[FilledData, FilledWeighting]:
    """The padded data, and the weighting that says which of its samples count.

    Unchanged where a number is not known yet, and where data is spread over devices.

    **Arguments:**

    - `others`: whatever else the program gets.
    """
    if not (is_known(x, weight, others) and is_on_one_device(x)):
        return x, weight
    n_samples = x.shape[0]
    padded = size(n_samples, n_lanes)
    x = fill_rows(x, padded)
    if weight is None:
        # Also for data that needs no padding: the same program.
        return x, count(n_samples, np.int32)
    return x, fill_rows(weight, padded, 0.0)


def fill_sets(
    xs: Array, weights: Array | None, n_restarts: int, *others: Any
) -> tuple[Array, Array | None]:
    """As `fill`, for many data sets, `(sets, samples, features)`.

    Sets that do not count are like the first. Padded sets have weights.
    """
    if not (is_known(xs, weights, others) and is_on_one_device(xs)):
        return xs, weights
    n_sets, n_samples, _ = xs.shape
    if weights is None:
        weights = put_like(np.ones((n_sets, n_samples), xs.dtype), xs)
    padded = size(n_samples, n_sets * n_restarts)
    xs = fill_rows(xs, padded, axis=1)
    weights = fill_rows(weights, padded, 0.0, axis=1)
    if n_sets <= _FINE:
        return xs, weights
    # In fine steps, however few samples there are: a set is computed as a whole.
    padded = size(n_sets, _FEW)
    return fill_rows(xs, padded), fill_rows(weights, padded)


def fill_rows(
    array: Array, n_rows: int, value: float | None = None, axis: int = 0
) -> Array:
    """The array with more rows: of `value`, or like its first row, whose numbers are
    sure to be such that everything can be computed of them."""
    n_known = array.shape[axis]
    if n_known >= n_rows:
        return array
    on_host = is_on_host(array)
    xp: Any = np if on_host else jnp
    known: Any = np.asarray(array) if on_host else array
    row = known.take(np.array([0]), axis) if value is None else value
    shape = list(array.shape)
    shape[axis] = n_rows - n_known
    rest = xp.broadcast_to(xp.asarray(row, known.dtype), shape)
    rows = xp.concatenate([known, rest], axis)
    return put_like(rows, array) if on_host else rows


def cut(array: Array, *sizes: int) -> Array:
    """The first entries along each of the first axes. In NumPy where that copies
    nothing: JAX compiles a program for every number of them."""
    shape = array.shape[: len(sizes)]
    index = tuple(slice(size) for size in sizes[: len(shape)])
    if shape == sizes[: len(shape)]:
        return array
    if not is_on_host(array):
        return array[index]
    return put_like(np.asarray(array)[index], array)


def weights_of(weighting: Count, n_samples: int, dtype: Any) -> SampleWeight:
    """Weights of one for the first samples, and of zero for the others."""
    return (jnp.arange(n_samples, dtype=weighting.dtype) < weighting).astype(dtype)
