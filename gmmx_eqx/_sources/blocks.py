from typing import Annotated, Any, TYPE_CHECKING, TypeAlias

import numpy as np

from .._core import inputs, labels as known_labels
from .._core.likes import LabelsLike, NoisesLike, SampleWeightLike
from .block_noise import BlockNoise
from .blocked import Blocks, Labels
from .readers import reader_of
from .workers import ExecutorLike, Workers


# Of one block. As many samples as make a pass over it long enough to hide its start.
_BLOCK_BYTES = 32 * 2**20

# What is read in blocks. Checked by hand: see `likes`.
if TYPE_CHECKING:
    SourceLike: TypeAlias = Any
else:
    SourceLike = Annotated[Any, ""]


def blocks(
    x: SourceLike,
    rows: int | None = None,
    *,
    sample_weight: SampleWeightLike | None = None,
    labels: LabelsLike | None = None,
    noise: NoisesLike | None = None,
    missing: bool = False,
    executor: ExecutorLike | None = None,
) -> Blocks:
    """Data of any size, of which fits and mixtures read one block at a time.

    **Arguments:**

    - `x`: anything with a `shape` of `(n_samples, n_features)`, a `dtype` and slices of
        samples: a `numpy.memmap`, a data set of h5py, zarr or netCDF, an array of dask;
        or a data frame; or a `pyarrow.parquet.ParquetFile`, or its path, which ends in
        `.parquet`. Or a list of such parts. Or what can be iterated over again and
        again and yields arrays, or tuples of one array, always the same in the same
        order: a `torch.utils.data.DataLoader` that does not shuffle. It is iterated
        over once to learn the sizes.
    - `rows`: how many samples to take at a time; as many as have 32 MiB if not given.
        Memory is that of about four blocks.
    - `sample_weight`: shape `(n_samples,)`, in memory.
    - `labels`: integers, shape `(n_samples,)`, in memory: which component a sample is
        known to belong to, -1 where it is not known, for [`gmmx_eqx.fit`][],
        `fit_restarts` and `select`. Nothing else sees them. Not together with `noise`
        or `missing`.
    - `noise`: the covariance of the noise in `x`, in squared data units, as `R` of
        [`gmmx_eqx.Observed`][]. That of each sample, shape `(n_samples, n_features)`
        or `(n_samples, n_features, n_features)`, may be an object with slices, of which
        each block reads its own.
    - `missing`: whether NaN is a missing value, rather than a mistake.
    - `executor`: what computes with the blocks, [in other
        processes](../blocks.md#workers-dask-mpi-process-pools), which read them
        themselves: `client.get_executor()` of Dask, an `MPIPoolExecutor` of mpi4py, or
        any other object with `submit` of `concurrent.futures`; this process if not
        given. A `ProcessPoolExecutor` does not go on when a worker is killed: give a
        function that makes one, `lambda: ProcessPoolExecutor(...)`, and a pass goes on
        with another.

    **Returns:**

    A [`gmmx_eqx.extend.Blocks`][].

    **Raises:**

    `ValueError` if the data is not of two axes, is empty, can be read only once, or
    does not know how many samples it has; if weights, labels or noise do not fit; if
    there is an executor, but other processes cannot read the data or would be forked.
    While blocks are read: if one has another shape or type than the others, if a sample
    of positive weight is not finite, or if the data is not what it was.

    **Example:**

    ```python
    x = np.random.default_rng(0).normal(size=(1000, 2))
    print(gx.blocks(x, rows=300))
    ```

    ```text
    Blocks: 1000 samples, 2 features, float32, 4 blocks of 300
    ```
    """
    reader = reader_of(x)
    n_samples, n_features = reader.shape
    if n_samples == 0 or n_features == 0:
        raise ValueError(f"`x` is empty: its shape is {reader.shape}.")
    if rows is None:
        size = n_features * np.dtype(reader.dtype).itemsize
        rows = reader.rows or max(_BLOCK_BYTES // size, 1)
    rows = min(inputs.check_count(rows, "rows"), n_samples)
    weight = None
    if sample_weight is not None:
        weight = np.asarray(inputs.as_numbers(sample_weight, "sample_weight"))
        if weight.shape != (n_samples,):
            raise ValueError(
                f"`sample_weight` must have one number per sample, shape "
                f"{(n_samples,)}; got {weight.shape}."
            )
        weight = weight.astype(reader.dtype)
        if not (np.all(np.isfinite(weight)) and np.all(weight >= 0)):
            raise ValueError("`sample_weight` must be finite and not negative.")
        if not np.any(weight > 0):
            raise ValueError("`sample_weight` must not be zero for all samples.")
    if not isinstance(missing, bool):
        raise ValueError(f"`missing` must be `True` or `False`; got {missing!r}.")
    if labels is not None and (missing or noise is not None):
        raise ValueError(
            "`labels` are for samples that are known exactly: leave out `labels`, or "
            "`noise` and `missing`."
        )
    known = None if labels is None else _as_labels(labels, n_samples)
    own = None if noise is None else BlockNoise.of(noise, n_samples, n_features)
    workers = None
    if executor is not None:
        # Before the first pass, and before there are any workers.
        reader.part(0, rows)
        if own is not None:
            own.part(0, rows)
        workers = Workers(executor)
    return Blocks(
        reader,
        rows,
        weight,
        labels=known,
        workers=workers,
        noise=own,
        misses=missing,
    )


def _as_labels(labels: LabelsLike, n_samples: int) -> Labels:
    """Numbers of components, how many of which there are is not known yet."""
    numbers = np.asarray(known_labels.as_labels(labels, n_samples))
    known_labels.check_labels(numbers, 2**31 - 1)
    return numbers.astype(np.int32)
