import equinox as eqx
from jaxtyping import Array, Bool, Float

from .._core.aliases import Count, PerFeature, Scalar
from .._core.pickling import Pickled
from .._core.results import RESULTS
from .._core.weights import unbalance, Unit
from .._em import AbstractEMState
from .._mixture import GaussianMixture
from .._sources import AbstractSource


class Solution(Pickled, eqx.Module):
    """What a fit returns.

    **Attributes:**

    - `mixture`: the fitted mixture.
    - `log_likelihood`: of the mixture, in nats, summed over samples with their weights.
    - `mean_log_likelihood`: the same per unit of sample weight.
    - `n_steps`: how many steps of EM led to the mixture.
    - `log_likelihoods`: after 0, 1, …, `n_steps` steps; NaN beyond.
    - `n_residual_steps`: how many of the steps needed the residual kernel.
    - `result`: how the fit ended, a [`gmmx_eqx.RESULTS`][].

    Of these `mixture`, `log_likelihood` and `mean_log_likelihood` have derivatives.
    """

    mixture: GaussianMixture
    log_likelihood: Scalar
    mean_log_likelihood: Scalar
    n_steps: Count
    log_likelihoods: Float[Array, " history"]
    n_residual_steps: Count
    result: RESULTS

    @classmethod
    def from_state(
        cls, mixture: GaussianMixture, state: AbstractEMState, source: AbstractSource
    ) -> "Solution":
        """From the end of a solver's loop, whose mixture is about the pivot."""
        return cls(
            mixture=moved(mixture, source.pivot),
            log_likelihood=state.log_likelihood,
            mean_log_likelihood=state.log_likelihood / source.total,
            n_steps=state.n_steps,
            log_likelihoods=state.log_likelihoods,
            n_residual_steps=state.n_residual_steps,
            result=state.result,
        )

    @property
    def converged(self) -> Bool[Array, "..."]:
        """Whether `result` is `successful`; of every lane if there are many."""
        return self.result == RESULTS.successful


def in_unit(solution: Solution, unit: Unit) -> Solution:
    """With log-likelihoods in the unit that `inputs.balance` took out."""
    own = lambda s: (s.log_likelihood, s.log_likelihoods)
    values = tuple(unbalance(value, unit) for value in own(solution))
    return eqx.tree_at(own, solution, values)


def moved(mixture: GaussianMixture, by: PerFeature) -> GaussianMixture:
    return eqx.tree_at(lambda m: m.means, mixture, mixture.means + by)
