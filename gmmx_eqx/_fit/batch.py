import functools as ft
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from .._core import buckets, inputs
from .._core.axes import CovarianceType
from .._core.describe import check_key, describe
from .._core.likes import DataSetsLike, KeyLike, WeightSetsLike
from .._covariances import covariance_class
from .._em import AbstractEM, Kernel
from .._initialisers import AbstractInitialiser
from .._priors import RidgeLike
from .best import take_best
from .lanes import fit_sets, Settings
from .progress import AbstractProgress
from .solution import Solution
from .watch import watch


def fit_batch(
    xs: DataSetsLike,
    n_components: int,
    covariance_type: str = CovarianceType.full,
    n_restarts: int = 1,
    *,
    key: KeyLike,
    initialiser: AbstractInitialiser | None = None,
    sample_weight: WeightSetsLike | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | None = None,
    kernel: str = Kernel.auto,
    width: int = 64,
    progress: AbstractProgress | bool = False,
) -> Solution:
    """Fits many data sets, each with a mixture of its own, as one program.

    **Arguments:**

    - `xs`: the data sets: an array of shape `(n_sets, n_samples, n_features)`, or a
        sequence of arrays of shapes `(n_samples, n_features)` of different lengths.
    - `n_components`, `covariance_type`: what to fit to each.
    - `n_restarts`: how many starts for each data set, of which the best is returned.
    - `key`: a `jax.random` key.
    - `sample_weight`: shape `(n_sets, n_samples)`, or a sequence like `xs`.
    - `initialiser`, `reg_covar`, `solver`, `kernel`, `width`, `progress`: as in
        [`gmmx_eqx.fit_restarts`][].

    **Returns:**

    A [`gmmx_eqx.Solution`][] whose arrays have a leading axis of data sets. A NaN in
    one data set, or a fit that fails, is the status of that data set alone.

    **Raises:**

    `ValueError` for arguments that cannot be right.
    """
    n_components = inputs.check_count(n_components, "n_components")
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    width = inputs.check_count(width, "width")
    check_key(key)
    xs, weights = _stack(xs, sample_weight)
    if xs.shape[1] < n_components:
        raise ValueError(
            f"`xs` must have at least as many samples as there are components, "
            f"{n_components}; got {xs.shape[1]} in the largest data set."
        )
    n_sets = xs.shape[0]
    xs, weights = buckets.fill_sets(
        xs, weights, n_restarts, key, initialiser, reg_covar, solver
    )
    settings = Settings.create(
        covariance_class(covariance_type),
        n_components,
        initialiser=initialiser,
        reg_covar=reg_covar,
        solver=solver,
        kernel=kernel,
        width=min(width, xs.shape[0] * n_restarts),
    )
    # A set's keys do not depend on how many sets there are.
    keys = jr.split(key, (xs.shape[0], n_restarts))
    n_lanes = jnp.asarray(n_sets * n_restarts)
    run = ft.partial(fit_sets, settings, xs, weights, keys, n_lanes)
    solutions, _ = watch(progress, "fit", n_sets * n_restarts, run)
    best = _best_of_each(solutions)
    return jax.tree.map(lambda leaf: buckets.cut(leaf, n_sets), best)


_best_of_each = eqx.filter_jit(jax.vmap(take_best))


def _stack(xs: Any, sample_weight: Any) -> tuple[Array, Array | None]:
    """One array of data sets; shorter ones are filled up, with weight zero."""
    if isinstance(xs, jax.Array | np.ndarray):
        xs = inputs.as_float(xs, "xs")
        if xs.ndim != 3 or 0 in xs.shape:
            raise ValueError(
                "`xs` must have shape (n_sets, n_samples, n_features), or be a "
                f"sequence of arrays of shape (n_samples, n_features); got {xs.shape}."
            )
        weights = sample_weight
        if weights is not None:
            weights = inputs.as_float(weights, "sample_weight")
    else:
        xs, weights = _fill_up(_as_list(xs, "xs"), sample_weight)
    if weights is not None:
        _check_weights(weights, xs)
    return xs, weights


def _as_list(sets: Any, name: str) -> list[np.ndarray]:
    if not isinstance(sets, Iterable):
        raise ValueError(
            f"`{name}` must be an array or a sequence of arrays; got {describe(sets)}."
        )
    arrays = []
    for i, x in enumerate(sets):
        try:
            arrays.append(np.asarray(x))
        except ValueError as error:
            raise ValueError(f"`{name}[{i}]` is not an array: {error}") from error
    return arrays


def _fill_up(sets: list[np.ndarray], sample_weight: Any) -> tuple[Array, Array]:
    if not sets:
        raise ValueError("`xs` must hold at least one data set; it is empty.")
    for i, x in enumerate(sets):
        if x.ndim != 2 or x.shape[1] != sets[0].shape[1] or 0 in x.shape:
            raise ValueError(
                f"`xs[{i}]` must have shape (n_samples, n_features), with as many "
                f"features as `xs[0]`, {sets[0].shape}; got {x.shape}."
            )
    if sample_weight is None:
        sample_weight = [np.ones(len(x)) for x in sets]
    weights = _as_list(sample_weight, "sample_weight")
    expected, got = [x.shape[:1] for x in sets], [weight.shape for weight in weights]
    if got != expected:
        raise ValueError(
            "`sample_weight` must hold one array for each of `xs`, of shapes "
            f"{_listed(expected)}; got {_listed(got)}."
        )
    shape = (len(sets), max(len(x) for x in sets))
    filled = np.zeros((*shape, sets[0].shape[1]), np.result_type(*sets))
    filled_weights = np.zeros(shape, filled.dtype)
    for i, (x, weight) in enumerate(zip(sets, weights, strict=True)):
        filled[i, : len(x)] = x
        filled_weights[i, : len(x)] = weight
    weights_array = inputs.as_float(filled_weights, "sample_weight")
    return inputs.as_float(filled, "xs"), weights_array


def _listed(shapes: list[tuple[int, ...]]) -> str:
    first = ", ".join(map(str, shapes[:4]))
    return first if len(shapes) <= 4 else f"{first}, … ({len(shapes)} of them)"


def _check_weights(weights: Array, xs: Array) -> None:
    if weights.shape != xs.shape[:2]:
        raise ValueError(
            f"`sample_weight` must have shape {xs.shape[:2]}; got {weights.shape}."
        )
    inputs.check_weights(weights)
