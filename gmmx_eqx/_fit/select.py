import functools as ft
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._core import buckets, inputs, labels as known_labels
from .._core.aliases import Data, Labels, SampleWeight, Weighting
from .._core.describe import as_key, describe
from .._core.hints import hinted
from .._core.known import constant, is_on_host
from .._core.likes import AmountLike, DataLike, KeyLike, LabelsLike, SampleWeightLike
from .._core.programs import program
from .._core.spread import Spread
from .._core.threads import map_in_threads
from .._covariances import (
    COVARIANCE,
    covariance_class,
    Family,
    FamilyLike,
)
from .._em import AbstractEM
from .._initialisers import AbstractInitialiser
from .._mixture.abstract import weighted_sum
from .._mixture.densities import log_prob_completed
from .._priors import Prior, RidgeLike
from .._sources import Blocks, check_blocks, Observed
from . import hints
from .capacity import carries, n_parameters
from .error import raise_unless_successful
from .fit_blocks import check_enough, check_no_checkpoint
from .fit_many import fit_lanes
from .fit_observed import gather_many, Gathered
from .options import as_initialiser, Options
from .progress import AbstractProgress, report_to, Ticket
from .random_starts import RandomStarts
from .select_blocks import Best, select_blocks
from .selection import Cell, check_criterion, Selection
from .solution import in_unit, Solution, take, take_best, with_components


# Numbers in the largest arrays of the fits of a family. Of larger ones, two families at
# a time would take twice the memory.
_SMALL = 2**22


@hinted(hints.SEVERAL)
def select(
    x: DataLike | Observed | Blocks,
    n_components: Iterable[int] = range(1, 10),
    covariance_types: Iterable[FamilyLike] | None = None,
    n_restarts: int = 16,
    criterion: str = "bic",
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
    width: int = 64,
    throw: bool = False,
    progress: AbstractProgress | bool = False,
    checkpoint: str | Path | None = None,
) -> Selection:
    """Fits every number of components with every covariance family, and compares.

    All numbers of components of a family are one program: mixtures are as large as the
    largest asked for, and the components beyond a fit's own have a weight of zero.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`; or [`gmmx_eqx.Observed`][]; or
        [`gmmx_eqx.blocks`][], as in [`gmmx_eqx.fit_restarts`][]: all fits of all
        families share every pass.
    - `n_components`: the numbers of components to try.
    - `covariance_types`: the families to try, by the names that the table is to show;
        all that are registered if not given, except those whose rank has to be chosen
        and eight of the models in [`gmmx_eqx.MODELS`][].
    - `n_restarts`: how many random starts for each, of which the best counts.
    - `criterion`: `"bic"`, `"aic"` or `"icl"`; the lowest wins. The table shows the
        others, or the opposite sign, on request: [`gmmx_eqx.Selection.by`][].
    - `key`: a `jax.random` key.
    - `initialiser`, `sample_weight`, `labels`, `reg_covar`, `solver`,
        `samples_per_chunk`, `resolution`, `equal_weights`, `prior`, `width`,
        `progress`, `checkpoint`: as in [`gmmx_eqx.fit_restarts`][]. Every number of
        components must be greater than every label. Criteria do not count equal
        weights as parameters. With a prior the best restart is that of the highest
        objective, and criteria are of its log-likelihood alone. There is no `frozen`,
        whose masks and values are for one number of components of one family.
    - `throw`: whether to raise if the fit that wins has not converged.

    **Returns:**

    A [`gmmx_eqx.Selection`][]: a table that prints well. Where the data cannot carry
    the parameters of a mixture, and no prior of the components does, it is not fitted;
    see [`gmmx_eqx.Cell`][].

    **Raises:**

    `ValueError` for arguments that cannot be right. With `throw`, a
    [`gmmx_eqx.FitError`][] if the fit that wins has not converged, and a `ValueError`
    if no fit has a valid mixture.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    table = gx.select(x, [1, 2], ["tied", "diag"], n_restarts=4, key=jr.key(1))
    print(table.best.n_components)
    ```

    ```text
    2
    ```
    """
    numbers = _as_tuple(n_components, "n_components", "range(1, 10)")
    counts = tuple(inputs.check_count(n, "n_components") for n in numbers)
    given = gather_many(x, sample_weight, max(counts))
    gathered, x, sample_weight = given
    weight = known = None
    if gathered is not None:
        known_labels.check_none(labels)
    if isinstance(x, Blocks):
        check_blocks(x, x.shape[1], sample_weight, labels)
        _check_counts(counts, x.labels)
    else:
        check_no_checkpoint(checkpoint)
        x, weight = inputs.as_data(x, sample_weight, fits=True)
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    width = inputs.check_count(width, "width")
    check_criterion(criterion)
    key = as_key(key)
    if isinstance(x, Blocks):
        check_enough(x, max(counts))
        n_balanced, n_counted = x.total_weight, x.n_present
    else:
        inputs.check_enough_samples(x, weight, max(counts))
        n_balanced = n_counted = x.shape[0]
    weight, unit = inputs.balance(weight)
    if labels is not None:
        known = known_labels.as_known(labels, len(x), max(counts))
        _check_counts(counts, known)
    if weight is not None:
        n_balanced = inputs.total_weight(weight)
        n_counted = inputs.n_positive(weight) or 0
    n_samples = n_balanced * float(unit)
    names = covariance_types
    if names is None:
        names = [name for name, family in COVARIANCE.items() if family.compared]
    names = _as_tuple(names, "covariance_types", "['full', 'diag']")
    families = [covariance_class(name, "covariance_types") for name in names]
    shown = [
        str(name if isinstance(name, str) else family.type)
        for name, family in zip(names, families, strict=True)
    ]
    # A prior of the components carries any number of parameters.
    is_carried = prior is not None and prior.components is not None
    carried = [
        [
            k
            for k in counts
            if is_carried or carries(n_counted, family, k, x.shape[1], equal_weights)
        ]
        for family in families
    ]
    starts = as_initialiser(initialiser)
    options = Options.create(
        x.shape[1],
        reg_covar=reg_covar,
        solver=solver,
        samples_per_chunk=samples_per_chunk,
        resolution=resolution,
        equal_weights=equal_weights,
        prior=prior,
    )
    options.check_unit(unit)
    args = families, carried, n_restarts, key, starts, options, width
    if isinstance(x, Blocks):
        run = ft.partial(select_blocks, x, checkpoint, *args)
    else:
        run = ft.partial(_select_in_memory, x, weight, known, gathered, *args)
    n_fits = sum(len(own) * n_restarts for own in carried)
    found = report_to(progress, "fit", n_fits, run)
    n_features = x.shape[1]

    def column(i: int, best: Best | None) -> Iterator[Cell]:
        numbers = itertools.count()
        for count in counts:
            size = n_parameters(families[i], count, n_features, equal_weights)
            if best is None or count not in carried[i]:
                yield Cell.not_fitted(shown[i], count, size)
                continue
            j = next(numbers)
            solution = with_components(take(best.solutions, j), count)
            completed = float(best.completed[j]) * float(unit)
            yield Cell.create(
                shown[i],
                in_unit(solution, unit),
                n_samples,
                icl=size * math.log(n_samples) - 2 * completed,
                n_converged=int(best.n_converged[j]),
                n_restarts=n_restarts,
                equal_weights=equal_weights,
            )

    cells = [cell for i, one in enumerate(found) for cell in column(i, one)]
    selection = Selection(tuple(cells), criterion)
    if throw:
        best = selection.best
        where = f"{best.covariance_type}, {best.n_components} components: "
        raise_unless_successful(selection, best.solution, where)
    return selection


def _check_counts(counts: Sequence[int], labels: Any) -> None:
    """Raises a `ValueError` unless every fit has a component for every label."""
    known = None if labels is None else inputs.concrete(labels)
    if known is None:
        return
    n_labelled = int(np.max(known)) + 1
    if n_labelled > min(counts):
        raise ValueError(
            f"`n_components` must be at least {n_labelled}, since `labels` has numbers "
            f"of so many components; got {min(counts)}."
        )


def _as_tuple(values: Any, name: str, example: str) -> tuple[Any, ...]:
    """What is given as one of them would be taken letter by letter, or not at all."""
    if isinstance(values, Iterable) and not isinstance(values, str | jax.Array):
        values = tuple(values)
        if values:
            return values
    raise ValueError(
        f"`{name}` must be a sequence of at least one, such as `{example}`; got "
        f"{describe(values)}."
    )


def _select_in_memory(
    x: Data,
    weight: SampleWeight | None,
    labels: Labels | None,
    gathered: Gathered | None,
    families: Sequence[Family],
    carried: Sequence[Sequence[int]],
    n_restarts: int,
    key: Any,
    initialiser: AbstractInitialiser,
    options: Options,
    width: int,
    ticket: Ticket | None,
) -> list[Best | None]:
    """As `select_blocks`: a program for each family."""
    n_fits = [len(own) * n_restarts for own in carried]
    n_before = [0, *itertools.accumulate(n_fits)]
    n_lanes = max(1, *n_fits)
    x, weighting = buckets.fill(
        x, weight, labels, key, initialiser, options, n_lanes=n_lanes
    )
    labels = None if labels is None else known_labels.fill(labels, len(x))
    options = options.spread_like(x, key)
    drawn = options.draw(x, weighting, key)
    starts = initialiser.prepared(*(drawn or (x, weighting)), key)

    def best_of(i: int) -> Best | None:
        own = carried[i]
        if not own:
            return None
        at_once = min(width, n_fits[i])
        fits = RandomStarts(
            families[i],
            max(own),
            starts,
            options,
            at_once,
            gathered=gathered,
            drawn=drawn,
            labels=labels,
            drawn_labels=options.draw_labels(labels, key),
        )
        n_active = constant(np.repeat(own, n_restarts))
        turns = constant(np.tile(np.arange(n_restarts), len(own)))
        used = constant(n_fits[i])
        after = None if ticket is None else ticket.after(n_before[i])
        args = key, n_active, turns, used, None, after
        lanes, _ = fit_lanes(fits, x, weighting, *args)
        solutions, completed, n_converged = _best(
            lanes, x, weighting, labels, len(own), options.spread, gathered
        )
        return Best(solutions, np.asarray(completed), np.asarray(n_converged))

    # Most of the time of a small selection is compilation, by one thread.
    size = min(width, n_lanes) * max((n for own in carried for n in own), default=1)
    side_by_side = size * x.size <= _SMALL and is_on_host(x) and ticket is None
    return map_in_threads(best_of, range(len(families)), 2 if side_by_side else 1)


@program()
def _best(
    lanes: Solution,
    x: Data,
    weight: Weighting,
    labels: Labels | None,
    n_cells: int,
    spread: Spread | None,
    gathered: Gathered | None,
) -> tuple[Solution, Array, Int[Array, " cells"]]:
    """Of each cell's lanes: the best, the log-likelihood of samples together with their
    most likely components, and how many converged."""
    by_cell = jax.tree.map(
        lambda leaf: leaf.reshape(n_cells, -1, *leaf.shape[1:]), lanes
    )
    best = jax.vmap(take_best)(by_cell)

    def completed_of(mixture):
        if gathered is not None:
            return gathered.weighted_sum(mixture, log_prob_completed)[0]
        rows = () if labels is None else (labels,)
        return weighted_sum(mixture, x, weight, log_prob_completed, spread, *rows)[0]

    completed = jax.vmap(completed_of)(best.mixture)
    return best, completed, jnp.sum(by_cell.converged, axis=1)
