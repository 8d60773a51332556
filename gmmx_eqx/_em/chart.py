"""A mixture as numbers without constraints and units, that can be extrapolated."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.aliases import Means, Weights
from .._covariances import as_member, at_coordinates, coordinates_of
from .._mixture import GaussianMixture


class Chart(eqx.Module):
    """Coordinates of a mixture. Those of two mixtures can be added if they were taken
    with the same `scale`.

    **Attributes:**

    - `logits`: the logarithms of the weights; zero where a weight is.
    - `means`: in units of the scale.
    - `shape`: those of the covariances, in units of the scale.
    """

    logits: Weights
    means: Means
    shape: PyTree[Float[Array, "1 _ _ _"]]

    @classmethod
    def of(cls, mixture: GaussianMixture, scale: Float[Array, "1 _ _ 1"]) -> "Chart":
        active = mixture.weights > 0
        logits = jnp.log(jnp.where(active, mixture.weights, 1))
        shape = coordinates_of(mixture.covariances, scale)
        return cls(logits, mixture.means / scale, shape)

    def mixture(
        self, like: GaussianMixture, scale: Float[Array, "1 _ _ 1"]
    ) -> GaussianMixture:
        """The mixture with these coordinates. Weights of zero are those of `like`."""
        active = like.weights > 0
        logits = jax.lax.stop_gradient(self.logits)
        top = jnp.max(jnp.where(active, logits, -jnp.inf))
        weights = jnp.where(active, jnp.exp(self.logits - top), 0)
        # A background's share stays as it is.
        weights = weights * (jnp.sum(like.weights) / jnp.sum(weights))
        covariances = at_coordinates(like.covariances, self.shape, scale)
        return GaussianMixture(
            weights=weights,
            means=self.means * scale,
            covariances=as_member(covariances, weights),
        )
