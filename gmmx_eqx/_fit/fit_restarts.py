import functools as ft
from pathlib import Path

import jax
import numpy as np

from .._core import buckets, inputs, labels as known_labels
from .._core.describe import as_key
from .._core.hints import hinted
from .._core.known import constant, is_inside_program
from .._core.likes import AmountLike, DataLike, KeyLike, LabelsLike, SampleWeightLike
from .._covariances import covariance_class, CovarianceType, FamilyLike
from .._em import AbstractEM, Frozen
from .._initialisers import AbstractInitialiser
from .._mixture import GaussianMixture, padding
from .._priors import Prior, RidgeLike
from .._sources import Blocks, check_blocks, Observed
from . import hints
from .driver import Race
from .error import raise_unless_successful
from .fit_blocks import check_enough, check_labels, check_no_checkpoint
from .fit_many import fit_lanes, numbers_of_lanes
from .fit_observed import gather_many
from .fit_restarts_blocks import fit_restarts_blocks
from .options import as_initialiser, Options
from .population import Population
from .progress import AbstractProgress, report_to
from .random_starts import check_frozen_at, RandomStarts
from .solution import in_unit, with_components


@hinted(hints.MANY)
def fit_restarts(
    x: DataLike | Observed | Blocks,
    n_components: int,
    covariance_type: FamilyLike = CovarianceType.full,
    n_restarts: int = 32,
    *,
    key: KeyLike,
    initialiser: AbstractInitialiser | None = None,
    sample_weight: SampleWeightLike | None = None,
    labels: LabelsLike | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | None = None,
    samples_per_chunk: int | None = None,
    resolution: AmountLike | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
    frozen_at: GaussianMixture | None = None,
    keep: int | None = None,
    short_steps: int = 10,
    width: int = 64,
    throw: bool = False,
    progress: AbstractProgress | bool = False,
    checkpoint: str | Path | None = None,
) -> Population:
    """Fits the same data from many random starts, as one program.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`; or [`gmmx_eqx.Observed`][]; or
        [`gmmx_eqx.blocks`][]: starts are then made from a draw of 32768 samples, and
        each pass over the blocks is a step of all fits that have not ended.
    - `n_components`, `covariance_type`: what to fit.
    - `n_restarts`: how many starts.
    - `key`: a `jax.random` key; every start gets its own from it.
    - `initialiser`: how to start; [`gmmx_eqx.Mixed`][] if not given, whose first start
        is by k-means.
    - `sample_weight`, `reg_covar`, `solver`, `samples_per_chunk`, `resolution`,
        `equal_weights`, `prior`: as in [`gmmx_eqx.fit`][].
    - `labels`: as in [`gmmx_eqx.fit`][]. A component that has labelled samples begins
        around their mean in the first start, and around one of them in the others.
    - `frozen`: a [`gmmx_eqx.Frozen`][]: which parameters stay exactly as they are in
        `frozen_at`, in every fit.
    - `frozen_at`: a mixture like those that are fitted, with the values of what is
        frozen; it needs sensible values for nothing else. Where means are frozen, the
        component of a random start that is nearest takes their place.
    - `keep`: how many of the fits go on after `short_steps` steps: those of the highest
        objectives, unless they have ended by then. The others have the status
        `dropped`. All go on if not given.
    - `short_steps`: see `keep`.
    - `width`: how many fits are computed side by side. A fit that has ended makes room
        for the next. Of blocks, all are.
    - `throw`: whether to raise if the best of the fits has not converged.
    - `progress`: as in [`gmmx_eqx.fit`][]; it counts fits that have ended.
    - `checkpoint`: of fits to blocks, the folder where every pass is saved, as in
        [`gmmx_eqx.fit`][].

    **Returns:**

    A [`gmmx_eqx.Population`][]. A fit that fails is one lane's status.

    **Raises:**

    `ValueError` for arguments that cannot be right. With `throw`, a
    [`gmmx_eqx.FitError`][] if the best of the fits has not converged, as in
    [`gmmx_eqx.fit`][].

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    population = gx.fit_restarts(x, 2, n_restarts=8, key=jr.key(1))
    mixture = population.best.mixture
    print(len(population), mixture.n_components)
    ```

    ```text
    8 2
    ```

    ??? cite "Reference"

        Biernacki, Celeux, Govaert (2003), Choosing Starting Values for the EM Algorithm
        for Getting the Highest Likelihood in Multivariate Gaussian Mixture Models.
        Comput. Stat. Data Anal. 41(3-4), 561-575. For `keep`.
    """
    n_components = inputs.check_count(n_components, "n_components")
    gathered, x, sample_weight = gather_many(x, sample_weight, n_components)
    weight = None
    if gathered is not None:
        known_labels.check_none(labels)
    if isinstance(x, Blocks):
        check_blocks(x, x.shape[1], sample_weight, labels)
        check_labels(x, n_components)
    else:
        check_no_checkpoint(checkpoint)
        x, weight = inputs.as_data(x, sample_weight, fits=True)
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    width = inputs.check_count(width, "width")
    short_steps = inputs.check_count(short_steps, "short_steps")
    race = None
    if keep is not None:
        keep = inputs.check_count(keep, "keep")
        race = Race(constant(keep), constant(short_steps))
    key = as_key(key)
    options = Options.create(
        x.shape[1],
        reg_covar=reg_covar,
        solver=solver,
        samples_per_chunk=samples_per_chunk,
        resolution=resolution,
        equal_weights=equal_weights,
        prior=prior,
        frozen=frozen,
    )
    family = covariance_class(covariance_type)
    at = check_frozen_at(frozen_at, frozen, n_components, x.shape[1], covariance_type)
    if isinstance(x, Blocks):
        check_enough(x, n_components)
        start = as_initialiser(initialiser)
        fits = RandomStarts(family, n_components, start, options, width, at)
        args = x, key, n_restarts, race, checkpoint
        run = ft.partial(fit_restarts_blocks, fits, *args)
        population = report_to(progress, "fit", n_restarts + (keep or 0), run)
        return _checked(population, throw)
    inputs.check_enough_samples(x, weight, n_components)
    weight, unit = inputs.balance(weight)
    options.check_unit(unit)
    if labels is not None:
        labels = known_labels.as_known(labels, len(x), n_components)
    n_lanes = buckets.size(n_restarts) if n_restarts > 8 else n_restarts
    x, weight = buckets.fill(
        x, weight, labels, key, initialiser, options, frozen_at, n_lanes=n_lanes
    )
    labels = None if labels is None else known_labels.fill(labels, len(x))
    options = options.spread_like(x, key)
    drawn = options.draw(x, weight, key)
    # In the second heat no more than `keep` lanes run.
    width = min(width, n_lanes, keep or n_lanes)
    starts = as_initialiser(initialiser).prepared(*(drawn or (x, weight)), key)
    n_padded = n_components
    if frozen is None and not is_inside_program():
        n_padded = padding.padded_size(n_components, numbers_of_lanes(x.size, n_lanes))
    fits = RandomStarts(
        family,
        n_padded,
        starts,
        options,
        width,
        at,
        gathered=gathered,
        drawn=drawn,
        labels=labels,
        drawn_labels=options.draw_labels(labels, key),
    )
    n_active = constant(np.full(n_lanes, n_components))
    turns = constant(np.arange(n_lanes))
    used = constant(n_restarts)
    run = ft.partial(fit_lanes, fits, x, weight, key, n_active, turns, used, race)
    solutions, n_turns = report_to(progress, "fit", n_restarts + (keep or 0), run)
    solutions = jax.tree.map(lambda leaf: buckets.cut(leaf, n_restarts), solutions)
    solutions = in_unit(with_components(solutions, n_components), unit)
    return _checked(Population(solutions, n_turns, fits.width), throw)


def _checked(population: Population, throw: bool) -> Population:
    return raise_unless_successful(population, population.best) if throw else population
