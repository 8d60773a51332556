import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from .._core import linalg
from .._core.aliases import Means, PerComponentFlag, Scalar, Weights
from .._core.axes import Axis
from .._covariances import AbstractCovariances, AbstractWhitening
from .pseudo_samples import PseudoSamples


class LogPrior(eqx.Module):
    """A prior as steps of EM need it: of one family, about the source's pivot.

    **Attributes:**

    - `concentration`: of the Dirichlet distribution of the weights, or `None`.
    - `components`: what the prior adds to the moments, or `None`.
    - `drop_below`: components of fewer samples get a weight of zero; or `None`.
    """

    concentration: Scalar | None
    components: PseudoSamples | None
    drop_below: Scalar | None

    def weights(self, count: Weights, active: PerComponentFlag) -> Weights:
        """The most probable weights.

        **Arguments:**

        - `count`: how many samples each component has.
        - `active`: which components there are.
        """
        # Computed once, to be equal to the largest one where it is that.
        count = jax.lax.optimization_barrier(count)
        kept, pseudo = active, count
        largest = jnp.max(count, axis=Axis.components, keepdims=True)
        if self.concentration is not None:
            pseudo = count + (self.concentration - 1)
            kept = kept & ((pseudo >= 0) | (count == largest))
        if self.drop_below is not None:
            kept = kept & ((count >= self.drop_below) | (count == largest))
        pseudo = jnp.where(kept, pseudo, 0)
        weights = pseudo / jnp.sum(pseudo, axis=Axis.components, keepdims=True)
        if self.components is None:
            return weights
        # A component whose samples are so few that their number is zero is still one,
        # and has the mean and the covariance that are the most probable without any.
        least = 4 * float(jnp.finfo(weights.dtype).tiny)
        return jnp.where(kept, jnp.maximum(weights, least), 0)

    def log_prob(
        self,
        weights: Weights,
        means: Means,
        covariances: AbstractCovariances,
        whitening: AbstractWhitening,
    ) -> Scalar:
        """The log-density of the parameters of a mixture, in nats.

        **Arguments:**

        - `means`: about the source's pivot.
        - `whitening`: the factorised covariances.
        """
        active = weights > 0
        total = jnp.zeros((), means.dtype)
        if self.concentration is not None:
            alpha = self.concentration
            number = jnp.sum(active).astype(means.dtype)
            logs = jnp.where(active, linalg.safe_log(weights), 0)
            total = total + gammaln(number * alpha) - number * gammaln(alpha)
            total = total + (alpha - 1) * jnp.sum(logs)
        if self.components is None:
            return total
        return total + self.components.log_prob(means, covariances, whitening, active)
