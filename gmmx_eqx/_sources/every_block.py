"""What is done with every block: sums, and rows for each sample."""

import functools as ft
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias, TypeVar

import jax
import numpy as np
from jaxtyping import PyTree, Shaped

from .._core.aliases import Data
from .._core.describe import describe
from .blocks import Blocks


_Loaded = TypeVar("_Loaded")

# What is taken for blocks. Checked by hand: see `likes`.
if TYPE_CHECKING:
    BlocksLike: TypeAlias = Blocks
    OutLike: TypeAlias = Any
else:
    BlocksLike = Annotated[Any, ""]
    OutLike = Annotated[Any, ""]


def each_block(
    data: Blocks, load: Callable[[Blocks, int], _Loaded], fn: Callable[[_Loaded], Any]
) -> Iterator[Any]:
    """`fn(load(data, number))` of every block in order, as NumPy arrays.

    **Arguments:**

    - `load`: reads a block; called by the thread that reads ahead.
    - `fn`: computes with it.
    """
    waiting: list[Any] = []
    for block in data.ahead(ft.partial(load, data)):
        # The next block is computed while the last result is taken.
        waiting.append(fn(block))
        if len(waiting) > 1:
            yield jax.tree.map(np.asarray, waiting.pop(0))
    yield jax.tree.map(np.asarray, waiting.pop())


def total_of(
    data: Blocks,
    load: Callable[[Blocks, int], _Loaded],
    fn: Callable[[_Loaded], Any],
    report: Callable[[int], None] | None = None,
) -> PyTree:
    """The sum of what `each_block` yields, in float64: NumPy arrays.

    **Arguments:**

    - `report`: called with how many blocks are done: zero first, then after each.
    """
    total = None
    report = (lambda n_blocks: None) if report is None else report
    report(0)
    for number, found in enumerate(each_block(data, load, fn)):
        report(number + 1)
        term = jax.tree.map(lambda leaf: leaf.astype(np.float64), found)
        total = term if total is None else jax.tree.map(np.add, total, term)
    return total


def map_blocks(
    fn: Callable[[Data], Any], data: BlocksLike, out: OutLike | None = None
) -> Shaped[np.ndarray, "n_samples ..."] | None:
    """`fn` of every block, such as `mixture.predict` or `mixture.log_prob`.

    **Arguments:**

    - `fn`: from samples, shape `(rows, n_features)`, to an array with a row for each.
    - `data`: [`gmmx_eqx.blocks`][] of the samples.
    - `out`: what the rows are written to, block by block, as `out[start:stop] = rows`:
        a NumPy array or memory map, a data set of h5py or zarr.

    **Returns:**

    All rows as one NumPy array; `None` if `out` is given.

    **Raises:**

    `ValueError` if `data` is not blocks, or `out` or what `fn` returns has another
    number of rows.

    **Example:**

    ```python
    mixture = gx.GaussianMixture.create(n_components=2, n_features=3)
    data = gx.blocks(np.zeros((10, 3)), rows=4)
    print(gx.map_blocks(mixture.predict, data).shape)
    ```

    ```text
    (10,)
    ```
    """
    if not isinstance(data, Blocks):
        raise ValueError(
            f"`data` must be `gmmx_eqx.blocks(...)`; got {describe(data)}."
        )
    n_samples = data.shape[0]
    if out is not None and out.shape[0] != n_samples:
        raise ValueError(
            f"`out` must have one row per sample, {n_samples}; got shape {out.shape}."
        )
    found = []
    for block in data:
        rows = np.asarray(fn(block.arrays[0]))
        if rows.ndim == 0 or rows.shape[0] != data.rows:
            raise ValueError(
                "`fn` must return one row per sample; of samples of shape "
                f"{block.x.shape} it returned shape {rows.shape}."
            )
        rows = rows[: block.n_samples]
        if out is None:
            found.append(rows)
        else:
            start = block.number * data.rows
            out[start : start + block.n_samples] = rows
    return np.concatenate(found) if out is None else None


def check_blocks(data: Blocks, n_features: int, sample_weight: Any) -> None:
    """Raises a `ValueError` unless blocks have as many features as a mixture, and no
    weights are given beside them."""
    if sample_weight is not None:
        raise ValueError(
            "Blocks hold their own weights: `gmmx_eqx.blocks(x, sample_weight=...)`."
        )
    if data.shape[1] != n_features:
        raise ValueError(
            f"The blocks have {data.shape[1]} features, but the mixture has "
            f"{n_features}."
        )
