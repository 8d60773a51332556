from collections.abc import Iterator
from typing import Any, TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from .._core import inputs
from .._core.aliases import Count, Flag, PerFeature, Scalar, Weighting
from .._core.hints import no_attribute
from .._core.known import is_on_host, put_like
from .._core.pickling import Pickled
from .._core.programs import program
from .._core.results import is_any, number, RESULTS, STATUSES
from .._core.table import Table
from .._core.weights import unbalance, Unit
from .._em import AbstractEMState, Frozen, MStep
from .._mixture import GaussianMixture, padding
from .._mixture.table import has_numbers, no_error, table_of
from .._sources import AbstractFacts
from . import hints, summary


class Solution(Pickled, eqx.Module):
    """What a fit returns.

    **Attributes:**

    - `mixture`: the fitted mixture.
    - `log_likelihood`: of the mixture, in nats, summed over samples with their weights.
    - `mean_log_likelihood`: the same per unit of sample weight.
    - `n_steps`: how many steps of EM led to the mixture.
    - `objectives`: what the fit maximises, after 0, 1, …, `n_steps` steps; beyond, the
        last one is repeated. Log-likelihoods, or with a prior these plus log-priors.
    - `result`: how the fit ended, a [`gmmx_eqx.RESULTS`][].
    - `log_prior`: the log-density of the mixture by the prior, in nats; `None` without
        one.
    - `background_weight`: the share of samples that belong to the background, or `None`
        without one.

    Of these all but `n_steps`, `objectives` and `result` have derivatives.

    For many fits every array has leading axes, and `len`, indexing and iteration work
    along the first.
    """

    mixture: GaussianMixture
    log_likelihood: Scalar
    mean_log_likelihood: Scalar
    n_steps: Count
    objectives: Float[Array, " history"]
    result: RESULTS
    log_prior: Scalar | None = None
    background_weight: Scalar | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            no_attribute(self, name, hints.of_solution(name, "solution"))

    def __repr__(self) -> str:
        """How it ended, and the mixture as a table; without numbers the tree of its
        leaves, as that of a mixture."""
        table = _table_of(self)
        return eqx.tree_pformat(self) if table is None else table.text()

    def _repr_html_(self) -> str | None:
        table = _table_of(self)
        return None if table is None else table.html()

    @classmethod
    def from_state(
        cls,
        mixture: GaussianMixture,
        state: AbstractEMState,
        step: MStep,
        result: RESULTS,
        log_likelihood: Scalar | None = None,
    ) -> "Solution":
        """From the end of a solver's loop, whose mixture is about the pivot.

        **Arguments:**

        - `log_likelihood`: with derivatives, if it has them.
        """
        record = state.record
        # A history is as long as a program says, however many steps are taken.
        beyond = jnp.arange(record.objectives.size) >= record.n_steps
        log_prior = log_prior_of(step, mixture)
        if log_likelihood is None:
            log_likelihood = without(record.objective, log_prior)
        return cls(
            mixture=moved(mixture, step.facts.pivot),
            log_likelihood=log_likelihood,
            mean_log_likelihood=log_likelihood / step.facts.total,
            n_steps=record.n_steps,
            objectives=jnp.where(beyond, record.objective, record.objectives),
            result=result,
            log_prior=log_prior,
        )

    def pinned(self, frozen: Frozen | None, at: GaussianMixture | None) -> "Solution":
        """With what is frozen bit for bit that of `at`: about the pivot, means were
        rounded."""
        if frozen is None or at is None:
            return self
        exact = frozen.pin(self.mixture, at)
        return eqx.tree_at(lambda s: s.mixture, self, exact)

    @property
    def objective(self) -> Float[Array, "..."]:
        """What the fit maximises: the log-likelihood plus the log-prior."""
        if self.log_prior is None:
            return self.log_likelihood
        return self.log_likelihood + self.log_prior

    @property
    def log_likelihoods(self) -> Float[Array, "... history"]:
        """The same as `objectives`.

        **Raises:**

        `ValueError` with a prior, where only the sums with log-priors are kept.
        """
        if self.log_prior is not None:
            raise ValueError(
                "A fit with a prior maximises the log-likelihood plus the log-prior: "
                "see `objectives`."
            )
        return self.objectives

    @property
    def converged(self) -> Bool[Array, "..."]:
        """Whether `result` is `successful` or `singular`; of every fit if there are
        many."""
        return is_any(self.result, RESULTS.successful, RESULTS.singular)

    @property
    def status(self) -> str | Shaped[np.ndarray, "..."]:
        """The name of `result`, such as `"successful"`; of many fits, an array of
        names.

        **Raises:**

        `ValueError` inside `jit` or `vmap`, where it is not known yet.
        """
        if inputs.concrete(jax.tree.leaves(self.result)[0]) is None:
            raise ValueError(
                "`status` is a name, which is known once the program has run. Inside "
                "`jit` or `vmap` compare `result` with items of `gmmx_eqx.RESULTS`."
            )
        names = statuses(self)
        return names if names.ndim else str(names)

    def __len__(self) -> int:
        """How many fits there are, along the first axis."""
        shape = self.log_likelihood.shape
        if not shape:
            raise TypeError("A single solution has no length: see `n_steps`.")
        return shape[0]

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: Any) -> "Solution":
        """The solution of one of many fits, or those of a slice, of an array of indices
        or of a mask."""
        n_fits = len(self)
        if not isinstance(index, int | np.integer) or isinstance(index, bool):
            return jax.tree.map(lambda leaf: leaf[index], self)
        if not -n_fits <= index < n_fits:
            raise IndexError(f"Solution {index} of {n_fits}.")
        return take(self, index)

    def __iter__(self) -> Iterator["Solution"]:
        return (self[index] for index in range(len(self)))


@no_error
def _table_of(solution: Solution) -> Table | None:
    """How the fit ended, or how many of many in which way, and the mixture."""
    mixture = table_of(solution.mixture)
    value, mean = solution.log_likelihood, solution.mean_log_likelihood
    if mixture is None or not has_numbers((value, mean, solution.result)):
        return None
    if value.ndim:
        first, *rest = (summary.of_fits(statuses(solution)),)
    else:
        first, *rest = summary.of_fit(
            str(statuses(solution)),
            solution.n_steps,
            value,
            mean,
            solution.log_prior,
        )
    return mixture._replace(title=(f"Solution: {first}", *rest, *mixture.title))


def statuses(solution: Solution) -> Shaped[np.ndarray, "..."]:
    """The name of the result, or of each."""
    return np.asarray(np.take(STATUSES, number(solution.result)))


def take(solutions: Solution, index: Any) -> Solution:
    """One of many solutions, along the first axis."""
    if isinstance(index, int) and all(map(is_on_host, jax.tree.leaves(solutions))):
        own = lambda leaf: put_like(np.asarray(np.asarray(leaf)[index]), leaf)
        return jax.tree.map(own, solutions)
    return _take(solutions, jnp.asarray(index))


# Compiled: ten times faster than array by array.
@program()
def _take(solutions: Solution, index: Count) -> Solution:
    return jax.tree.map(lambda leaf: leaf[index], solutions)


def best_lane(solutions: Solution, n_lanes: Count | None = None) -> Int[Array, ""]:
    """The lane of the highest objective, along the first axis.

    A lane that converged or ran out of steps has a valid mixture and comes before one
    that failed otherwise, which comes before one that met a NaN. Of lanes that differ
    by rounding alone it is the first.

    **Arguments:**

    - `n_lanes`: how many of the lanes, the first ones, count; all if not given.
    """
    result = solutions.result
    right = (
        RESULTS.successful,
        RESULTS.singular,
        RESULTS.max_steps_reached,
        RESULTS.passes_taken,
    )
    valid = is_any(result, *right)
    rank = jnp.where(valid, 2, jnp.where(result == RESULTS.nonfinite, 0, 1))
    if n_lanes is not None:
        rank = jnp.where(jnp.arange(rank.size) < n_lanes, rank, -1)
    return _highest(rank, solutions.objective, jnp)


def best_lane_numpy(solutions: Solution) -> int:
    """The same on the host, where no program may be compiled."""
    names = statuses(solutions)
    right = ("successful", "singular", "max_steps_reached", "passes_taken")
    valid = np.isin(names, right)
    rank = np.where(valid, 2, np.where(names == "nonfinite", 0, 1))
    with np.errstate(invalid="ignore"):
        return int(_highest(rank, np.asarray(solutions.objective), np))


def _highest(rank: Any, values: Any, xp: Any) -> Any:
    value = xp.where(rank == xp.max(rank), values, -xp.inf)
    value = xp.where(xp.isnan(value), -xp.inf, value)
    highest = xp.max(value)
    rounding = 64 * xp.finfo(values.dtype).eps * xp.abs(highest)
    return xp.argmax(value >= highest - rounding)


@program()
def take_best(solutions: Solution, n_lanes: Count | None = None) -> Solution:
    """The best lane of solutions with a leading axis; see `best_lane`."""
    return take(solutions, best_lane(solutions, n_lanes))


def ending(
    state: AbstractEMState,
    source: AbstractFacts,
    weight: Weighting,
    n_components: Count,
    is_resolved: Flag,
) -> RESULTS:
    """How a fit to weighted samples ended: whatever its solver says, it cannot be
    right if there are too few of them, or if it is not resolved."""
    result = state.record.result
    valid = is_any(result, RESULTS.successful, RESULTS.max_steps_reached)
    unresolved = valid & ~is_resolved
    result = RESULTS.where(unresolved, RESULTS.component_unresolved, result)
    if weight is None or weight.ndim == 0:
        # Their number was known before, and was looked at.
        return result
    # A NaN in the data is worse.
    finite = jnp.isfinite(jnp.sum(source.variances))
    few = finite & (jnp.sum(weight > 0) < n_components)
    return RESULTS.where(few, RESULTS.too_few_samples, result)


def or_singular(result: RESULTS, is_singular: Flag) -> RESULTS:
    """`singular`, if a fit was successful and a covariance is."""
    right = is_singular & is_any(result, RESULTS.successful)
    return RESULTS.where(right, RESULTS.singular, result)


def in_unit(solution: Solution, unit: Unit) -> Solution:
    """With log-likelihoods in the unit that `inputs.balance` took out."""
    own = lambda s: (s.log_likelihood, s.objectives)
    values = tuple(unbalance(value, unit) for value in own(solution))
    return eqx.tree_at(own, solution, values)


def with_components(solution: Solution, n_components: int) -> Solution:
    """A solution, or many, with the first components alone."""
    mixture = padding.unpad(solution.mixture, n_components)
    if mixture is solution.mixture:
        return solution
    return eqx.tree_at(lambda s: s.mixture, solution, mixture)


def log_prior_of(step: MStep, mixture: GaussianMixture) -> Scalar | None:
    """The log-prior of a mixture about the source's pivot, if there is a prior."""
    if step.prior is None:
        return None
    return step.log_prior(mixture, mixture.covariances.whitening(mixture.n_features))


def without(objective: Scalar, log_prior: Scalar | None) -> Scalar:
    """The log-likelihood alone."""
    if log_prior is None:
        return objective
    # Where it is -inf, before the first step, it stays so.
    return objective - jax.lax.stop_gradient(log_prior)


def moved(mixture: GaussianMixture, by: PerFeature) -> GaussianMixture:
    return eqx.tree_at(lambda m: m.means, mixture, mixture.means + by)
