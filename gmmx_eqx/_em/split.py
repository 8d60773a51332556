"""The E-step with packed features for most components and residuals for a few."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._core import linalg
from .._core.aliases import Means, PerComponentFlag, Pivot, Rows, Weights
from .._core.batching import rows_product
from .._covariances import (
    AbstractCovariances,
    AbstractWhitening,
    is_tied,
    log_density,
    moments_about,
    take_components,
)
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource, Chunk
from .guard import amplifications, cannot_be_less, is_accurate
from .packings import AbstractPacking, moments, parameters
from .residual import Expectation, responsibilities
from .wide import is_full, Wide, wide_is_accurate


# One component in so many is taken by residuals.
_ONE_IN = 8


def can_split(mixture: GaussianMixture) -> bool:
    """Whether there are enough components, each with a covariance of its own."""
    return not is_tied(mixture.covariances) and mixture.n_components >= _ONE_IN


def _by_products(mixture: GaussianMixture) -> bool:
    """Whether residuals of each component take so much longer than products of all that
    it is worth not being accurate at any distance."""
    return is_full(mixture) and mixture.n_features >= 32


class Split(eqx.Module):
    """Which components are taken by residuals: those with the largest amplification.

    **Attributes:**

    - `worst`: their indices, shape `(worst,)`.
    - `position`: for each component its place among them, or one beyond, shape
        `(components,)`.
    """

    worst: Int[Array, " worst"]
    position: Int[Array, " components"]

    @classmethod
    def of(cls, mixture: GaussianMixture, whitening: AbstractWhitening) -> "Split":
        """That of a mixture about the source's own pivot."""
        lost = amplifications(mixture, mixture.means, whitening)
        lost = jnp.where(mixture.weights > 0, lost, 0)[0, :, 0, 0]
        # NaN comes last in a sort, so it is among the worst.
        worst = jnp.argsort(lost)[-(lost.size // _ONE_IN) :]
        beyond = jnp.full(lost.shape, worst.size)
        return cls(worst=worst, position=beyond.at[worst].set(jnp.arange(worst.size)))

    @property
    def is_worst(self) -> Bool[Array, " components"]:
        return self.position < self.worst.size

    def pivot(self, mixture: GaussianMixture) -> Pivot:
        """The means of the worst components, and the source's pivot for the rest."""
        return jnp.where(self.is_worst[None, :, None, None], mixture.means, 0)

    def expect(
        self,
        mixture: GaussianMixture,
        source: AbstractSource,
        packing: AbstractPacking,
        whitening: AbstractWhitening,
    ) -> Expectation:
        """The E-step, with moments about `pivot`.

        **Arguments:** as for [`gmmx_eqx.expect_packed`][].
        """
        theta = parameters(packing, mixture, whitening)
        worst = self._parts(mixture, whitening)

        def of_chunk(chunk: Chunk):
            features = jax.lax.optimization_barrier(packing.features(chunk.columns))
            # By packed features for all, since it takes longer to put parts together
            # than to do some work in vain.
            joint = linalg.matmul(theta, features) + packing.shared(
                whitening, chunk.columns
            )
            better = worst.joint(chunk).at[self.position].get(mode="clip")
            joint = jnp.where(self.is_worst[:, None], better, joint)
            resp, log_likelihood = responsibilities(joint, chunk.weights)
            sums = worst.sums(chunk, resp[self.worst])
            return rows_product(features, resp), sums, log_likelihood

        statistics, sums, log_likelihood = source.reduce(of_chunk)
        far = moments(packing, statistics, mixture.n_features)
        near = worst.moments(sums)
        replace = lambda far, near: far.at[:, self.worst].set(near)
        return Expectation(
            moments=jax.tree.map(replace, far, near), log_likelihood=log_likelihood
        )

    def is_accurate(
        self, mixture: GaussianMixture, offsets: Means, whitening: AbstractWhitening
    ) -> PerComponentFlag:
        """Whether errors of each component are small, or as small as they get."""
        lost = amplifications(mixture, offsets, whitening)
        near = is_accurate(lost) | cannot_be_less(mixture, lost, whitening)
        if _by_products(mixture):
            near = wide_is_accurate(mixture, offsets, whitening)
        return jnp.where(self.is_worst[None, :, None, None], near, is_accurate(lost))

    def _parts(
        self, mixture: GaussianMixture, whitening: AbstractWhitening
    ) -> "Wide | _Residuals":
        worst = self.worst
        take = lambda leaf: leaf[:, worst]
        parts = (
            jax.tree.map(take, whitening),
            take(mixture.means),
            take(mixture.log_weights),
        )
        if _by_products(mixture):
            return Wide.of(*parts)
        return _Residuals(*parts, take_components(mixture.covariances, worst))


class _Residuals(eqx.Module):
    """As `Wide`, for the other families."""

    whitening: AbstractWhitening
    means: Means
    log_weights: Weights
    covariances: AbstractCovariances

    def joint(self, chunk: Chunk) -> Rows:
        density = log_density(self.whitening, self.means, chunk.samples)
        return (density + self.log_weights)[0, :, 0]

    def sums(self, chunk: Chunk, resp: Rows) -> PyTree:
        return moments_about(self.covariances, chunk.columns, self.means, resp)

    def moments(self, sums: PyTree) -> Moments:
        return sums
