import jax.numpy as jnp

from .._core import buckets, inputs
from .._core.aliases import Data
from .._core.likes import DataLike, NoiseLike
from .._core.programs import program
from .._covariances import AbstractCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, densities
from .arguments import as_noise, common_dtype
from .maps import DiagonalMap
from .posterior import posterior


def denoise(
    mixture: AbstractGaussianMixture, y: DataLike, noise_covariance: NoiseLike
) -> Data:
    r"""The posterior means $E[x | y_n]$ of noisy samples $y_n = x_n + ε_n$, where $x_n$
    is distributed as the mixture and $ε_n \sim N(0, R)$.

    **Arguments:**

    - `y`: the noisy samples, shape `(n_samples, n_features)`.
    - `noise_covariance`: $R$, in squared data units: shape
        `(n_features, n_features)`, `(n_features,)` for a diagonal matrix, `()` for a
        multiple of the identity.

    **Returns:**

    The means, shape `(n_samples, n_features)`. No estimate has a smaller mean squared
    error.
    """
    check_mixture(mixture)
    n_features = mixture.n_features
    y, _ = inputs.as_data(y, name="y", n_features=n_features, like=mixture)
    noise = as_noise(noise_covariance, "noise_covariance", mixture, n_features)
    filled, _ = buckets.fill(y, None, mixture, noise)
    return buckets.cut(_denoise(mixture, noise, filled), y.shape[0])


@program()
def _denoise(
    mixture: AbstractGaussianMixture, noise: AbstractCovariances, y: Data
) -> Data:
    identity = DiagonalMap(jnp.ones((1, 1, 1, 1), y.dtype))
    mixture, identity, noise, y = common_dtype(mixture, identity, noise, y)

    def of_chunk(chunk: Data) -> Data:
        return posterior(
            mixture.weights,
            mixture.means,
            mixture.covariances,
            identity,
            noise,
            inputs.as_samples(chunk),
        ).mean

    return densities.map_chunks(of_chunk, y, mixture.n_components)
