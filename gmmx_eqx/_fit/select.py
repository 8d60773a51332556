import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._core import buckets, inputs
from .._core.aliases import Data, Weighting
from .._core.describe import as_key, describe
from .._core.hints import hinted
from .._core.known import constant, is_on_host
from .._core.likes import AmountLike, DataLike, KeyLike, SampleWeightLike
from .._core.programs import program
from .._core.threads import map_in_threads
from .._covariances import (
    COVARIANCE,
    covariance_class,
    FamilyLike,
)
from .._em import AbstractEM
from .._initialisers import AbstractInitialiser
from .._mixture.abstract import weighted_sum
from .._mixture.densities import log_prob_completed
from .._priors import Prior, RidgeLike
from .._sources import Observed
from . import hints
from .capacity import carries, n_parameters
from .error import raise_unless_successful
from .fit_many import fit_lanes
from .fit_observed import gather_many, Gathered
from .options import as_initialiser, Options
from .progress import AbstractProgress, report_to, Ticket
from .random_starts import RandomStarts
from .selection import Cell, check_criterion, Selection
from .solution import in_unit, Solution, take, take_best, with_components


# Numbers in the largest arrays of the fits of a family. Of larger ones, two families at
# a time would take twice the memory.
_SMALL = 2**22


@hinted(hints.SEVERAL)
def select(
    x: DataLike | Observed,
    n_components: Iterable[int] = range(1, 10),
    covariance_types: Iterable[FamilyLike] | None = None,
    n_restarts: int = 16,
    criterion: str = "bic",
    *,
    key: KeyLike,
    initialiser: AbstractInitialiser | None = None,
    sample_weight: SampleWeightLike | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | None = None,
    samples_per_chunk: int | None = None,
    resolution: AmountLike | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    width: int = 64,
    throw: bool = False,
    progress: AbstractProgress | bool = False,
) -> Selection:
    """Fits every number of components with every covariance family, and compares.

    All numbers of components of a family are one program: mixtures are as large as the
    largest asked for, and the components beyond a fit's own have a weight of zero.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`, or [`gmmx_eqx.Observed`][].
    - `n_components`: the numbers of components to try.
    - `covariance_types`: the families to try, by the names that the table is to show;
        all that are registered if not given, except those whose rank has to be chosen
        and eight of the models in [`gmmx_eqx.MODELS`][].
    - `n_restarts`: how many random starts for each, of which the best counts.
    - `criterion`: `"bic"`, `"aic"` or `"icl"`; the lowest wins. The table shows the
        others, or the opposite sign, on request: [`gmmx_eqx.Selection.by`][].
    - `key`: a `jax.random` key.
    - `initialiser`, `sample_weight`, `reg_covar`, `solver`, `samples_per_chunk`,
        `resolution`, `equal_weights`, `prior`, `width`, `progress`: as in
        [`gmmx_eqx.fit_restarts`][]. Criteria do not count equal weights as parameters.
        With a prior the best restart is that of the highest objective, and criteria are
        of its log-likelihood alone. There is no `frozen`, whose masks and values are
        for one number of components of one family.
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
    given = gather_many(x, sample_weight, max(counts), reg_covar)
    gathered, x, sample_weight = given
    x, weight = inputs.as_data(x, sample_weight, fits=True)
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    width = inputs.check_count(width, "width")
    check_criterion(criterion)
    key = as_key(key)
    inputs.check_enough_samples(x, weight, max(counts))
    weight, unit = inputs.balance(weight)
    n_balanced = float(len(x) if weight is None else np.sum(np.asarray(weight)))
    n_samples = n_balanced * float(unit)
    names = covariance_types
    if names is None:
        names = [name for name, family in COVARIANCE.items() if family.compared]
    names = _as_tuple(names, "covariance_types", "['full', 'diag']")
    families = [covariance_class(name, "covariance_types") for name in names]
    labels = [
        str(name if isinstance(name, str) else family.type)
        for name, family in zip(names, families, strict=True)
    ]
    n_counted = len(x) if weight is None else int(np.count_nonzero(weight))
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
    n_fits = [len(own) * n_restarts for own in carried]
    # Before those of each family, and in all.
    n_before = [0, *itertools.accumulate(n_fits)]
    n_lanes = max(1, *n_fits)
    n_features = x.shape[1]
    x, weight = buckets.fill(x, weight, key, initialiser, options, n_lanes=n_lanes)
    starts = starts.prepared(x, weight, key)

    def fitted(i: int, ticket: Ticket | None) -> Iterator[Cell]:
        own = carried[i]
        fits = RandomStarts(
            families[i],
            max(own),
            starts,
            options,
            width=min(width, n_fits[i]),
            gathered=gathered,
        )
        n_active = constant(np.repeat(own, n_restarts))
        turns = constant(np.tile(np.arange(n_restarts), len(own)))
        used = constant(n_fits[i])
        lanes, _ = fit_lanes(fits, x, weight, key, n_active, turns, used, None, ticket)
        best, icl, n_converged = _best(lanes, x, weight, len(own), gathered)
        icl, n_converged = np.asarray(icl), np.asarray(n_converged)
        n_largest = best.mixture.n_parameters
        for j, count in enumerate(own):
            solution = in_unit(with_components(take(best, j), count), unit)
            size = n_parameters(families[i], count, n_features, equal_weights)
            excess = n_largest - size
            completed = float(icl[j])
            if unit != 1:
                completed -= n_largest * math.log(n_balanced)
                completed *= float(unit)
                completed += n_largest * math.log(n_samples)
            yield Cell.create(
                labels[i],
                solution,
                n_samples,
                icl=completed - excess * math.log(n_samples),
                n_converged=int(n_converged[j]),
                n_restarts=n_restarts,
                equal_weights=equal_weights,
            )

    def column(i: int, ticket: Ticket | None) -> Iterator[Cell]:
        cells = fitted(i, ticket)
        for count in counts:
            if count in carried[i]:
                yield next(cells)
            else:
                size = n_parameters(families[i], count, n_features, equal_weights)
                yield Cell.not_fitted(labels[i], count, size)

    # Most of the time of a small selection is compilation, by one thread.
    size = min(width, n_lanes) * max(counts) * x.size
    side_by_side = size <= _SMALL and is_on_host(x)

    def run(ticket: Ticket | None) -> list[Cell]:
        after = lambda i: None if ticket is None else ticket.after(n_before[i])
        one = lambda i: list(column(i, after(i)))
        n_threads = 2 if side_by_side and ticket is None else 1
        columns = map_in_threads(one, range(len(families)), n_threads)
        return [cell for cells in columns for cell in cells]

    cells = report_to(progress, "fit", n_before[-1], run)
    selection = Selection(tuple(cells), criterion)
    if throw:
        best = selection.best
        where = f"{best.covariance_type}, {best.n_components} components: "
        raise_unless_successful(selection, best.solution, where)
    return selection


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


@program()
def _best(
    lanes: Solution,
    x: Data,
    weight: Weighting,
    n_cells: int,
    gathered: Gathered | None,
) -> tuple[Solution, Array, Int[Array, " cells"]]:
    """Of each cell's lanes: the best, its ICL as if it had as many parameters as the
    largest, and how many converged."""
    by_cell = jax.tree.map(
        lambda leaf: leaf.reshape(n_cells, -1, *leaf.shape[1:]), lanes
    )
    best = jax.vmap(take_best)(by_cell)

    def icl_of(mixture):
        if gathered is None:
            found = weighted_sum(mixture, x, weight, log_prob_completed)
        else:
            found = gathered.weighted_sum(mixture, log_prob_completed)
        total, n_samples = found
        return -2 * total + mixture.n_parameters * jnp.log(n_samples)

    icl = jax.vmap(icl_of)(best.mixture)
    return best, icl, jnp.sum(by_cell.converged, axis=1)
