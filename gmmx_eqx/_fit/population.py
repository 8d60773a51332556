import math
from typing import Any, TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int

from .._core.hints import no_attribute
from .._core.results import is_any, RESULTS
from .._core.table import Table
from .._covariances import deviations_numpy
from .._mixture.table import has_numbers, is_cheap, no_error, table_of
from . import hints, summary
from .optima import distinct_optima, lanes_by_optimum, Optimum
from .solution import best_lane_numpy, Solution, statuses, take, take_best


# Within which lanes are at the same optimum.
_NATS, _DISTANCE = 1e-3, 0.2
# Lanes, squared, times components: of so many, optima are counted in a tenth of a
# second at most.
_COUNTED = 2**15


class Population(eqx.Module):
    """What many fits of the same data from different starts found.

    **Attributes:**

    - `solutions`: a [`gmmx_eqx.Solution`][] whose arrays have a leading axis of lanes.
    - `n_turns`: for how many turns the fits ran; each computed `width` lanes.
    - `width`: how many lanes were computed side by side.
    """

    solutions: Solution
    n_turns: Int[Array, ""]
    width: int = eqx.field(static=True)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            no_attribute(self, name, hints.of_many(name, "population.best", Solution))

    def __repr__(self) -> str:
        """How many fits ended in which way, and the best; without numbers the tree of
        its leaves, as that of a mixture."""
        table = _table_of(self)
        return eqx.tree_pformat(self) if table is None else table.text()

    def _repr_html_(self) -> str | None:
        table = _table_of(self)
        return None if table is None else table.html()

    def __len__(self) -> int:
        return self.solutions.log_likelihood.shape[0]

    def __getitem__(self, lane: int) -> Solution:
        if not -len(self) <= lane < len(self):
            raise IndexError(f"Lane {lane} of a population of {len(self)}.")
        return take(self.solutions, lane)

    @property
    def best(self) -> Solution:
        """The lane of the highest objective; see its `result`."""
        return take_best(self.solutions)

    @property
    def n_converged(self) -> Int[Array, ""]:
        """How many lanes converged."""
        return self.solutions.converged.sum()

    @property
    def _dropped_any(self) -> bool:
        return bool(np.any(is_any(self.solutions.result, RESULTS.dropped)))

    def optima(
        self, nats: float = _NATS, distance: float = _DISTANCE
    ) -> tuple[Optimum, ...]:
        """The distinct optima that the lanes ended at, the best first.

        **Arguments:**

        - `nats`: lanes whose mean objectives differ by more are different.
        - `distance`: so are lanes in which, with components matched, a mean differs by
            more than this many standard deviations, a weight by more than this, or a
            standard deviation by more than this factor's exponential.
        """
        return distinct_optima(self.solutions, nats, distance)

    def chance_of_new(self, **tolerances: float) -> float:
        """An estimate of the probability that one more restart ends at an optimum that
        none has ended at so far: the share of lanes that are alone at theirs.

        NaN if starts were dropped: those that were kept are no sample of all. This is
        about one more restart of the same kinds. Zero is no proof that there is
        nothing better: all starts of one kind can miss an optimum that another kind
        finds.

        ??? cite "Reference"

            Good (1953), The Population Frequencies of Species and the Estimation of
            Population Parameters. Biometrika 40(3/4), 237-264, eq. 9.

            Robbins (1968), Estimating the Total Probability of the Unobserved Outcomes
            of an Experiment. Ann. Math. Statist. 39(1), 256-257.
        """
        if self._dropped_any:
            return float("nan")
        optima = self.optima(**tolerances)
        n_lanes = sum(optimum.count for optimum in optima)
        alone = sum(optimum.count == 1 for optimum in optima)
        return alone / n_lanes if n_lanes else float("nan")

    def chance_of_better(self, after: int | None = None, **tolerances: float) -> float:
        """An estimate of the probability that one more restart, `after` so many, finds
        a better optimum than all before it.

        Unbiased: the share of all choices of `after` lanes and one more, out of this
        population, in which the one more is strictly the best. Half of the lanes if not
        given, which is on the safe side, since the chance falls with every restart; all
        but one is the most that can be asked for, and is zero or `1 / n`. NaN if starts
        were dropped, as for `chance_of_new`.

        ??? cite "Reference"

            Robbins (1968), Estimating the Total Probability of the Unobserved Outcomes
            of an Experiment. Ann. Math. Statist. 39(1), 256-257. Averaged over smaller
            samples as in rarefaction: Hurlbert (1971), The Nonconcept of Species
            Diversity. Ecology 52(4), 577-586.
        """
        counts = [optimum.count for optimum in self.optima(**tolerances)]
        n_lanes = sum(counts)
        if n_lanes < 2 or self._dropped_any:
            return float("nan")
        after = n_lanes // 2 if after is None else after
        if not 1 <= after < n_lanes:
            raise ValueError(f"`after` must lie in 1 ... {n_lanes - 1}; got {after}.")
        chance, n_worse = 0.0, n_lanes
        for count in counts:
            n_worse -= count
            share = math.comb(n_worse, after) / math.comb(n_lanes - 1, after)
            chance += count / n_lanes * share
        return chance


@no_error
def _table_of(population: Population) -> Table | None:
    solutions = population.solutions
    value, mean = solutions.log_likelihood, solutions.mean_log_likelihood
    if value.ndim != 1 or not has_numbers((value, mean, solutions.result)):
        return None
    title = [f"Population: {summary.of_fits(statuses(solutions))}"]
    if not is_cheap(solutions):
        mixtures = table_of(solutions.mixture)
        return mixtures and mixtures._replace(title=(*title, *mixtures.title))
    n_optima = _n_optima(solutions)
    if n_optima is not None:
        title[0] += f"; {n_optima} distinct {'optimum' if n_optima == 1 else 'optima'}"
    lane = best_lane_numpy(solutions)
    best = jax.tree.map(lambda leaf: np.asarray(leaf)[lane], solutions)
    highest = best.log_likelihood, best.mean_log_likelihood
    first, second = summary.of_fit(str(statuses(best)), best.n_steps, *highest)
    title += [f"best, lane {lane}: {first}", second]
    mixture = table_of(best.mixture)
    return mixture and mixture._replace(title=(*title, *mixture.title))


def _n_optima(solutions: Solution) -> int | None:
    """How many distinct optima there are, if that is quick to know."""
    deviations = deviations_numpy(solutions.mixture.covariances)
    n_lanes, n_components = len(solutions), solutions.mixture.n_components
    if deviations is None or n_lanes**2 * n_components > _COUNTED:
        return None
    return len(lanes_by_optimum(solutions, deviations, _NATS, _DISTANCE))
