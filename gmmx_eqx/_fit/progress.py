"""How a compiled program tells a listener how far it is.

It cannot hold the object that listens: it would be compiled again for every one. It
calls one function of this module, with a number that says who.
"""

import abc
import itertools
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._core.aliases import Count, Scalar
from .._core.describe import describe


_Result = TypeVar("_Result")


class AbstractProgress(abc.ABC):
    """Listens to a fit, or many, while they run; see `progress` of [`gmmx_eqx.fit`][].

    A subclass may keep what it likes. Its methods are called by the program that fits,
    from another thread, and must not use JAX.
    """

    @abc.abstractmethod
    def begin(self, unit: str, total: int | None) -> None:
        """Before the first step.

        **Arguments:**

        - `unit`: what is counted: `"step"` of one fit, or `"fit"` of many.
        - `total`: how many there will be, if that is known.
        """

    @abc.abstractmethod
    def update(self, n_done: int, log_likelihood: float, change: float) -> None:
        """After a step.

        **Arguments:**

        - `n_done`: how many steps were taken, or how many fits have ended.
        - `log_likelihood`: in nats, after so many steps; of many fits, the best that
            has ended. NaN before there is one.
        - `change`: by how much it grew since the last call. NaN where there was nothing
            to compare with, as in the first call.
        """

    @abc.abstractmethod
    def end(self) -> None:
        """After the last step, or when the fit was interrupted."""


class AbstractBlockProgress(AbstractProgress):
    """Listens to a fit to [`gmmx_eqx.blocks`][], and is also told how far each pass
    over them is.

    Everything else is as in [`gmmx_eqx.extend.AbstractProgress`][].
    """

    @abc.abstractmethod
    def update_pass(self, n_read: int, n_samples: int, seconds: float) -> None:
        """After a block.

        **Arguments:**

        - `n_read`: how many samples this pass has read.
        - `n_samples`: how many it will read.
        - `seconds`: since it began. `n_read / seconds` is the rate, and `seconds *
            (n_samples - n_read) / n_read` the time left.
        """


class Bar(AbstractBlockProgress):
    """A bar in a terminal or a notebook, whichever it runs in. Needs tqdm."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "`progress=True` needs tqdm: `pip install 'gmmx_eqx[progress]'`. A "
                "`gx.extend.AbstractProgress` of your own does without it."
            ) from error
        self._make: Any = tqdm
        self._bar: Any = None
        self._numbers: dict[str, str] = {}
        self._pass: dict[str, str] = {}
        self._shown = 0.0

    def begin(self, unit: str, total: int | None) -> None:
        self._bar = self._make(total=total, unit=f" {unit}s", desc="EM")

    def update(self, n_done: int, log_likelihood: float, change: float) -> None:
        numbers = {}
        if not math.isnan(log_likelihood):
            numbers["log-likelihood"] = f"{log_likelihood:.6g}"
        if not math.isnan(change):
            numbers["change"] = f"{change:.1e}"
        self._numbers = numbers
        self._bar.set_postfix(numbers | self._pass, refresh=False)
        self._bar.update(n_done - self._bar.n)

    def update_pass(self, n_read: int, n_samples: int, seconds: float) -> None:
        rate = n_read / max(seconds, 1e-9)
        self._pass = {
            "pass": f"{n_read / n_samples:.0%}",
            "samples/s": f"{rate:.2g}",
            "left": f"{(n_samples - n_read) / rate:.0f} s",
        }
        # As often as tqdm itself redraws.
        now = time.monotonic()
        if now - self._shown >= self._bar.mininterval:
            self._shown = now
            self._bar.set_postfix(self._numbers | self._pass, refresh=True)

    def end(self) -> None:
        self._bar.close()


class Ticket(eqx.Module):
    """What a compiled program is given to report by.

    **Attributes:**

    - `number`: who listens.
    - `n_before`: how many fits ended in other programs before this one.
    """

    number: Count
    n_before: Count

    def after(self, n_before: int) -> "Ticket":
        return Ticket(self.number, jnp.asarray(n_before))

    def report(self, n_done: Count, log_likelihood: Scalar) -> None:
        args = (self.number, self.n_before + n_done, log_likelihood)
        # Not ordered: what is ordered cannot be mapped. The listener sorts it out.
        jax.debug.callback(_report, *args)


class _Session:
    """One listener during one fit, or many."""

    def __init__(self, progress: AbstractProgress, unit: str, total: int | None):
        self._progress = progress
        self._unit = unit
        self._total = total
        self._is_open = False

    def begin(self) -> None:
        if not self._is_open:
            self._is_open, self._n_done, self._value = True, -1, float("nan")
            self._progress.begin(self._unit, self._total)

    @property
    def listener(self) -> AbstractProgress:
        """Who listens."""
        return self._progress

    def report(self, n_done: int, value: float) -> None:
        self.begin()
        # Of a fit that begins, or begins again, nothing is known yet.
        value = value if np.isfinite(value) else float("nan")
        # Otherwise late, of a lane of a `vmap` that is behind, or no further fit ended.
        if n_done > self._n_done:
            # The best of many, also where programs follow each other.
            if self._unit == "fit":
                value = float(np.fmax(value, self._value))
            change = value - self._value
            self._n_done, self._value = n_done, value
            self._progress.update(n_done, value, change)

    def end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._progress.end()


_SESSIONS: dict[int, _Session] = {}
_NUMBERS = itertools.count()


def _report(number: Array, n_done: Array, value: Array) -> None:
    session = _SESSIONS.get(int(number))
    if session is not None:
        session.report(int(n_done), float(value))


def _end(number: Array, last: Array) -> None:
    del last
    _SESSIONS[int(number)].end()


def listener_of(ticket: Ticket | None) -> AbstractProgress | None:
    """Who listens to a fit whose loop is on the host."""
    session = None if ticket is None else _SESSIONS.get(int(ticket.number))
    return None if session is None else session.listener


def report_to(
    progress: AbstractProgress | bool,
    unit: str,
    total: int | None,
    run: Callable[[Ticket | None], _Result],
) -> _Result:
    """`run` of a ticket to report by, or of `None` if nobody listens."""
    listener = _as_listener(progress)
    if listener is None:
        return run(None)
    number = next(_NUMBERS)
    session = _SESSIONS[number] = _Session(listener, unit, total)
    # Inside `jit` computed by its program, whatever else is known.
    ticket = Ticket(jnp.full((), number), jnp.array(0))
    if isinstance(ticket.number, jax.core.Tracer):
        # The session stays: the program runs later, and may run again. It says when it
        # has ended, by something that is known only then.
        result = run(ticket)
        jax.debug.callback(_end, ticket.number, jax.tree.leaves(result)[0])
        return result
    try:
        session.begin()
        result = run(ticket)
        jax.effects_barrier()
    finally:
        session.end()
        del _SESSIONS[number]
    return result


def _as_listener(progress: Any) -> AbstractProgress | None:
    if isinstance(progress, bool):
        return Bar() if progress else None
    if not isinstance(progress, AbstractProgress):
        raise ValueError(
            "`progress` must be `True`, `False` or a `gx.extend.AbstractProgress`; got "
            f"{describe(progress)}."
        )
    return progress
