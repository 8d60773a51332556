"""Data on several devices, in one process or several."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, overload, TYPE_CHECKING, TypeAlias

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array, Float, Real

from .._core import inputs
from .._core.aliases import Data, SampleWeight
from .._core.describe import describe
from .._core.dtypes import check_range
from .._core.likes import DataLike, SampleWeightLike
from .._core.spread import Spread
from .observed import Observed, observed_of


# Checked by hand: see `likes`.
if TYPE_CHECKING:
    MeshLike: TypeAlias = Mesh
    AxisLike: TypeAlias = str | Sequence[str]
else:
    MeshLike = AxisLike = Annotated[Any, ""]


class _Given(NamedTuple):
    """What a process was given: samples and weights in the type of the samples, and the
    type that they are computed in."""

    x: Real[np.ndarray, "n features"]
    weight: Float[np.ndarray, " n"]
    dtype: np.dtype


@overload
def shard(
    x: Observed,
    mesh: MeshLike | None = None,
    *,
    axis: AxisLike | None = None,
    sample_weight: None = None,
    per_process: bool = False,
) -> Observed: ...


@overload
def shard(
    x: DataLike,
    mesh: MeshLike | None = None,
    *,
    axis: AxisLike | None = None,
    sample_weight: SampleWeightLike | None = None,
    per_process: bool = False,
) -> tuple[Data, SampleWeight]: ...


def shard(
    x: DataLike | Observed,
    mesh: MeshLike | None = None,
    *,
    axis: AxisLike | None = None,
    sample_weight: SampleWeightLike | None = None,
    per_process: bool = False,
) -> tuple[Data, SampleWeight] | Observed:
    """Data and weights spread over devices, in shards of equal size.

    Fits and mixtures take them as any other arrays, and leave them where they are; so
    they do with any `jax.Array` whose samples a `jax.sharding.NamedSharding` spreads
    over devices. A number of samples that is no multiple of the number of shards is
    padded with samples of weight zero, so the weights belong to the data.

    In a program of several processes all of them call this, and everything that is
    given what it returns, with the same arguments but for `x` and `sample_weight`.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`; the same in every process unless
        `per_process`. In a program of one process it may be [`gmmx_eqx.Observed`][],
        which holds its own weights.
    - `mesh`: a `jax.sharding.Mesh`; all devices of all processes if not given.
    - `axis`: the axis of the mesh, or several, that samples are spread over; all if not
        given. Along the others, devices hold the same samples.
    - `sample_weight`: shape `(n_samples,)`; one for each sample if not given.
    - `per_process`: whether `x` and `sample_weight` are this process's own samples
        alone. Processes may have different numbers of them.

    **Returns:**

    `x` and `sample_weight`, shapes `(n_padded, n_features)` and `(n_padded,)`. Padding
    is zero in both, and at the end; of several processes, at the end of the samples of
    each. For [`gmmx_eqx.Observed`][], another one, spread and padded in the same way.

    **Raises:**

    `ValueError` for data that cannot be right, in every process for that of any; if the
    mesh has no such axis; if processes disagree in the number of features, in the type
    or, unless `per_process`, in the number of samples.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (201, 2)).at[:100].add(5.0)
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
    x, weight = gx.shard(x)
    print(gx.fit(start, x, sample_weight=weight).status)
    ```

    ```text
    successful
    ```
    """
    spread = _spread(mesh, axis)
    devices = spread.mesh.devices.flat
    n_processes = len({device.process_index for device in devices})
    if isinstance(x, Observed):
        if n_processes > 1 or sample_weight is not None:
            raise ValueError(
                "`gmmx_eqx.Observed` is spread over the devices of one process, and "
                "holds its own `sample_weight`."
            )
        return _spread_observed(x, spread)
    starts = spread.sharding.addressable_devices_indices_map((spread.n_shards,))
    own = sorted({index[0].start or 0 for index in starts.values() if index})
    try:
        given = _checked(x, sample_weight)
    except ValueError as error:
        if n_processes > 1:
            _agree(None, len(own), per_process)
        raise error
    if n_processes > 1:
        n_rows = _agree(given, len(own), per_process)
    else:
        n_rows = -(-len(given.x) // spread.n_shards)
    # The first row, of what this process was given, of each of its shards.
    place = {
        number * n_rows: (i if per_process else number) * n_rows
        for i, number in enumerate(own)
    }
    put = lambda array: _put(array, given.dtype, spread, n_rows, place)
    return inputs.as_data(put(given.x), put(given.weight))  # pyright: ignore


def _spread_observed(x: Observed, spread: Spread) -> Observed:
    n, m = x.y.shape
    padded = -(-n // spread.n_shards) * spread.n_shards

    def put(array: Any, value: float | None = None) -> Array:
        known = np.asarray(array)
        row = known[:1] if value is None else np.full_like(known[:1], value)
        rest = np.broadcast_to(row, (padded - n, *known.shape[1:]))
        return jax.device_put(np.concatenate([known, rest]), spread.sharding)

    H, R = x.H, x.R
    H = put(H) if H is not None and H.ndim == 3 else H
    if R is not None and R.shape not in ((), (m,), (m, m)):
        # As many variances as outputs would be taken for one matrix.
        is_square = R.ndim == 2 and padded == m
        R = put(R[..., None] * np.eye(m, dtype=R.dtype) if is_square else R)
    weight = np.ones(n, x.y.dtype) if x.sample_weight is None else x.sample_weight
    return observed_of(put(x.y, 0.0), H, R, put(weight, 0.0))


def _spread(mesh: Any, axis: Any) -> Spread:
    if mesh is None:
        mesh = Mesh(np.array(jax.devices()), ("samples",))
    if not isinstance(mesh, Mesh) or not mesh.axis_names:
        raise ValueError(
            "`mesh` must be a `jax.sharding.Mesh` with an axis to spread samples over, "
            f'such as `jax.make_mesh((8,), ("samples",))`; got {describe(mesh)}.'
        )
    names: Any = mesh.axis_names
    axes = names if axis is None else (axis,) if isinstance(axis, str) else axis
    if not (isinstance(axes, list | tuple) and axes and set(axes) <= set(names)):
        raise ValueError(
            f"`axis` must be one of the axes of the mesh, {', '.join(map(repr, names))}"
            f", or several; got {describe(axis)}."
        )
    # Of automatic axes, whatever those of the mesh are: as `on_automatic_mesh`.
    return Spread(Mesh(mesh.devices, names), tuple(axes))


def _checked(x: Any, sample_weight: Any) -> _Given:
    """What can be checked without knowing what other processes have."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        raise ValueError(
            "`x` is spread over several processes already. Hand it to `gmmx_eqx.fit` "
            "as it is."
        )
    numbers = inputs.as_numbers(x, "x")
    dtype = inputs.float_type(x, numbers)
    numbers = np.asarray(numbers)
    if numbers.ndim != 2 or numbers.shape[1] == 0:
        raise ValueError(
            f"`x` must have shape (n_samples, n_features); got {numbers.shape}."
        )
    check_range(numbers, dtype, "x")
    if len(numbers):
        inputs.check_narrowing(numbers, dtype, "x")
    weight = np.ones(len(numbers), dtype)
    if sample_weight is not None:
        weight = np.asarray(inputs.as_numbers(sample_weight, "sample_weight"))
        check_range(weight, dtype, "sample_weight")
    if weight.shape != numbers.shape[:1]:
        raise ValueError(
            f"`sample_weight` must have one number per sample, shape "
            f"{numbers.shape[:1]}; got {weight.shape}."
        )
    return _Given(numbers, weight, dtype)


def _agree(given: _Given | None, n_own: int, per_process: bool) -> int:
    """How many samples each shard has, of what all processes were given; `None` where
    that was refused."""
    if given is None:
        facts = np.array([0, 0, 0, 0, n_own])
    else:
        facts = np.array([1, *given.x.shape, given.dtype.itemsize, n_own])
    accepted, n_samples, n_features, itemsize, n_shards = np.asarray(
        multihost_utils.process_allgather(facts)
    ).T.tolist()
    refused = [i for i, flag in enumerate(accepted) if not flag]
    if given is None:
        return 0
    if refused:
        raise ValueError(
            f"`x` or `sample_weight` of process {refused[0]} was refused; the error "
            "there says why."
        )
    same = {"features": n_features, "bytes per number": itemsize}
    if not per_process:
        same["samples"] = n_samples
    for what, numbers in same.items():
        if len(set(numbers)) > 1:
            hint = " Or use `per_process=True`." if what == "samples" else ""
            raise ValueError(
                f"`x` must have the same number of {what} in every process; got "
                f"{', '.join(map(str, numbers))}.{hint}"
            )
    if per_process:
        pairs = zip(n_samples, n_shards, strict=True)
        return max(-(-n // own) for n, own in pairs if own)
    return -(-n_samples[0] // sum(n_shards))


def _put(
    array: np.ndarray,
    dtype: np.dtype,
    spread: Spread,
    n_rows: int,
    place: dict[int, int],
) -> Any:
    """Each shard on its devices, without more than one of them in another type."""

    def of_shard(index: Any) -> np.ndarray:
        first = place[index[0].start or 0]
        rows = array[first : first + n_rows].astype(dtype)
        padding = [(0, n_rows - len(rows))] + [(0, 0)] * (array.ndim - 1)
        return np.pad(rows, padding)

    shape = (n_rows * spread.n_shards, *array.shape[1:])
    return jax.make_array_from_callback(shape, spread.sharding, of_shard)
