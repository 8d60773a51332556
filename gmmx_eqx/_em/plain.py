from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.aliases import Count, Flag, Scalar
from .._core.likes import AmountLike, CountLike
from .._core.results import RESULTS
from .._mixture import GaussianMixture
from .noise import Noise
from .solver import (
    AbstractEM,
    AbstractEMState,
    as_max_steps,
    as_tol,
    blank,
    judge,
    record,
)
from .step import StepInfo


class EMState(AbstractEMState):
    """The state of [`gmmx_eqx.EM`][].

    **Attributes:**

    - `log_likelihoods`: after 0, 1, 2, … steps, summed over samples; -inf beyond.
    - `n_steps`: how many steps were taken.
    - `log_likelihood`: of the current mixture; -inf before the first step.
    - `stop`: whether to stop, and if so, `result` says why.
    - `noise`: what is known of the rounding of log-likelihoods.
    """

    log_likelihoods: Float[Array, " history"]
    n_steps: Count
    log_likelihood: Scalar
    stop: Flag
    result: RESULTS
    noise: Noise


class EM(AbstractEM):
    """Plain expectation-maximisation, as an Optimistix fixed-point solver.

    Stops when the mean log-likelihood per sample changes by less than `tol` nats (or
    only up and down by turns, which is rounding), or after `max_steps`. The iterated
    function gives a mixture and a [`gmmx_eqx.StepInfo`][], as [`gmmx_eqx.EMStep`][]
    does.

    **Attributes:**

    - `tol`: in nats per sample; with zero, all `max_steps` are taken.
    - `max_steps`: zero evaluates the start.
    """

    tol: Scalar
    max_steps: Count
    history_size: int = eqx.field(static=True)

    def __init__(self, tol: AmountLike = 1e-6, max_steps: CountLike = 1000):
        """**Arguments:**

        - `tol`: in nats per sample; a number or a scalar array.
        - `max_steps`: an integer or a scalar integer array.

        Both become arrays, so that a sweep over them is one program.

        **Raises:**

        `ValueError` if one is negative or not finite.
        """
        self.tol = as_tol(tol)
        self.max_steps, self.history_size = as_max_steps(max_steps)

    def init(
        self,
        fn: Callable[..., Any],
        y: GaussianMixture,
        args: Any,
        options: dict[str, Any],
        f_struct: Any,
        aux_struct: Any,
        tags: frozenset[object],
    ) -> EMState:
        del fn, options, f_struct, aux_struct, tags, args
        return EMState(**blank(self, y))

    def step(
        self,
        fn: Callable[..., Any],
        y: GaussianMixture,
        args: Any,
        options: dict[str, Any],
        state: EMState,
        tags: frozenset[object],
    ) -> tuple[GaussianMixture, EMState, StepInfo]:
        del options, tags
        new, info = fn(y, args)
        stop, result, noise = judge(self, state, info)
        # The mixture that is returned is the one whose likelihood is known.
        y = jax.tree.map(lambda old, new: jnp.where(stop, old, new), y, new)
        value = info.log_likelihood
        state = EMState(**record(state, info, value, stop, result, noise))
        return y, state, info
