"""Fits to samples of which parts are missing, noisy, or seen through a matrix; and
beside a background."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Count, Scalar
from .._core.programs import program
from .._core.results import RESULTS
from .._em import EMStep, Incomplete
from .._em.implicit import with_derivatives
from .._mixture import GaussianMixture
from .._priors import Ridge
from .._sources import check_coverage, check_features, Layout, Observed, Records
from .driver import drive, pinned
from .options import Options
from .progress import Ticket
from .solution import ending, moved, Solution


class Gathered(eqx.Module):
    """Checked data of a fit, and in which order it is read.

    **Attributes:**

    - `log_background`: the log-density of the background at every sample, in nats, or
        `None`.
    """

    observed: Observed
    layout: Layout
    log_background: Float[Array, " n"] | None

    @classmethod
    def of(
        cls,
        observed: Observed,
        n_features: int,
        n_components: int,
        background: Callable[..., Any] | None,
    ) -> "Gathered":
        check_features(observed, n_features)
        check_coverage(observed, n_features, n_components)
        layout = Layout.of(observed, n_components)
        row = None if background is None else background(observed.y)
        return cls(observed, layout, row)

    def records(self, n_features: int) -> Records:
        return Records.create(
            self.observed, self.layout, n_features, self.log_background
        )


@program(lambda mixture, gathered, *_: mixture.n_components * gathered.observed.y.size)
def fit_observed(
    mixture: GaussianMixture,
    gathered: Gathered,
    options: Options,
    n_active: Count,
    ticket: Ticket | None,
) -> Solution:
    """As `fit`, inside of a program."""
    mixture, gathered = inputs.common_dtype(mixture, gathered)
    mixture = options.as_start(mixture)
    source = gathered.records(mixture.n_features)
    step = EMStep(
        Incomplete(source),
        options.ridge.resolve(source.variances),
        options.frozen,
        options.equal_weights,
    )
    has_background = gathered.log_background is not None
    start = moved(mixture, -source.pivot)
    if has_background:
        k = mixture.n_components
        start = eqx.tree_at(lambda m: m.weights, start, start.weights * (k / (k + 1)))
    constant_step, constant_start = jax.lax.stop_gradient((step, start))
    end, state = drive(
        pinned(constant_step, constant_start), options.solver, constant_start, ticket
    )
    record = state.record
    settled = record.result == RESULTS.successful
    value, log_likelihood = with_derivatives(
        step, start, end, record.log_likelihood, settled
    )
    state = eqx.tree_at(lambda s: s.record.log_likelihood, state, log_likelihood)
    weight = source.blocks.weights.reshape(-1)
    result = ending(state, source, weight, n_active, options.is_resolved(end))
    solution = Solution.from_state(value, state, source, result)
    return solution.pinned(options.frozen, mixture)
