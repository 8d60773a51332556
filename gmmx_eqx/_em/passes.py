"""Solvers that learn from a part of the data at a time."""

import abc
from typing import Any, TYPE_CHECKING, TypeAlias

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, UInt32

from .._core import inputs
from .._core.aliases import Count
from .._core.describe import as_key
from .._mixture import GaussianMixture
from .._sources import AbstractSource
from .running import Running
from .step import MStep


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


# The numbers of a `jax.random` key.
Words: TypeAlias = UInt32[Array, " words"]


class AbstractPasses(eqx.Module):
    """Solver that takes some passes over the data, and learns from every part of it on
    the way: for data of which a pass costs more than an M-step.

    A driver calls `begin` once, `visit` with every part, in another order each pass,
    and `finish` after each pass. Mixtures are about the pivot of the sources.

    **Attributes:**

    - `passes`: how many.
    - `samples_per_update`: how many samples a part has; chosen by the data if `None`.
    - `key`: of the random order.
    - `keeps_parts`: whether a part must hold the same samples in every pass.
    """

    passes: eqx.AbstractVar[int]
    samples_per_update: eqx.AbstractVar[int | None]
    key: eqx.AbstractVar[Words]
    keeps_parts: AbstractClassVar[bool]

    @abc.abstractmethod
    def begin(self, mixture: GaussianMixture, n_parts: int) -> Any:
        """State before the first pass."""

    @abc.abstractmethod
    def visit(
        self, state: Any, number: Count, source: AbstractSource, m_step: MStep
    ) -> Any:
        """State after a part.

        **Arguments:**

        - `number`: which part it is.
        - `source`: its samples.
        - `m_step`: a [`gmmx_eqx.extend.MStep`][].
        """

    @abc.abstractmethod
    def finish(self, state: Any, m_step: MStep) -> Any:
        """State after a pass."""

    @abc.abstractmethod
    def running(self, state: Any) -> Running:
        """The mixture of a state, and how it fares."""

    @abc.abstractmethod
    def default_size(self, n_samples: int) -> int:
        """How many samples a part has if nothing is said."""


def as_passes(passes: Any, samples_per_update: Any) -> tuple[int, int | None]:
    passes = inputs.check_count(passes, "passes")
    if samples_per_update is not None:
        name = "samples_per_update"
        samples_per_update = inputs.check_count(samples_per_update, name)
    return passes, samples_per_update


def as_order(key: Any) -> Words:
    """The key of the order; always the same if not given."""
    return jr.key_data(jr.key(0) if key is None else as_key(key))
