from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._core import inputs
from ..._core.aliases import Count, Scalar
from ..._core.results import RESULTS
from ..._em import AbstractEM, EMState, Record, Step
from ..._em.solver import as_max_steps, as_tol, settles
from ..._mixture import GaussianMixture


class CountedEM(AbstractEM):
    """Plain EM, ended by scikit-learn's rule.

    `EM` returns the mixture whose likelihood has settled. Here the step that finds out
    is taken too, so that the log-likelihoods of the state are of the mixtures before
    each step, and the same steps are taken as there.

    A component that loses all samples keeps a weight of zero, and the fit goes on.

    **Attributes:**

    - `tol`: in nats per sample. With zero, all `max_steps` are taken.
    - `max_steps`: with zero, the start is evaluated and returned.
    - `previous`: the mean log-likelihood that the first one is compared with.
    """

    tol: Scalar
    max_steps: Count
    previous: Scalar
    history_size: int = eqx.field(static=True)

    def __init__(self, tol: Any, max_steps: Any, previous: Any):
        self.tol = as_tol(tol)
        self.max_steps, self.history_size = as_max_steps(max_steps)
        self.previous = inputs.as_float(previous, "previous")

    def init(self, mixture: GaussianMixture) -> EMState:
        return EMState(Record.blank(self.history_size, mixture.means.dtype))

    def step(
        self, fn: Step, mixture: GaussianMixture, state: EMState
    ) -> tuple[GaussianMixture, EMState]:
        record = state.record
        new, info = fn(mixture)
        value = info.log_likelihood
        first = self.previous.astype(value.dtype) * info.total_weight
        previous = jnp.where(record.n_steps == 0, first, record.objective)
        settled, noise = settles(
            self.tol, record.noise, value, previous, info.total_weight
        )
        idle = self.max_steps == 0
        # If another component is singular at the same time, the next step says so.
        lost = jnp.any((mixture.weights > 0) & (new.weights == 0))
        collapsed = info.collapsed & ~lost
        nonfinite = ~jnp.isfinite(value)
        failed = nonfinite | (collapsed & ~idle)

        result = RESULTS.where(
            settled & ~idle, RESULTS.successful, RESULTS.max_steps_reached
        )
        result = RESULTS.where(collapsed & ~idle, RESULTS.component_collapsed, result)
        result = RESULTS.where(nonfinite, RESULTS.nonfinite, result)
        stays = failed | idle
        kept = jax.tree.map(lambda old, new: jnp.where(stays, old, new), mixture, new)
        record = record.after(value, stays, result, noise)
        stop = stays | settled | (record.n_steps >= self.max_steps)
        return kept, EMState(eqx.tree_at(lambda r: r.stop, record, stop))
