"""Solvers of the fixed-point equation of EM, and what they have in common."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Count, Flag, Scalar
from .._core.known import constant
from .._core.results import RESULTS
from .._mixture import GaussianMixture
from .noise import Noise
from .step import StepInfo


Step: TypeAlias = Callable[[GaussianMixture], tuple[GaussianMixture, StepInfo]]

# How many steps a history holds if `max_steps` is not known while tracing.
_HISTORY_SIZE = 1024

# What a message says to those who look for scikit-learn's names.
HINTS = {
    "max_iter": "Use `max_steps`.",
    "reg_covar": "It is an argument of `gx.fit` and the other fits.",
}


class Record(eqx.Module):
    """What every solver of EM keeps in its state.

    **Attributes:**

    - `objectives`: after 0, 1, 2, … steps: log-likelihoods, summed over samples, plus
        log-priors where there is a prior; -inf beyond. Of size zero while one of many
        fits takes a step: those are then kept elsewhere.
    - `n_steps`: how many steps were taken.
    - `objective`: of the current mixture; -inf before the first step.
    - `stop`: whether to stop, and if so, `result` says why.
    - `result`: a [`gmmx_eqx.RESULTS`][].
    - `noise`: what is known of the rounding of objectives.
    """

    objectives: Float[Array, " history"]
    n_steps: Count
    objective: Scalar
    stop: Flag
    result: RESULTS
    noise: Noise

    @classmethod
    def blank(cls, history_size: int, dtype: Any) -> "Record":
        """That before the first step."""
        # Not NaN, for which JAX can be told to raise wherever one appears.
        unknown = jnp.full((), -jnp.inf, dtype)
        return cls(
            objectives=jnp.full((history_size,), unknown),
            n_steps=jnp.array(0),
            objective=unknown,
            stop=jnp.array(False),
            # What remains if the start itself is not finite, and no step is taken.
            result=RESULTS.nonfinite,
            noise=Noise.none(unknown),
        )

    def after(
        self, value: Scalar, stop: Flag, result: RESULTS, noise: Noise
    ) -> "Record":
        """That after a turn: `value` is the objective after `n_steps`, and unless
        `stop` one more step is taken."""
        objectives = self.objectives
        if objectives.size:
            objectives = objectives.at[self.n_steps].set(value, mode="drop")
        return Record(
            objectives=objectives,
            n_steps=self.n_steps + (~stop).astype(int),
            objective=value,
            stop=stop,
            result=result,
            noise=noise,
        )


class AbstractEMState(eqx.Module):
    """State of a solver of EM.

    **Attributes:**

    - `record`: a [`gmmx_eqx.extend.Record`][]. A fit ends when `record.stop` is true.
    """

    record: eqx.AbstractVar[Record]


class AbstractEM(eqx.Module):
    """Solver of the fixed-point equation of EM.

    A driver calls `init` once and `step` until the state's record says to stop.

    **Attributes:**

    - `tol`: in nats per sample.
    - `max_steps`: how many steps to take at most.
    """

    tol: eqx.AbstractVar[Scalar]
    max_steps: eqx.AbstractVar[Count]

    @abc.abstractmethod
    def init(self, mixture: GaussianMixture) -> AbstractEMState:
        """State before the first step from a mixture."""

    @abc.abstractmethod
    def step(
        self, fn: Step, mixture: GaussianMixture, state: Any
    ) -> tuple[GaussianMixture, Any]:
        """Next mixture and state. Must take one step of EM, a call of `fn`, and keep
        the mixture whose objective is known where it stops.

        **Arguments:**

        - `fn`: one step of EM: from a mixture to the next one and a
            [`gmmx_eqx.extend.StepInfo`][].
        - `state`: what `init` or `step` returned last.
        """


def settles(
    tol: Scalar, noise: Noise, value: Scalar, previous: Scalar, total_weight: Scalar
) -> tuple[Flag, Noise]:
    """Whether the objective has settled, from `previous` to `value`."""
    # Infinite before the first step, which is then not settled.
    change = value - previous
    rounding = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
    tol = tol.astype(value.dtype) * total_weight
    least = jnp.maximum(tol, rounding)
    noise = noise.after(value, change, least)
    # Without a tolerance all steps are taken.
    return (tol > 0) & ((jnp.abs(change) <= least) | noise.is_all), noise


def judge(
    solver: AbstractEM, record: Record, info: StepInfo
) -> tuple[Flag, RESULTS, Noise]:
    """Whether to stop before the step that `info` is of, and why."""
    value = info.objective
    settled, noise = settles(
        solver.tol, record.noise, value, record.objective, info.total_weight
    )
    exhausted = record.n_steps >= solver.max_steps
    nonfinite = ~jnp.isfinite(value)

    result = RESULTS.where(settled, RESULTS.successful, RESULTS.max_steps_reached)
    # Where no further step is taken, it does not matter how that would have ended.
    collapsed = info.collapsed & ~exhausted
    result = RESULTS.where(collapsed, RESULTS.component_collapsed, result)
    result = RESULTS.where(nonfinite, RESULTS.nonfinite, result)
    return settled | exhausted | collapsed | nonfinite, result, noise


def as_tol(tol: Any) -> Scalar:
    return inputs.as_nonnegative(tol, "tol")


def as_max_steps(max_steps: Any) -> tuple[Count, int]:
    """As an array, so that a sweep does not recompile, and the size of the history: one
    of few, since each is a program of its own."""
    number = inputs.concrete(max_steps)
    if number is None:
        return max_steps, _HISTORY_SIZE
    if number.ndim != 0 or number.dtype.kind not in "iu" or number < 0:
        raise ValueError(
            f"`max_steps` must be an integer of at least zero; got {max_steps!r}."
        )
    size = 64
    while size <= number:
        size *= 8 if size < 512 else 2
    return constant(number, int), size
