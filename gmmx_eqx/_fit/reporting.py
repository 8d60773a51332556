from collections.abc import Callable
from typing import Any

import optimistix as optx
from jaxtyping import PyTree

from .._core.aliases import Flag, Scalar
from .watch import Ticket


class Reporting(optx.AbstractFixedPointSolver):
    """A solver that reports every step of another."""

    inner: optx.AbstractFixedPointSolver
    ticket: Ticket

    def __init__(self, inner: optx.AbstractFixedPointSolver, ticket: Ticket):
        self.inner = inner
        self.ticket = ticket

    @property
    def rtol(self) -> Any:
        return self.inner.rtol

    @property
    def atol(self) -> Any:
        return self.inner.atol

    @property
    def norm(self) -> Callable[[PyTree], Scalar]:  # pyright: ignore[reportIncompatibleMethodOverride]  # a field of the base
        return self.inner.norm

    def init(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> PyTree:
        return self.inner.init(fn, y, args, options, f_struct, aux_struct, tags)

    def step(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: PyTree,
        tags: frozenset[object],
    ) -> tuple[PyTree, PyTree, PyTree]:
        # The state before the step has counted the steps that led to this likelihood.
        n_steps = state.n_steps
        y, state, info = self.inner.step(fn, y, args, options, state, tags)
        self.ticket.report(n_steps, state.log_likelihood)
        return y, state, info

    def terminate(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: PyTree,
        tags: frozenset[object],
    ) -> tuple[Flag, optx.RESULTS]:
        return self.inner.terminate(fn, y, args, options, state, tags)

    def postprocess(
        self,
        fn: Callable,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: PyTree,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree, PyTree, dict[str, Any]]:
        same = (fn, y, aux, args, options, state, tags, result)
        return self.inner.postprocess(*same)
