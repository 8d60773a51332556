import equinox as eqx
from jaxtyping import Array, Float

from .._core.aliases import Count, Flag, Scalar
from .._core.results import RESULTS
from .._mixture import GaussianMixture


class Solution(eqx.Module):
    """What a fit returns.

    **Attributes:**

    - `mixture`: the fitted mixture.
    - `log_likelihood`: of the mixture, in nats, summed over samples with their weights.
    - `mean_log_likelihood`: the same per unit of sample weight.
    - `n_steps`: how many steps of EM led to the mixture.
    - `log_likelihoods`: after 0, 1, …, `n_steps` steps; NaN beyond.
    - `n_residual_steps`: how many of the steps needed the residual kernel.
    - `result`: how the fit ended, a [`gmmx_eqx.RESULTS`][].
    """

    mixture: GaussianMixture
    log_likelihood: Scalar
    mean_log_likelihood: Scalar
    n_steps: Count
    log_likelihoods: Float[Array, " history"]
    n_residual_steps: Count
    result: RESULTS

    @property
    def converged(self) -> Flag:
        """Whether `result` is `successful`."""
        return self.result == RESULTS.successful
