from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import inputs
from .._core.aliases import Flag
from .._core.results import is_any, RESULTS
from .solution import Solution, take


_Result = TypeVar("_Result")


class FitError(RuntimeError):
    """The error of a fit that did not converge; its message says why, and what to do.

    **Attributes:**

    - `solution`: the [`gmmx_eqx.Solution`][] that did not converge; of a variational
        fit, the [`gmmx_eqx.Posterior`][].
    """

    # By this name users import it, and tracebacks show it.
    __module__ = "gmmx_eqx"

    def __init__(self, message: str, solution: eqx.Module):
        RuntimeError.__init__(self, message)
        self.solution: Any = solution

    # Otherwise it is pickled by its message alone, from which it cannot be made again.
    def __reduce__(self) -> tuple[Any, ...]:
        return FitError, (str(self), self.solution)


def raise_unless_successful(result: _Result, solution: Any, where: str = "") -> _Result:
    """`result`, or an error that says why `solution` is none; while tracing, the
    program raises when it runs.

    **Arguments:**

    - `where`: which of many fits it is, for the message.
    """
    # Who asks for passes alone gets what was asked for.
    right = (RESULTS.successful, RESULTS.singular, RESULTS.passes_taken)
    failed = ~is_any(solution.result, *right)
    if not _is_known(failed):
        return solution.result.error_if(result, failed)
    if not failed:
        return result
    cause, remedy = RESULTS[solution.result].split(". ", 1)
    # What would be differentiated cannot be kept, nor pickled.
    solution = jax.lax.stop_gradient(solution)
    raise FitError(f"{where}{cause}.\n{remedy}", solution)


def raise_unless_all_successful(solutions: Solution) -> Solution:
    """As `raise_unless_successful`, of the first of many data sets that failed."""
    index = jnp.argmin(solutions.converged)
    known = inputs.concrete(index)
    where = "" if known is None else f"Data set {known}: "
    return raise_unless_successful(solutions, take(solutions, index), where)


def _is_known(flag: Flag) -> bool:
    # Of a tracer, too, where only derivatives are traced.
    try:
        bool(flag)
    except jax.errors.TracerBoolConversionError:
        return False
    return True
