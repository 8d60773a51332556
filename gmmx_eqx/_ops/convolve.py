import jax.numpy as jnp

from .._core import inputs
from .._core.likes import NoiseLike, VectorLike
from .._core.programs import program
from .._covariances import AbstractCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .arguments import as_array, as_noise, as_vector
from .gaussian import add_noise
from .maps import Observations


def convolve(
    mixture: AbstractGaussianMixture, noise: NoiseLike, mean: VectorLike = 0
) -> GaussianMixture:
    r"""The distribution of $x + ε$, where $x$ is distributed as the mixture and
    $ε \sim N(m, R)$ is independent of it: a convolution of densities.

    **Arguments:**

    - `mixture`: the mixture.
    - `noise`: the covariance $R$, in squared data units: shape
        `(n_features, n_features)`, `(n_features,)` for a diagonal matrix, `()` for a
        multiple of the identity. It may be zero.
    - `mean`: $m$, shape `(n_features,)`, or a number for every feature.

    **Returns:**

    A mixture with the same weights. Tied covariances stay tied, independent features
    (`diag`, `spherical`) stay so where `noise` is not a matrix, and `spherical` stays
    where it is a number.

    **Raises:**

    `ValueError` if a shape does not match, or if `noise` is not a covariance.
    """
    check_mixture(mixture)
    added = as_noise(noise, "noise", mixture, mixture.n_features)
    shift = as_array(mean, "mean", mixture)
    if shift.ndim == 0:
        shift = jnp.broadcast_to(shift, (mixture.n_features,))
    shift = as_vector(shift, "mean", mixture, mixture.n_features)
    return _convolve(mixture, added, shift)


@program()
def _convolve(
    mixture: AbstractGaussianMixture, noise: AbstractCovariances, shift: Observations
) -> GaussianMixture:
    mixture, noise, shift = inputs.common_dtype(mixture, noise, shift)
    shape = (mixture.n_components, mixture.n_features)
    return GaussianMixture(
        mixture.weights,
        mixture.means + shift,
        add_noise(mixture.covariances, noise, *shape),
    )
