"""Upper bounds on the rounding errors of covariances, from the parameters alone."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._core.aliases import Means, PerComponentFlag, Pivot, Weights
from .._core.axes import Axis
from .._covariances import AbstractWhitening
from .._mixture import GaussianMixture


class Amplification(eqx.Module):
    r"""Growth of rounding errors where a mixture's covariances are computed from
    moments about a point.

    $\| (a_i P_{ij} a_j)_{ij} \|_F$ for each component, where $P$ is its precision
    matrix and $a_i^2 = o_i^2 + Σ_{ii}$ its mean square about the point, at the distance
    $o$ from its mean: each product $x_i x_j$ is rounded to within eps of $a_i a_j$, and
    the precision says what that is in units of the covariance. Without units; about
    (spread / σ)². Shapes `(1, components, 1, 1)`.

    **Attributes:**

    - `far`: about the source's pivot.
    - `near`: about the component's own pivot.
    - `least`: about the means themselves, of the worst component.
    """

    far: Weights
    near: Weights
    least: Float[Array, "batch=1 components=1 features=1 features_covar=1"]

    @classmethod
    def of(
        cls, mixture: GaussianMixture, whitening: AbstractWhitening, pivot: Pivot
    ) -> "Amplification":
        """**Arguments:**

        - `mixture`: the mixture, about the source's pivot.
        - `whitening`: its factorised covariances.
        - `pivot`: of each component.
        """
        means = mixture.means
        offsets: tuple[Means, ...] = (means, means - pivot, jnp.zeros_like(means))
        squares = jnp.concatenate(offsets, axis=Axis.batch) ** 2
        spread = jnp.sqrt(squares + mixture.covariances.variances)
        norms = whitening.scaled_norm(spread)
        # Components of weight zero do not count.
        norms = jnp.where(mixture.weights > 0, norms, 0)
        worst = jnp.max(norms[2:], axis=Axis.components, keepdims=True)
        return cls(norms[:1], norms[1:2], worst)

    @property
    def is_far_accurate(self) -> PerComponentFlag:
        """Whether moments about the source's pivot give accurate covariances. False for
        NaN."""
        return _is_small(self.far)

    @property
    def is_near_accurate(self) -> PerComponentFlag:
        """Whether moments about the component's own pivot do, or would not give better
        ones about any other: neither a NaN nor what strong correlation loses gets
        better by another pivot."""
        return _is_small(self.near) | ~(self.near > 2 * self.least)


def _is_small(amplification: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Whether errors of covariances stay below eps to the power 0.6, which is 7e-5 in
    float32 and 4e-10 in float64."""
    eps = float(jnp.finfo(amplification.dtype).eps)
    return amplification <= eps**-0.4
