"""A mixture as numbers without constraints and units, that can be extrapolated."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means, Values, Weights
from .._core.axes import Axis
from .._core.cholesky import inverse_cholesky
from .._mixture import GaussianMixture


class Chart(eqx.Module):
    """Coordinates of a mixture. Those of two mixtures can be added if they were taken
    with the same `scale`.

    **Attributes:**

    - `logits`: the logarithms of the weights; zero where a weight is.
    - `means`: in units of the scale.
    - `shape`: the logarithms of variances, or triangular factors of the precisions,
        with logarithms on the diagonal, in units of the scale.
    """

    logits: Weights
    means: Means
    shape: Values

    @classmethod
    def of(cls, mixture: GaussianMixture, scale: Float[Array, "1 _ _ 1"]) -> "Chart":
        active = mixture.weights > 0
        logits = jnp.log(jnp.where(active, mixture.weights, 1))
        values = mixture.covariances.values
        if _is_square(values):
            scale_covar = jnp.swapaxes(scale, Axis.features, Axis.features_covar)
            shape = _log_diagonal(inverse_cholesky(values / (scale * scale_covar)))
        else:
            shape = jnp.log(values)
        return cls(logits, mixture.means / scale, shape)

    def mixture(
        self, like: GaussianMixture, scale: Float[Array, "1 _ _ 1"]
    ) -> GaussianMixture:
        """The mixture with these coordinates. Weights of zero are those of `like`."""
        active = like.weights > 0
        top = jnp.max(jnp.where(active, self.logits, -jnp.inf))
        weights = jnp.where(active, jnp.exp(self.logits - top), 0)
        if _is_square(self.shape):
            scale_covar = jnp.swapaxes(scale, Axis.features, Axis.features_covar)
            u = _exp_diagonal(self.shape)
            inverse = inverse_cholesky(linalg.matmul(u, jnp.swapaxes(u, -1, -2)))
            values = linalg.matmul(inverse, jnp.swapaxes(inverse, -1, -2))
            values = linalg.symmetrise(values) * (scale * scale_covar)
        else:
            values = jnp.exp(self.shape)
        return GaussianMixture(
            weights=weights / jnp.sum(weights),
            means=self.means * scale,
            covariances=eqx.tree_at(lambda c: c.values, like.covariances, values),
        )


def _is_square(values: Values) -> bool:
    rows, columns = values.shape[Axis.features], values.shape[Axis.features_covar]
    if columns not in (1, rows):
        raise ValueError(
            "This solver needs covariances that are square matrices or variances; got "
            f"values of shape {values.shape}. Use `gx.EM`."
        )
    return columns > 1


def _log_diagonal(u: Values) -> Values:
    return linalg.map_diagonal(jnp.log, u)


def _exp_diagonal(shape: Values) -> Values:
    return linalg.map_diagonal(jnp.exp, shape)
