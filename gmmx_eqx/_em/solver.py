from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float, PyTree

from .._core import inputs
from .._core.aliases import Count, Flag, Scalar
from .._core.results import RESULTS
from .._mixture import GaussianMixture
from .step import StepInfo


# How many steps a history holds if `max_steps` is not known while tracing.
_HISTORY_SIZE = 512


class EMState(eqx.Module):
    """The state of [`gmmx_eqx.EM`][].

    **Attributes:**

    - `log_likelihoods`: after 0, 1, 2, … steps, summed over samples; NaN beyond.
    - `n_steps`: how many steps were taken.
    - `n_residual_steps`: how many of the M-steps needed the residual kernel.
    - `log_likelihood`: of the current mixture.
    - `stop`: whether to stop, and if so, `result` says why.
    """

    log_likelihoods: Float[Array, " history"]
    n_steps: Count
    n_residual_steps: Count
    log_likelihood: Scalar
    stop: Flag
    result: RESULTS


class EM(optx.AbstractFixedPointSolver):
    """Plain expectation-maximisation, as an Optimistix fixed-point solver.

    Stops when the mean log-likelihood per sample changes by less than `tol` nats (or by
    less than rounding does), or after `max_steps`. The iterated function gives a
    mixture and a [`gmmx_eqx.StepInfo`][], as [`gmmx_eqx.EMStep`][] does.

    **Attributes:**

    - `tol`: in nats per sample; with zero, all `max_steps` are taken.
    - `max_steps`: zero evaluates the start.
    """

    tol: Scalar
    max_steps: Count
    history_size: int = eqx.field(static=True)

    def __init__(self, tol: Any = 1e-5, max_steps: Any = 500):
        """**Arguments:**

        - `tol`: in nats per sample; a number or a scalar array.
        - `max_steps`: an integer or a scalar integer array.

        Both become arrays, so that a sweep over them is one program.

        **Raises:**

        `ValueError` if one is negative or not finite.
        """
        self.tol = inputs.as_nonnegative(tol, "tol")
        self.max_steps, self.history_size = _as_max_steps(max_steps)

    # The protocol asks for these; EM compares likelihoods instead of parameters.
    @property
    def rtol(self) -> Scalar:
        return self.tol

    @property
    def atol(self) -> Scalar:
        return self.tol

    @property
    def norm(self) -> Callable[[PyTree], Scalar]:  # pyright: ignore[reportIncompatibleMethodOverride]  # a field of the base
        return optx.max_norm

    def init(
        self,
        fn: Callable,
        y: GaussianMixture,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> EMState:
        del fn, options, f_struct, aux_struct, tags, args
        nan = jnp.full((), jnp.nan, y.means.dtype)
        return EMState(
            log_likelihoods=jnp.full((self.history_size,), nan),
            n_steps=jnp.array(0),
            n_residual_steps=jnp.array(0),
            log_likelihood=nan,
            stop=jnp.array(False),
            # What remains if the start itself is not finite, and no step is taken.
            result=RESULTS.nonfinite,
        )

    def step(
        self,
        fn: Callable,
        y: GaussianMixture,
        args: PyTree,
        options: dict[str, Any],
        state: EMState,
        tags: frozenset[object],
    ) -> tuple[GaussianMixture, EMState, StepInfo]:
        del options, tags
        new, info = fn(y, args)
        stop, result = self._judge(state, info)
        # The mixture that is returned is the one whose likelihood is known.
        y = jax.tree.map(lambda old, new: jnp.where(stop, old, new), y, new)
        history = state.log_likelihoods.at[state.n_steps]
        state = EMState(
            log_likelihoods=history.set(info.log_likelihood, mode="drop"),
            n_steps=state.n_steps + _as_count(~stop),
            n_residual_steps=state.n_residual_steps + _as_count(info.residual & ~stop),
            log_likelihood=info.log_likelihood,
            stop=stop,
            result=result,
        )
        return y, state, info

    def _judge(self, state: EMState, info: StepInfo) -> tuple[Flag, RESULTS]:
        value = info.log_likelihood
        # NaN before the first step, which is then not settled.
        change = jnp.abs(value - state.log_likelihood)
        rounding = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
        tol = self.tol.astype(value.dtype) * info.total_weight
        # Without a tolerance all steps are taken.
        settled = (tol > 0) & (change <= jnp.maximum(tol, rounding))
        exhausted = state.n_steps >= self.max_steps
        nonfinite = ~jnp.isfinite(value)

        result = RESULTS.where(settled, RESULTS.successful, RESULTS.max_steps_reached)
        # Where no further step is taken, it does not matter how that would have ended.
        collapsed = info.collapsed & ~exhausted
        result = RESULTS.where(collapsed, RESULTS.component_collapsed, result)
        result = RESULTS.where(nonfinite, RESULTS.nonfinite, result)
        return settled | exhausted | collapsed | nonfinite, result

    def terminate(
        self,
        fn: Callable,
        y: GaussianMixture,
        args: PyTree,
        options: dict[str, Any],
        state: EMState,
        tags: frozenset[object],
    ) -> tuple[Flag, optx.RESULTS]:
        del fn, y, args, options, tags
        return state.stop, optx.RESULTS.successful

    def postprocess(
        self,
        fn: Callable,
        y: GaussianMixture,
        aux: StepInfo,
        args: PyTree,
        options: dict[str, Any],
        state: EMState,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[GaussianMixture, StepInfo, dict[str, Any]]:
        del fn, args, options, state, tags, result
        return y, aux, {}


def _as_count(flag: Flag) -> Count:
    return flag.astype(int)


def _as_max_steps(max_steps: Any) -> tuple[Count, int]:
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
        size *= 8
    return jnp.asarray(number, dtype=int), size
