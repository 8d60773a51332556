"""Many data sets as one array."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._core import inputs
from .._core.describe import describe
from .._core.labels import as_known, UNKNOWN
from .._sources import Blocks


def as_sets(
    xs: Any, sample_weight: Any, labels: Any, n_components: int
) -> tuple[Array, Array | None, Int[Array, "sets batch"] | None]:
    """Data sets `(sets, samples, features)`, weights and labels `(sets, samples)`; sets
    that are shorter are padded, with weight zero.

    **Raises:**

    `ValueError` for what cannot be right.
    """
    if isinstance(xs, jax.Array) or (isinstance(xs, np.ndarray) and xs.ndim != 1):
        given = inputs.as_numbers(xs, "xs")
        xs = inputs.as_type(given, inputs.float_type(xs, given), "xs")
        if xs.ndim != 3 or 0 in xs.shape:
            raise ValueError(
                "`xs` must have shape (n_sets, n_samples, n_features), or be a "
                f"sequence of arrays of shape (n_samples, n_features); got {xs.shape}."
            )
        weights = sample_weight
        if weights is not None:
            weights = inputs.as_float(weights, "sample_weight", like=xs)
        sets = None if isinstance(given, jax.core.Tracer) else np.asarray(given)
        lengths = [xs.shape[1]] * len(xs)
    else:
        sets, dtype = _as_list(xs, "xs")
        xs, weights = _fill_up(sets, dtype, sample_weight)
        lengths = [len(x) for x in sets]
    if weights is not None:
        if weights.shape != xs.shape[:2]:
            raise ValueError(
                f"`sample_weight` must have shape {xs.shape[:2]}; got {weights.shape}."
            )
        inputs.check_weights(weights)
    if sets is not None:
        known = None if weights is None else inputs.concrete(weights)
        for i, x in enumerate(sets):
            present = slice(None) if known is None else known[i, : len(x)] > 0
            if not isinstance(x, jax.core.Tracer):
                inputs.check_narrowing(x[present], xs.dtype, f"xs[{i}]")
    if labels is not None:
        labels = _labels(labels, lengths, n_components)
    return xs, weights, labels


def _labels(
    labels: Any, lengths: list[int], n_components: int
) -> Int[Array, "sets batch"]:
    """Labels of each set, -1 for what pads it."""
    own = list(labels) if isinstance(labels, Iterable) else []
    if len(own) != len(lengths):
        raise ValueError(
            f"`labels` must hold one array for each of `xs`, of lengths "
            f"{_listed(lengths)}; got {describe(labels)}."
        )
    known = [
        as_known(one, length, n_components, f"labels[{i}]")
        for i, (one, length) in enumerate(zip(own, lengths, strict=True))
    ]
    is_traced = any(isinstance(one, jax.core.Tracer) for one in known)
    sets = known if is_traced else [np.asarray(one) for one in known]
    return _filled(sets, max(lengths), np.dtype(np.int32), "labels", UNKNOWN)


def _as_list(
    sets: Any, name: str
) -> tuple[list[jax.Array | np.ndarray], np.dtype | None]:
    """The arrays, and the type that all of them are computed in."""
    if not isinstance(sets, Iterable):
        raise ValueError(
            f"`{name}` must be an array or a sequence of arrays; got {describe(sets)}."
        )
    arrays, dtypes = [], []
    for i, x in enumerate([sets] if isinstance(sets, Blocks) else sets):
        if isinstance(x, Blocks):
            raise ValueError(
                f"`{name}` must be in memory. Fit blocks one data set after the other: "
                "`[gmmx_eqx.fit_restarts(data, n_components, key=key) for data in "
                f"{name}]`."
            )
        array = inputs.as_numbers(x, f"{name}[{i}]")
        dtypes.append(inputs.float_type(x, array))
        # On the host, unless it is traced: JAX would compile a program for every shape.
        is_traced = isinstance(array, jax.core.Tracer)
        arrays.append(array if is_traced else np.asarray(array))
    return arrays, max(dtypes, key=lambda dtype: dtype.itemsize, default=None)


def _fill_up(
    sets: list[Any], dtype: np.dtype | None, sample_weight: Any
) -> tuple[Array, Array]:
    if dtype is None:
        raise ValueError("`xs` must hold at least one data set; it is empty.")
    for i, x in enumerate(sets):
        if x.ndim != 2 or x.shape[1] != sets[0].shape[1] or 0 in x.shape:
            raise ValueError(
                f"`xs[{i}]` must have shape (n_samples, n_features), with as many "
                f"features as `xs[0]`, {sets[0].shape}; got {x.shape}."
            )
    if sample_weight is None:
        sample_weight = [np.ones(len(x)) for x in sets]
    weights, _ = _as_list(sample_weight, "sample_weight")
    expected, got = [x.shape[:1] for x in sets], [weight.shape for weight in weights]
    if got != expected:
        raise ValueError(
            "`sample_weight` must hold one array for each of `xs`, of shapes "
            f"{_listed(expected)}; got {_listed(got)}."
        )
    length = max(len(x) for x in sets)
    return (
        _filled(sets, length, dtype, "xs"),
        _filled(weights, length, dtype, "sample_weight"),
    )


def _filled(
    arrays: list[Any], length: int, dtype: np.dtype, name: str, value: int = 0
) -> Array:
    """One array, with zeros, or another value, after what is shorter."""
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        cast = [
            inputs.as_type(array, dtype, f"{name}[{i}]")
            for i, array in enumerate(arrays)
        ]
        pad = lambda x: [(0, length - len(x)), *[(0, 0)] * (x.ndim - 1)]
        padded = [jnp.pad(x, pad(x), constant_values=value) for x in cast]
        return jnp.stack(padded)
    shape = (len(arrays), length, *arrays[0].shape[1:])
    filled = np.full(shape, value, dtype)
    for i, array in enumerate(arrays):
        inputs.check_range(array, dtype, f"{name}[{i}]")
        filled[i, : len(array)] = array
    return jax.device_put(filled)


def _listed(shapes: Sequence[Any]) -> str:
    first = ", ".join(map(str, shapes[:4]))
    return first if len(shapes) <= 4 else f"{first}, … ({len(shapes)} of them)"
