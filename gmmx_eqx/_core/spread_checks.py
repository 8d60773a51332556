"""What has to be known of data that is spread over devices, found where it is: nothing
but a few numbers leaves them, and every process gets the same."""

import functools as ft
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from .aliases import Data, SampleWeight
from .known import is_inside_program
from .spread import Spread


_P = ParamSpec("_P")
_T = TypeVar("_T")
# In the program and after it.
_Any: TypeAlias = Array | np.ndarray


def _evaluated(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """A program that runs at once, also where it is called while another is traced. Its
    results are NumPy arrays."""
    program = eqx.filter_jit(fn)

    @ft.wraps(fn)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if not is_inside_program():
            return jax.tree.map(np.asarray, program(*args, **kwargs))
        # It would evaluate what is known in the program, too, one by one.
        with jax.ensure_compile_time_eval():
            return jax.tree.map(np.asarray, program(*args, **kwargs))

    return call


class Extent(NamedTuple):
    """Of the samples that count.

    **Attributes:**

    - `n_bad`: how many numbers are NaN or infinite.
    - `first`: sample and feature of the first of these.
    - `low`, `high`: the smallest and the largest of the others.
    """

    n_bad: Int[_Any, ""]
    first: Int[_Any, "2"]
    low: Float[_Any, ""]
    high: Float[_Any, ""]


class Balance(NamedTuple):
    """Of weights.

    **Attributes:**

    - `first_bad`: the number of the first that is negative or not finite; as many as
        there are weights if none is.
    - `bad`: that weight.
    - `n_positive`: how many are positive.
    - `largest`: the largest.
    - `mean_share`: the mean of the positive ones, divided by the largest.
    """

    first_bad: Int[_Any, ""]
    bad: Float[_Any, ""]
    n_positive: Int[_Any, ""]
    largest: Float[_Any, ""]
    mean_share: Float[_Any, ""]


@_evaluated
def extent(x: Data, weight: SampleWeight | None, spread: Spread) -> Extent:
    """Of the samples of positive weight."""
    one = jnp.ones((1, 1), bool)
    present = one if weight is None else (weight > 0)[:, None]
    finite = jnp.isfinite(x)
    bad = present & ~finite
    good = present & finite
    row = jax.lax.broadcasted_iota(jnp.int32, x.shape, 0)
    column = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
    first = jnp.min(jnp.where(bad, row, x.shape[0]))
    is_first = bad & (row == first)
    feature = jnp.min(jnp.where(is_first, column, x.shape[1]))
    found = Extent(
        n_bad=jnp.sum(bad),
        first=jnp.stack([first, feature]),
        low=jnp.min(jnp.where(good, x, jnp.inf)),
        high=jnp.max(jnp.where(good, x, -jnp.inf)),
    )
    return spread.on_all(found)


@_evaluated
def balance(weight: SampleWeight, spread: Spread) -> Balance:
    """What has to be known of weights."""
    number = jnp.arange(weight.size, dtype=jnp.int32)
    is_bad = ~(jnp.isfinite(weight) & (weight >= 0))
    first_bad = jnp.min(jnp.where(is_bad, number, weight.size))
    positive = weight > 0
    largest = jnp.max(weight)
    n_positive = jnp.sum(positive)
    shares = jnp.sum(jnp.where(positive, weight / largest, 0))
    found = Balance(
        first_bad=first_bad,
        bad=jnp.sum(jnp.where(number == first_bad, weight, 0)),
        n_positive=n_positive,
        largest=largest,
        mean_share=shares / n_positive.astype(weight.dtype),
    )
    return spread.on_all(found)


def take_rows(
    x: Real[Array, "n ..."], index: Int[np.ndarray, " rows"], spread: Spread
) -> Real[np.ndarray, "rows ..."]:
    """Rows by their numbers, in every process."""
    return np.asarray(_take_rows(x, index.astype(np.int32), spread))


@_evaluated
def _take_rows(x: Array, index: Int[_Any, " rows"], spread: Spread) -> _Any:
    n_own = x.shape[0] // spread.n_shards

    def of_shard(x: Array, number: Int[Array, "one=1"]) -> Array:
        own = index - number * n_own
        is_own = (own >= 0) & (own < n_own)
        rows = x[jnp.clip(own, 0, n_own - 1)]
        return jnp.where(is_own.reshape(-1, *(1,) * (x.ndim - 1)), rows, 0)

    numbers = jnp.arange(spread.n_shards, dtype=jnp.int32)
    return spread.reduce(of_shard, x, numbers)
