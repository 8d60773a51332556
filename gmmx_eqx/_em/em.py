import equinox as eqx
import jax
import jax.numpy as jnp

from .._core.aliases import Count, Scalar
from .._core.hints import hinted
from .._core.likes import AmountLike, CountLike
from .._mixture import GaussianMixture
from .solver import (
    AbstractEM,
    AbstractEMState,
    as_max_steps,
    as_tol,
    HINTS,
    judge,
    Record,
    Step,
)


class EMState(AbstractEMState):
    """State of [`gmmx_eqx.EM`][].

    **Attributes:**

    - `record`: a [`gmmx_eqx.extend.Record`][].
    """

    record: Record


class EM(AbstractEM):
    """Plain expectation-maximisation.

    Stops when the mean log-likelihood per sample changes by less than `tol` nats (or
    only up and down by turns, which is rounding), or after `max_steps`. With a prior
    its log-density counts, too.

    **Attributes:**

    - `tol`: in nats per sample; with zero, all `max_steps` are taken.
    - `max_steps`: zero evaluates the start.
    - `history_size`: how many log-likelihoods are kept.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
    solution = gx.fit(start, x, solver=gx.EM(tol=0.0, max_steps=3), throw=False)
    print(solution.status, int(solution.n_steps))
    ```

    ```text
    max_steps_reached 3
    ```
    """

    tol: Scalar
    max_steps: Count
    history_size: int = eqx.field(static=True)

    @hinted(HINTS)
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

    def init(self, mixture: GaussianMixture) -> EMState:
        return EMState(Record.blank(self.history_size, mixture.means.dtype))

    def step(
        self, fn: Step, mixture: GaussianMixture, state: EMState
    ) -> tuple[GaussianMixture, EMState]:
        new, info = fn(mixture)
        stop, result, noise = judge(self, state.record, info)
        # The mixture that is returned is the one whose objective is known.
        kept = jax.tree.map(lambda old, new: jnp.where(stop, old, new), mixture, new)
        record = state.record.after(info.objective, stop, result, noise)
        return kept, EMState(record)
