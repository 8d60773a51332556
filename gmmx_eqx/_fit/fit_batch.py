import functools as ft
from collections.abc import Sequence

import jax

from .._core import buckets, inputs, labels as known_labels
from .._core.describe import as_key
from .._core.hints import hinted
from .._core.known import constant, is_inside_program
from .._core.likes import (
    AmountLike,
    DataSetsLike,
    KeyLike,
    LabelSetsLike,
    WeightSetsLike,
)
from .._covariances import covariance_class, CovarianceType, FamilyLike
from .._em import AbstractEM, Frozen
from .._initialisers import AbstractInitialiser
from .._mixture import GaussianMixture, padding
from .._priors import Prior, RidgeLike
from .._sources import Observed
from . import hints
from .error import raise_unless_all_successful
from .fit_many import numbers_of_lanes
from .observed_sets import gather_sets
from .options import as_initialiser, Options
from .progress import AbstractProgress, report_to
from .random_starts import check_frozen_at, RandomStarts
from .sets import as_sets
from .shares import fit_sets_in_shares
from .solution import in_unit, Solution, with_components


# All that is made of half as many data sets fits a core's cache: with 200 samples,
# 2 features and 2 components in float64, 32 take a quarter less time than 64, and 16 a
# tenth more than 32. In float32 it is all the same.
_WIDTH, _WIDTH_ON_CPU = 64, 32


@hinted(hints.MANY)
def fit_batch(
    xs: DataSetsLike | Sequence[Observed],
    n_components: int,
    covariance_type: FamilyLike = CovarianceType.full,
    n_restarts: int = 1,
    *,
    key: KeyLike,
    initialiser: AbstractInitialiser | None = None,
    sample_weight: WeightSetsLike | None = None,
    labels: LabelSetsLike | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | None = None,
    samples_per_chunk: int | None = None,
    resolution: AmountLike | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
    frozen_at: GaussianMixture | None = None,
    width: int | None = None,
    throw: bool = False,
    progress: AbstractProgress | bool = False,
) -> Solution:
    """Fits many data sets, each with a mixture of its own, as one program.

    **Arguments:**

    - `xs`: the data sets: an array of shape `(n_sets, n_samples, n_features)`, or a
        sequence of arrays of shapes `(n_samples, n_features)` of different lengths, or
        of [`gmmx_eqx.Observed`][], which hold their own weights.
    - `n_components`, `covariance_type`: what to fit to each.
    - `n_restarts`: how many starts for each data set, of which the best is returned.
    - `key`: a `jax.random` key.
    - `sample_weight`: shape `(n_sets, n_samples)`, or a sequence like `xs`.
    - `labels`: integers, shape `(n_sets, n_samples)`, or a sequence like `xs`: which
        component a sample is known to belong to, -1 where it is not known, as in
        [`gmmx_eqx.fit_restarts`][].
    - `initialiser`, `reg_covar`, `solver`, `samples_per_chunk`, `resolution`,
        `equal_weights`, `prior`, `frozen`, `frozen_at`, `progress`: as in
        [`gmmx_eqx.fit_restarts`][].
    - `width`: as there; 32 on a CPU and 64 elsewhere if not given.
    - `throw`: whether to raise if the fit of any data set has not converged.

    **Returns:**

    A [`gmmx_eqx.Solution`][] whose arrays have a leading axis of data sets. A NaN in
    one data set, fewer samples than components, or a fit that fails, is the status of
    that data set alone.

    **Raises:**

    `ValueError` for arguments that cannot be right. With `throw`, a
    [`gmmx_eqx.FitError`][] for the first data set whose fit has not converged.

    **Example:**

    ```python
    xs = jr.normal(jr.key(0), (3, 100, 2))  # three data sets
    solutions = gx.fit_batch(xs, 1, key=jr.key(1))
    print(len(solutions), solutions[0].mixture.n_features)
    ```

    ```text
    3 2
    ```
    """
    n_components = inputs.check_count(n_components, "n_components")
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    if width is None:
        width = _WIDTH_ON_CPU if jax.default_backend() == "cpu" else _WIDTH
    width = inputs.check_count(width, "width")
    key = as_key(key)
    gathered, xs, weights = gather_sets(xs, sample_weight, n_components)
    if gathered is not None:
        known_labels.check_none(labels)
        labels = None
    xs, weights, labels = as_sets(xs, weights, labels, n_components)
    weights, unit = inputs.balance(weights)
    if xs.shape[1] < n_components:
        raise ValueError(
            f"`xs` must have at least as many samples as there are components, "
            f"{n_components}; got {xs.shape[1]} in the largest data set."
        )
    n_sets = xs.shape[0]
    options = Options.create(
        xs.shape[2],
        reg_covar=reg_covar,
        solver=solver,
        samples_per_chunk=samples_per_chunk,
        resolution=resolution,
        equal_weights=equal_weights,
        prior=prior,
        frozen=frozen,
    )
    options.check_unit(unit)
    at = check_frozen_at(frozen_at, frozen, n_components, xs.shape[2], covariance_type)
    xs, weights = buckets.fill_sets(
        xs, weights, n_restarts, labels, key, initialiser, options, at
    )
    if labels is not None:
        labels = known_labels.fill_sets(labels, *xs.shape[:2])
    gathered = jax.tree.map(lambda leaf: buckets.fill_rows(leaf, len(xs)), gathered)
    width = min(width, xs.shape[0] * n_restarts)
    n_padded = n_components
    if frozen is None and not is_inside_program():
        n_lanes = len(xs) * n_restarts
        n_numbers = numbers_of_lanes(xs.size // len(xs), n_lanes)
        n_padded = padding.padded_size(n_components, n_numbers)
    fits = RandomStarts(
        covariance_class(covariance_type),
        n_padded,
        as_initialiser(initialiser),
        options,
        width=width,
        frozen_at=at,
        gathered=gathered,
    )
    args = xs, weights, key, n_restarts, constant(n_components), n_sets
    run = ft.partial(fit_sets_in_shares, fits, *args, labels=labels)
    best = report_to(progress, "fit", n_sets * n_restarts, run)
    best = jax.tree.map(lambda leaf: buckets.cut(leaf, n_sets), best)
    best = in_unit(with_components(best, n_components), unit)
    return raise_unless_all_successful(best) if throw else best
