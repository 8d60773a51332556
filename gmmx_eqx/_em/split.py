"""The E-step with packed features for most components and residuals for a few."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core import linalg
from .._core.aliases import Flag, Means, Pivot, Values
from .._core.axes import as_columns, Axis
from .._core.batching import rows_product
from .._mixture import GaussianMixture
from .._mixture.densities import log_density
from .._sources import AbstractSource, Chunk
from .guard import amplifications, is_accurate
from .packings import AbstractPacking, moments, parameters
from .residual import Expectation, responsibilities


# One component in so many is taken by residuals.
_ONE_IN = 8


def can_split(mixture: GaussianMixture) -> bool:
    """Whether there are enough components, each with a covariance of its own."""
    tied = Axis.components in mixture.covariances.shared_axes
    return not tied and mixture.n_components >= _ONE_IN


class Split(eqx.Module):
    """Which components are taken by residuals: those with the largest amplification.

    **Attributes:**

    - `worst`: their indices, shape `(worst,)`.
    - `rest`: those of all others, shape `(rest,)`.
    """

    worst: Int[Array, " worst"]
    rest: Int[Array, " rest"]

    @classmethod
    def of(cls, mixture: GaussianMixture, u: Values) -> "Split":
        """That of a mixture about the source's own pivot."""
        lost = amplifications(mixture, mixture.means, u)
        lost = jnp.where(mixture.weights > 0, lost, 0)[0, :, 0, 0]
        # NaN comes last in a sort, so it is among the worst.
        order = jnp.argsort(lost)
        n_rest = order.size - order.size // _ONE_IN
        return cls(worst=order[n_rest:], rest=order[:n_rest])

    def pivot(self, mixture: GaussianMixture) -> Pivot:
        """The means of the worst components, and the source's pivot for the rest."""
        means = mixture.means
        return jnp.zeros_like(means).at[:, self.worst].set(means[:, self.worst])

    def expect(
        self,
        mixture: GaussianMixture,
        source: AbstractSource,
        packing: AbstractPacking,
        u: Values,
    ) -> Expectation:
        """The E-step, with moments about `pivot`.

        **Arguments:** as for [`gmmx_eqx.expect_packed`][].
        """
        family = type(mixture.covariances)
        worst, n_rest = self.worst, self.rest.size
        theta = parameters(packing, mixture, u)[self.rest]
        means, log_weights = mixture.means[:, worst], mixture.log_weights[:, worst]
        worst_u = u[:, worst]

        def of_chunk(chunk: Chunk):
            samples = chunk.samples
            features = jax.lax.optimization_barrier(packing.features(chunk.columns))
            rest = linalg.matmul(theta, features) + packing.shared(u, chunk.columns)
            density = log_density(worst_u, means, samples) + log_weights
            joint = jnp.concatenate([rest, density[0, :, 0]])
            resp, log_likelihood = responsibilities(joint, chunk.weights)
            residuals = as_columns(as_columns(samples) - means)
            resp_of_worst = as_columns(resp[None, n_rest:, None])
            near = family.moments(residuals, resp_of_worst)
            return rows_product(features, resp[:n_rest]), near, log_likelihood

        statistics, near, log_likelihood = source.reduce(of_chunk)
        far = moments(packing, statistics, mixture.n_features)
        back = jnp.argsort(jnp.concatenate([self.rest, worst]))
        join = lambda *parts: jnp.concatenate(parts, axis=Axis.components)[:, back]
        return Expectation(
            moments=jax.tree.map(join, far, near), log_likelihood=log_likelihood
        )

    def is_accurate(self, mixture: GaussianMixture, offsets: Means, u: Values) -> Flag:
        """Whether errors are small, or as small as they get: what strong correlation
        loses, no pivot gives back."""
        lost = amplifications(mixture, offsets, u)[0, :, 0, 0]
        least = amplifications(mixture, jnp.zeros_like(offsets), u)[0, :, 0, 0]
        by_residuals = jnp.zeros_like(lost, dtype=bool).at[self.worst].set(True)
        good = is_accurate(lost) | by_residuals & (lost <= 2 * least)
        return jnp.all(good | ~(mixture.weights[0, :, 0, 0] > 0))
