from typing import Any

import jax

from .._core.aliases import Flag
from .._core.results import RESULTS
from .solution import Solution


class FitError(RuntimeError):
    """The error of a fit that did not converge; its message says why, and what to do.

    **Attributes:**

    - `solution`: the [`gmmx_eqx.Solution`][] that `throw=False` returns.
    """

    # By this name users import it, and tracebacks show it.
    __module__ = "gmmx_eqx"

    def __init__(self, message: str, solution: Solution):
        RuntimeError.__init__(self, message)
        self.solution = solution

    # Otherwise it is pickled by its message alone, from which it cannot be made again.
    def __reduce__(self) -> tuple[Any, ...]:
        return FitError, (str(self), self.solution)


def raise_unless_successful(solution: Solution) -> Solution:
    """The solution, or an error that says why there is none; while tracing, the program
    raises when it runs."""
    failed = solution.result != RESULTS.successful
    if not _is_known(failed):
        return solution.result.error_if(solution, failed)
    if not failed:
        return solution
    cause, remedy = RESULTS[solution.result].split(". ", 1)
    # What would be differentiated cannot be kept, nor pickled.
    raise FitError(f"{cause}.\n{remedy}", jax.lax.stop_gradient(solution))


def _is_known(flag: Flag) -> bool:
    # Of a tracer, too, where only derivatives are traced.
    try:
        bool(flag)
    except jax.errors.TracerBoolConversionError:
        return False
    return True
