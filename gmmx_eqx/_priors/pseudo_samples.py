"""What a prior adds to the moments of a family, and its density."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import (
    Means,
    PerComponentFlag,
    PerFeature,
    Pivot,
    Scalar,
)
from .._core.axes import as_columns, Axis
from .._core.cholesky import cholesky
from .._covariances import (
    AbstractCovariances,
    AbstractWhitening,
    Conjugate,
    conjugate,
    is_tied,
)
from .._moments import Moments
from .._sources.abstract import AbstractFacts
from .normal_inverse_wishart import NormalInverseWishart


_Total = Float[Array, "1 1 1 1"]


class PseudoSamples(eqx.Module):
    r"""A prior of the components of one family, as samples that are added to theirs:
    $κ$ at $m$, the columns of a root of $Λ$ about the new mean, and as many at the new
    mean as the density has degrees of freedom.

    The M-step of a family of such moments is the mode of its posterior, whatever the
    family is: its statistic is linear in the weights of samples, of which some here may
    be negative.

    **Attributes:**

    - `mean`: $m$ about the source's pivot.
    - `shrinkage`: $κ$.
    - `root`: lower triangular $L$ with $Λ = L L^T$.
    - `density`: of the covariances.
    - `divided`: whether the components share $Λ$.
    """

    mean: PerFeature
    shrinkage: Scalar
    root: Float[Array, "1 1 features features"]
    density: Conjugate
    divided: bool = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        prior: NormalInverseWishart,
        covariances: AbstractCovariances,
        facts: AbstractFacts,
    ) -> "PseudoSamples":
        """**Arguments:**

        - `covariances`: only their family counts.
        - `facts`: of the data.
        """
        dtype = facts.pivot.dtype
        root = cholesky(prior.scale.astype(dtype)[None, None])
        degrees = prior.degrees_of_freedom.astype(dtype)
        return cls(
            mean=prior.mean.astype(dtype).reshape(facts.pivot.shape) - facts.pivot,
            shrinkage=prior.shrinkage.astype(dtype),
            root=root,
            density=conjugate(covariances, degrees, root),
            divided=prior.divided,
        )

    def at_mean(
        self,
        moments: Moments,
        covariances: AbstractCovariances,
        active: PerComponentFlag,
        pivot: Pivot,
    ) -> Moments:
        """Moments with the samples at the prior's mean.

        **Arguments:**

        - `moments`: about `pivot`.
        - `active`: which components have the prior.
        """
        share = jnp.where(active, self.shrinkage, 0)
        gap = jnp.broadcast_to(self.mean - pivot, moments.first.shape)
        more = covariances.statistic(gap, share)
        return moments + Moments(share, share * gap, more)

    def about_mean(
        self,
        moments: Moments,
        covariances: AbstractCovariances,
        active: PerComponentFlag,
    ) -> Moments:
        """Moments with the scatter of the covariances' density.

        **Arguments:**

        - `moments`: those of `at_mean`.
        """
        each = jnp.where(active, 1, 0).astype(moments.count.dtype)
        number = jnp.sum(each, axis=Axis.components, keepdims=True)
        own = each / number if is_tied(covariances) else each
        share = own * self.density.share * jnp.exp(-self._log_divisor(number))
        # The columns of the root, one after the other, as residuals.
        rows = jnp.broadcast_to(share, (self.root.shape[-1], *share.shape[1:]))
        scatter = covariances.statistic(as_columns(self.root), rows)
        # The mean has a density of its own, of one degree of freedom.
        count = own * self.density.exponent + each - each * self.shrinkage
        shift = moments.shift
        at_mean = covariances.statistic(shift, count)
        second = jax.tree.map(jnp.add, scatter, at_mean)
        return moments + Moments(count, count * shift, second)

    def log_prob(
        self,
        means: Means,
        covariances: AbstractCovariances,
        whitening: AbstractWhitening,
        active: PerComponentFlag,
    ) -> Scalar:
        """The log-density of means and covariances, in nats.

        **Arguments:**

        - `means`: about the source's pivot.
        - `whitening`: the factorised covariances.
        """
        d = means.shape[Axis.features]
        density, kappa = self.density, self.shrinkage
        number = jnp.sum(active, axis=Axis.components, keepdims=True)
        log_divisor = self._log_divisor(number.astype(means.dtype))
        log_det = whitening.log_det
        distance = whitening.squared_distance(self.mean, means)
        of_means = d * (jnp.log(kappa) - linalg.LOG_2PI) - log_det - kappa * distance
        axes = (Axis.features, Axis.features_covar)
        trace = jnp.sum(whitening.whiten(self.root) ** 2, axis=axes, keepdims=True)
        trace = density.share * jnp.exp(-log_divisor) * trace
        of_covariances = (
            density.log_normaliser
            - density.order * density.degrees * log_divisor
            - 0.5 * (density.exponent * log_det + trace)
        )
        total = jnp.sum(jnp.where(active, 0.5 * of_means, 0))
        flag = jnp.any(active) if is_tied(covariances) else active
        return total + jnp.sum(jnp.where(flag, of_covariances, 0))

    def _log_divisor(self, number: _Total) -> _Total:
        """The logarithm of what $Λ$ is divided by for so many components."""
        if not self.divided:
            return jnp.zeros_like(number)
        return jnp.log(number) * (2 / self.root.shape[-1])
