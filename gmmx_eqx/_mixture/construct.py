"""The ways to a mixture's parameters; what cannot be right is refused here."""

import functools as ft
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from .._core import buckets, inputs
from .._core.aliases import (
    Data,
    Means,
    PerDatumComponent,
    SampleWeight,
    Weighting,
    Weights,
)
from .._core.axes import Axis
from .._core.describe import as_key, check_instance
from .._core.known import is_known
from .._core.labels import as_labels, check_labels, UNKNOWN
from .._core.programs import program
from .._core.spread import Spread, spread_of
from .._covariances import (
    AbstractCovariances,
    Family,
)
from .._initialisers import AbstractInitialiser
from .._priors import AbstractRidge, as_ridge
from .._sources import (
    Blocks,
    check_blocks,
    draw_spread,
    DRAWN,
    InMemory,
    source_of,
)
from .estimate import estimate
from .latent import as_complete


Parameters: TypeAlias = tuple[Weights, Means, AbstractCovariances]


def from_squeezed(
    make: Callable[[Any], AbstractCovariances],
    means: Any,
    covariances: Any,
    weights: Any,
    name: str = "covariances",
) -> Parameters:
    # Lists of Python's numbers take the type of what has one.
    given = {"means": means, name: covariances, "weights": weights}
    like = [
        inputs.as_float(value, name)
        for name, value in given.items()
        if inputs.has_type(value)
    ]
    as_float = ft.partial(inputs.as_float, like=like or None)
    means = as_float(means, "means")
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(
            f"`means` must have shape (components, features); got {means.shape}."
        )
    weights = as_float(weights, "weights")
    if weights.shape != means.shape[:1]:
        raise ValueError(
            f"`weights` must have one number per component, shape {means.shape[:1]}; "
            f"got {weights.shape}."
        )
    inputs.check_finite(means, "means")
    inputs.check_finite(weights, "weights")
    _check_weights(weights)
    held = make(as_float(covariances, name))
    dtype = inputs.widest([means, weights, *jax.tree.leaves(held)])
    return (
        jnp.expand_dims(
            weights.astype(dtype), (Axis.batch, Axis.features, Axis.features_covar)
        ),
        jnp.expand_dims(means.astype(dtype), (Axis.batch, Axis.features_covar)),
        jax.tree.map(lambda leaf: leaf.astype(dtype), held),
    )


def _check_weights(weights: Any) -> None:
    numbers = inputs.concrete(weights)
    if numbers is None:
        return
    total = float(np.sum(numbers, dtype=np.float64))
    tolerance = 10 * numbers.size * float(np.finfo(numbers.dtype).eps)
    if np.any(numbers < 0) or abs(total - 1) > tolerance:
        raise ValueError(
            f"`weights` must be non-negative and sum to one; they sum to {total:.9g}, "
            f"the smallest is {float(np.min(numbers)):.3g}. Divide them by their sum."
        )


def from_initialiser(
    initialiser: AbstractInitialiser,
    family: Family,
    x: Any,
    n_components: int,
    key: Any,
    reg_covar: Any,
    sample_weight: Any,
) -> Parameters:
    check_instance(initialiser, AbstractInitialiser, "initialiser", "KMeans()")
    if isinstance(x, Blocks):
        check_blocks(x, x.shape[1], sample_weight)
        if x.is_observed:
            x = x.draw_observed(DRAWN, key)
        else:
            x, sample_weight = x.draw(DRAWN, key)
    x, sample_weight = as_complete(x, sample_weight)
    x, weight = inputs.as_data(x, sample_weight, fits=True)
    n_components = inputs.check_count(n_components, "n_components")
    key = as_key(key)
    inputs.check_enough_samples(x, weight, n_components)
    ridge = as_ridge(reg_covar)
    weight, _ = inputs.balance(weight)
    spread = spread_of(x) if is_known(key) else None
    if spread is not None:
        x, weight = draw_spread(x, weight, spread, key)
    x, weight = buckets.fill(x, weight, key, ridge, initialiser)
    initialiser = initialiser.prepared(x, weight, key)
    return _from_initialiser(initialiser, family, x, n_components, key, ridge, weight)


@program(lambda _, family, x, n_components, *rest: n_components * x.size)
def _from_initialiser(
    initialiser: AbstractInitialiser,
    family: Family,
    x: Data,
    n_components: int,
    key: Any,
    ridge: AbstractRidge,
    weight: Weighting,
) -> Parameters:
    source = source_of(x, weight, None)
    assert isinstance(source, InMemory)
    partition = initialiser.partition(source, n_components, key=key)
    return estimate(
        family,
        source,
        partition,
        *partition.extras,
        reg_covar=ridge.resolve(source.variances),
        n_pseudo=x.shape[1] + 1,
        pools_few_only=partition.pools_few_only,
    )


def from_responsibilities(
    family: Family,
    x: Any,
    resp: Any,
    reg_covar: Any,
    sample_weight: Any,
    n_features: int | None = None,
    like: Any = None,
) -> Parameters:
    x, sample_weight = as_complete(x, sample_weight)
    x, weight = inputs.as_data(
        x, sample_weight, n_features=n_features, like=like, fits=True
    )
    resp = inputs.as_float(resp, "resp", like=x).astype(x.dtype)
    if resp.ndim != 2 or resp.shape[0] != x.shape[0] or 0 in resp.shape:
        raise ValueError(
            f"`resp` must have shape (n_samples, n_components) with {x.shape[0]} "
            f"samples; got {resp.shape}."
        )
    inputs.check_enough_samples(x, weight, resp.shape[1])
    _check_responsibilities(resp, weight)
    ridge = as_ridge(reg_covar)
    weight, _ = inputs.balance(weight)
    spread = spread_of(x)
    x, weight = buckets.fill(x, weight, resp, ridge)
    resp = buckets.fill_rows(resp, x.shape[0])
    return _from_responsibilities(family, x, resp, ridge, weight, spread)


def _check_responsibilities(resp: PerDatumComponent, weight: Any) -> None:
    numbers = inputs.concrete(resp)
    weights = np.ones(1) if weight is None else inputs.concrete(weight)
    if numbers is None or weights is None:
        return
    inputs.check_finite(resp, "resp")
    if np.any(numbers < 0):
        raise ValueError(f"`resp` must not be negative; it reaches {np.min(numbers)}.")
    tolerance = 100 * float(np.finfo(numbers.dtype).eps) * numbers.shape[1]
    totals = np.sum(numbers, axis=1)
    worst = int(np.argmax(np.abs(totals - 1)))
    if abs(totals[worst] - 1) > tolerance:
        raise ValueError(
            f"Each row of `resp` must sum to one; row {worst} sums to {totals[worst]}. "
            "Divide each row by its sum."
        )
    empty = np.flatnonzero(np.sum(weights[:, None] * numbers, axis=0) <= 0)
    if empty.size:
        raise ValueError(
            f"No sample belongs to component {int(empty[0])}: its column of `resp` (or "
            "its label) does not occur. Drop the component."
        )


@program()
def _from_responsibilities(
    family: Family,
    x: Data,
    resp: PerDatumComponent,
    ridge: AbstractRidge,
    weight: Weighting,
    spread: Spread | None,
) -> Parameters:
    source = source_of(x, weight, spread)
    expand = lambda _, rows: rows[..., None, None]
    return estimate(
        family,
        source,
        expand,
        source.split(resp),
        reg_covar=ridge.resolve(source.variances),
    )


def of_labels(
    labels: Any, n_components: int | None, weight: SampleWeight | None, n_samples: int
) -> tuple[PerDatumComponent, SampleWeight | None]:
    """Responsibilities from labels `0 <= label < n_components`, and weights that leave
    out samples whose label is -1."""
    labels = as_labels(labels, n_samples)
    numbers = inputs.concrete(labels)
    if n_components is None:
        if numbers is None:
            raise ValueError("While tracing, `n_components` must be given.")
        # At least one, so that what is missing is said below.
        n_components = max(int(np.max(numbers)) + 1, 1)
    n_components = inputs.check_count(n_components, "n_components")
    check_labels(labels, n_components)
    if numbers is not None:
        missing = np.setdiff1d(np.arange(n_components), numbers)
        if missing.size:
            raise ValueError(
                f"`labels` gives no sample to component {int(missing[0])}. Drop the "
                "component: number the others without a gap."
            )
    if numbers is not None:
        # JAX would compile programs for every number of samples.
        dtype = jax.dtypes.canonicalize_dtype(float)
        is_known = numbers != UNKNOWN
        # Those of unknown samples are not looked at, but must add up to one.
        one_hot = np.maximum(numbers, 0)[:, None] == np.arange(n_components)
        if not np.all(is_known):
            weight = jnp.where(is_known, 1.0 if weight is None else weight, 0.0)
        return jax.device_put(one_hot.astype(dtype)), weight
    labels = jnp.asarray(labels, dtype=int)
    resp = (labels[:, None] == jnp.arange(n_components)[None]).astype(float)
    return resp, weight
