import equinox as eqx
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
        more = count
        if self.concentration is not None:
            more = jnp.maximum(count + (self.concentration - 1), 0)
        if self.drop_below is not None:
            largest = jnp.max(count, axis=Axis.components, keepdims=True)
            kept = (count >= self.drop_below) | (count == largest)
            more = jnp.where(kept, more, 0)
        more = jnp.where(active, more, 0)
        return more / jnp.sum(more, axis=Axis.components, keepdims=True)

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
