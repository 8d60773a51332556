import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._core.aliases import Flag, Means, PerComponentFlag, Scalar, Weights
from .._covariances import AbstractWhitening
from .._mixture import GaussianMixture


def amplification(
    mixture: GaussianMixture, offsets: Means, whitening: AbstractWhitening
) -> Scalar:
    r"""By how much rounding errors grow when the mixture's covariances are computed
    from moments about a pivot.

    $\max_k \| (a_i P_{ij} a_j)_{ij} \|_F$, where $P$ is the precision matrix of the
    component and $a_i^2 = o_i^2 + Σ_{ii}$ its mean square about the pivot: each product
    $x_i x_j$ is rounded to within eps of $a_i a_j$, and the precision says what that is
    in units of the covariance. Without units; about (spread / σ)².

    **Arguments:**

    - `mixture`: the mixture. Components of weight zero do not count.
    - `offsets`: $o$, the means about the pivot, shape `(1, components, features, 1)`.
    - `whitening`: its factorised covariances.
    """
    norms = amplifications(mixture, offsets, whitening)
    return jnp.max(jnp.where(mixture.weights > 0, norms, 0))


def amplifications(
    mixture: GaussianMixture, offsets: Means, whitening: AbstractWhitening
) -> Weights:
    """That of each component, shape `(1, components, 1, 1)`."""
    covariances = mixture.covariances
    spread = jnp.sqrt(offsets**2 + covariances.variances)
    norms = whitening.scaled_norm(spread)
    return jnp.broadcast_to(norms, mixture.weights.shape)


def is_accurate(amplification: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Whether errors of covariances stay below eps to the power 0.6, which is 7e-5 in
    float32 and 4e-10 in float64. False for NaN."""
    eps = float(jnp.finfo(amplification.dtype).eps)
    return amplification <= eps**-0.4


def cannot_be_less(
    mixture: GaussianMixture, lost: Weights, whitening: AbstractWhitening
) -> PerComponentFlag:
    """Whether a component hardly loses more than the worst one would by residuals about
    the right means: what strong correlation loses, no pivot gives back."""
    return lost <= 2 * amplification(mixture, jnp.zeros_like(mixture.means), whitening)


def all_that_count(mixture: GaussianMixture, good: PerComponentFlag) -> Flag:
    """Whether all components of some weight are good."""
    return jnp.all(good | ~(mixture.weights > 0))
