"""Solvers of EM as fixed-point solvers of Optimistix."""

from collections.abc import Callable
from typing import Any

from jaxtyping import PyTree

from .._core.aliases import Flag, Scalar
from .._core.describe import check_instance
from .._em import AbstractEM, AbstractEMState, StepInfo
from .._mixture import GaussianMixture


try:
    import optimistix as optx
except ImportError as _error:
    raise ImportError(
        "This needs Optimistix, which is an optional extra: "
        '`pip install "gmmx_eqx[optimistix]"`.'
    ) from _error


class FixedPointEM(
    optx.AbstractFixedPointSolver[GaussianMixture, StepInfo, AbstractEMState]
):
    """Solver of EM for `optimistix.fixed_point`.

    The function is a step of EM, `(mixture, args) -> (mixture, StepInfo)`, to be called
    with `has_aux=True`. The final state is the solver's own.

    **Attributes:**

    - `solver`: a [`gmmx_eqx.extend.AbstractEM`][].
    """

    solver: AbstractEM

    # The protocol asks for these three; the solver compares likelihoods.
    @property
    def rtol(self) -> Scalar:  # pyright: ignore[reportIncompatibleVariableOverride]  # a field of the base
        return self.solver.tol

    @property
    def atol(self) -> Scalar:  # pyright: ignore[reportIncompatibleVariableOverride]  # a field of the base
        return self.solver.tol

    @property
    def norm(self) -> Callable[[PyTree], Scalar]:  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]  # a field of the base
        return optx.max_norm

    def init(
        self,
        fn: Callable[..., Any],
        y: GaussianMixture,
        args: Any,
        options: dict[str, Any],
        f_struct: Any,
        aux_struct: Any,
        tags: frozenset[object],
    ) -> AbstractEMState:
        del fn, options, f_struct, aux_struct, tags, args
        return self.solver.init(y)

    def step(
        self,
        fn: Callable[..., Any],
        y: GaussianMixture,
        args: Any,
        options: dict[str, Any],
        state: AbstractEMState,
        tags: frozenset[object],
    ) -> tuple[GaussianMixture, AbstractEMState, StepInfo]:
        del options, tags
        found = []

        def step(mixture: GaussianMixture) -> tuple[GaussianMixture, StepInfo]:
            new, info = fn(mixture, args)
            found.append(info)
            return new, info

        y, state = self.solver.step(step, y, state)
        return y, state, found[-1]

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
        return state.record.stop, optx.RESULTS.successful

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


def as_optimistix(solver: AbstractEM) -> FixedPointEM:
    """A solver of EM as a fixed-point solver of Optimistix.

    **Raises:**

    `ValueError` if `solver` is not a [`gmmx_eqx.extend.AbstractEM`][].
    """
    check_instance(solver, AbstractEM, "solver", "EM()")
    return FixedPointEM(solver)  # pyright: ignore[reportCallIssue]  # what is abstract is a property
