"""What is done with every block: sums, and rows for each sample."""

import concurrent.futures
import contextlib
import functools as ft
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TYPE_CHECKING, TypeAlias, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree, Shaped

from .._core.aliases import Data
from .._core.describe import describe
from .._core.threads import as_here, n_cores
from .block import Block
from .blocked import Blocks
from .observed import Observed


_Loaded = TypeVar("_Loaded")
# How many tasks of a pass there are for workers, at most: enough for many of them, and
# few enough to be sent at once. And of how many tasks rows may wait.
_N_TASKS, _N_TASKS_OF_ROWS = 256, 32
# How many blocks are computed with at once, at most: each takes memory.
_N_BLOCKS = 2

# What is taken for blocks. Checked by hand: see `likes`.
if TYPE_CHECKING:
    BlocksLike: TypeAlias = Blocks
    OutLike: TypeAlias = Any
else:
    BlocksLike = Annotated[Any, ""]
    OutLike = Annotated[Any, ""]


def each_block(
    data: Blocks,
    load: Callable[[Blocks, int], _Loaded],
    fn: Callable[[_Loaded], Any],
    *,
    n_tasks: int = _N_TASKS,
    ahead: int | None = None,
) -> Iterator[Any]:
    """`fn(load(data, number))` of every block in order, as NumPy arrays.

    An error has a note that says which block it is of.

    **Arguments:**

    - `load`: reads a block; called by the thread that reads ahead.
    - `fn`: computes with it. Of data with workers, both are pickled.
    - `n_tasks`: how many tasks there are for workers, at most.
    - `ahead`: of how many tasks results may wait, of all if not given.
    """
    if data.workers is None:
        yield from _in_order(data, load, fn, range(len(data)), _n_threads())
        return
    task = lambda own: ft.partial(_found_in, data.part(own), load, fn, own)
    for found in data.workers.run(task, _divided(len(data), n_tasks), ahead):
        yield from found


def total_of(
    data: Blocks,
    load: Callable[[Blocks, int], _Loaded],
    fn: Callable[[_Loaded], Any],
    report: Callable[[int], None] | None = None,
) -> PyTree:
    """The sum of what `each_block` yields, in float64: NumPy arrays.

    **Arguments:**

    - `report`: called with how many blocks are done: zero first, then as it goes.
    """
    if report is not None:
        report(0)
    if data.workers is None:
        terms = _in_order(data, load, fn, range(len(data)), _n_threads())
        return _added(_reported(terms, report, range(1, len(data) + 1)))
    task = lambda own: ft.partial(_total_in, data.part(own), load, fn, own)
    # In order, so that the sum does not depend on who is first.
    tasks = _divided(len(data), _N_TASKS)
    terms = data.workers.run(task, tasks)
    return _added(_reported(terms, report, [own.stop for own in tasks]))


def _n_threads() -> int:
    return min(n_cores(), _N_BLOCKS)


def _reported(
    terms: Iterable[PyTree],
    report: Callable[[int], None] | None,
    n_blocks: Iterable[int],
) -> Iterator[PyTree]:
    """The terms; after each, `report` of how many blocks are done."""
    for term, n_done in zip(terms, n_blocks, strict=True):
        if report is not None:
            report(n_done)
        yield term


def _divided(n_blocks: int, n_tasks: int) -> list[range]:
    """Blocks as tasks for workers: the same ones however many workers there are."""
    size = -(-n_blocks // n_tasks)
    return [
        range(first, min(first + size, n_blocks)) for first in range(0, n_blocks, size)
    ]


def _found_in(
    data: Blocks,
    load: Callable[[Blocks, int], _Loaded],
    fn: Callable[[_Loaded], Any],
    numbers: range,
) -> list[Any]:
    return list(_in_order(data, load, fn, numbers, 1))


def _total_in(
    data: Blocks,
    load: Callable[[Blocks, int], _Loaded],
    fn: Callable[[_Loaded], Any],
    numbers: range,
) -> PyTree:
    return _added(_in_order(data, load, fn, numbers, 1))


def _in_order(
    data: Blocks,
    load: Callable[[Blocks, int], _Loaded],
    fn: Callable[[_Loaded], Any],
    numbers: range,
    n_threads: int,
) -> Iterator[Any]:
    """The results of some of the blocks, computed in this process.

    **Arguments:**

    - `n_threads`: how many blocks to compute with at once. One program keeps two cores
        less busy than two programs do.
    """

    def read(number: int) -> _Loaded:
        with _named(data, number):
            return load(data, number)

    def compute(number: int, block: _Loaded) -> Any:
        with _named(data, number):
            return jax.tree.map(np.asarray, fn(block))

    compute = as_here(compute)
    waiting: deque[concurrent.futures.Future[Any]] = deque()
    blocks = data.ahead(read, numbers=numbers)
    with concurrent.futures.ThreadPoolExecutor(n_threads, "gmmx_eqx-compute") as pool:
        for number in numbers:
            waiting.append(pool.submit(compute, number, next(blocks)))
            # The first block compiles, which two threads would do twice.
            if len(waiting) == n_threads or number == numbers[0]:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextlib.contextmanager
def _named(data: Blocks, number: int) -> Iterator[None]:
    """Adds a note to an error that says which block it is of."""
    try:
        yield
    except Exception as error:
        start = number * data.rows
        stop = min(start + data.rows, data.shape[0])
        error.add_note(f"In block {number}, the samples {start} to {stop - 1}.")
        raise


def _added(terms: Iterable[PyTree]) -> PyTree:
    """The sum of results, in float64."""
    total = None
    for found in terms:
        term = jax.tree.map(lambda leaf: leaf.astype(np.float64), found)
        total = term if total is None else jax.tree.map(np.add, total, term)
    return total


def map_blocks(
    fn: Callable[[Data], Any], data: BlocksLike, out: OutLike | None = None
) -> Shaped[np.ndarray, "n_samples ..."] | None:
    """`fn` of every block, such as `mixture.predict` or `mixture.log_prob`.

    **Arguments:**

    - `fn`: from samples, shape `(rows, n_features)`, to an array with a row for each;
        from [`gmmx_eqx.Observed`][] if values may be missing or are noisy. It is
        pickled if the blocks have workers.
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
    # Rows are larger than sums, so only some wait at a time.
    each = each_block(
        data, Blocks.load, _rows_by(fn), n_tasks=len(data), ahead=_N_TASKS_OF_ROWS
    )
    if out is None:
        return np.concatenate(list(each))
    for number, rows in enumerate(each):
        start = number * data.rows
        out[start : start + len(rows)] = rows
    return None


def _rows_by(fn: Callable[[Data], Any]) -> Callable[[Block], Any]:
    # A method of a module as an object and a name, which are small to pickle.
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, eqx.Module):
        fn = ft.partial(_call_method, owner, fn.__name__)
    return ft.partial(_rows_of, fn)


def _call_method(owner: eqx.Module, name: str, x: Data | Observed) -> Any:
    return getattr(owner, name)(x)


def _rows_of(fn: Callable[[Any], Any], block: Block) -> Shaped[np.ndarray, "n ..."]:
    rows = np.asarray(fn(block.data))
    if rows.ndim == 0 or rows.shape[0] != len(block.x):
        raise ValueError(
            "`fn` must return one row per sample; of samples of shape "
            f"{block.x.shape} it returned shape {rows.shape}."
        )
    return rows[: block.n_samples]


def check_blocks(
    data: Blocks, n_features: int, sample_weight: Any, labels: Any = None
) -> None:
    """Raises a `ValueError` unless blocks have as many features as a mixture, and no
    weights or labels are given beside them."""
    if labels is not None:
        raise ValueError(
            "Blocks hold their own labels: `gmmx_eqx.blocks(x, labels=...)`."
        )
    if sample_weight is not None:
        raise ValueError(
            "Blocks hold their own weights: `gmmx_eqx.blocks(x, sample_weight=...)`."
        )
    if data.shape[1] != n_features:
        raise ValueError(
            f"The blocks have {data.shape[1]} features, but the mixture has "
            f"{n_features}."
        )
