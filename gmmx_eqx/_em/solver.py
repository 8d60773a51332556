"""What solvers of the fixed-point equation of EM have in common."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Count, Flag, Scalar
from .._core.describe import describe
from .._core.results import RESULTS
from .._mixture import GaussianMixture
from .noise import Noise
from .step import StepInfo


# How many steps a history holds if `max_steps` is not known while tracing.
_HISTORY_SIZE = 1024


class AbstractEMState(eqx.Module):
    """What a solver of EM ends with; the attributes are explained at `EMState`."""

    log_likelihoods: eqx.AbstractVar[Float[Array, " history"]]
    n_steps: eqx.AbstractVar[Count]
    log_likelihood: eqx.AbstractVar[Scalar]
    stop: eqx.AbstractVar[Flag]
    result: eqx.AbstractVar[RESULTS]
    noise: eqx.AbstractVar[Noise]


_STATE = sorted(AbstractEMState.__abstractvars__)


class AbstractEM(optx.AbstractFixedPointSolver[GaussianMixture, StepInfo, Any]):
    """A solver that compares likelihoods, where others compare parameters.

    **Attributes:**

    - `tol`: in nats per sample.
    - `max_steps`: how many steps to take at most.
    - `history_size`: how many log-likelihoods the state holds.
    """

    tol: eqx.AbstractVar[Scalar]
    max_steps: eqx.AbstractVar[Count]
    history_size: eqx.AbstractVar[int]

    # The protocol asks for these three.
    @property
    def rtol(self) -> Scalar:
        return self.tol

    @property
    def atol(self) -> Scalar:
        return self.tol

    @property
    def norm(self) -> Callable[[Any], Scalar]:  # pyright: ignore[reportIncompatibleMethodOverride]  # a field of the base
        return optx.max_norm

    def terminate(
        self,
        fn: Callable[..., Any],
        y: GaussianMixture,
        args: Any,
        options: dict[str, Any],
        state: AbstractEMState,
        tags: frozenset[object],
    ) -> tuple[Flag, optx.RESULTS]:
        del fn, y, args, options, tags
        return state.stop, optx.RESULTS.successful

    def postprocess(
        self,
        fn: Callable[..., Any],
        y: GaussianMixture,
        aux: StepInfo,
        args: Any,
        options: dict[str, Any],
        state: AbstractEMState,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[GaussianMixture, StepInfo, dict[str, Any]]:
        del fn, args, options, state, tags, result
        return y, aux, {}


def check_solver(solver: Any, fn: Callable[..., Any], y: GaussianMixture) -> None:
    """Raises a `ValueError` unless a fixed-point solver keeps the state that a fit ends
    with, as those that are not made for EM do not."""
    f_struct = aux_struct = None
    if not isinstance(solver, AbstractEM):
        f_struct, aux_struct = eqx.filter_eval_shape(fn, y, None)
    state = eqx.filter_eval_shape(
        lambda: solver.init(fn, y, None, {}, f_struct, aux_struct, frozenset())
    )
    missing = [name for name in _STATE if getattr(state, name, None) is None]
    if missing:
        raise ValueError(
            "`solver` must be a `gmmx_eqx.AbstractEM`, such as `gmmx_eqx.EM()`, or end "
            f"with a state like that of one; the state of {describe(solver)} has no "
            f"{', '.join(f'`{name}`' for name in missing)}."
        )


def blank(solver: AbstractEM, y: GaussianMixture) -> dict[str, Any]:
    """The attributes of a state before the first step."""
    # Not NaN, for which JAX can be told to raise wherever one appears.
    unknown = jnp.full((), -jnp.inf, y.means.dtype)
    return {
        "log_likelihoods": jnp.full((solver.history_size,), unknown),
        "n_steps": jnp.array(0),
        "log_likelihood": unknown,
        "stop": jnp.array(False),
        # What remains if the start itself is not finite, and no step is taken.
        "result": RESULTS.nonfinite,
        "noise": Noise.none(unknown),
    }


def record(
    state: AbstractEMState,
    info: StepInfo,
    value: Scalar,
    stop: Flag,
    result: RESULTS,
    noise: Noise,
) -> dict[str, Any]:
    """The attributes of the next state: `value` is the log-likelihood after
    `state.n_steps`, and unless `stop` the step that `info` is of is taken."""
    history = state.log_likelihoods.at[state.n_steps]
    return {
        "log_likelihoods": history.set(value, mode="drop"),
        "n_steps": state.n_steps + (~stop).astype(int),
        "log_likelihood": value,
        "stop": stop,
        "result": result,
        "noise": noise,
    }


def settles(
    tol: Scalar, noise: Noise, value: Scalar, previous: Scalar, total_weight: Scalar
) -> tuple[Flag, Noise]:
    """Whether the log-likelihood has settled, from `previous` to `value`."""
    # Infinite before the first step, which is then not settled.
    change = value - previous
    rounding = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
    tol = tol.astype(value.dtype) * total_weight
    least = jnp.maximum(tol, rounding)
    noise = noise.after(value, change, least)
    # Without a tolerance all steps are taken.
    return (tol > 0) & ((jnp.abs(change) <= least) | noise.is_all), noise


def judge(
    solver: AbstractEM, state: AbstractEMState, info: StepInfo
) -> tuple[Flag, RESULTS, Noise]:
    """Whether to stop before the step that `info` is of, and why."""
    value = info.log_likelihood
    settled, noise = settles(
        solver.tol, state.noise, value, state.log_likelihood, info.total_weight
    )
    exhausted = state.n_steps >= solver.max_steps
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
    return jnp.asarray(int(number), dtype=int), size
