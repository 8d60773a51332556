import jax.numpy as jnp

from .._core import buckets, inputs
from .._core.aliases import Data
from .._core.likes import DataLike, NoiseLike
from .._core.programs import program
from .._covariances import AbstractCovariances
from .._mixture import AbstractGaussianMixture, check_mixture, densities
from .._mixture.latent import Latent
from .._sources import Observed
from .arguments import as_noise, common_dtype
from .maps import DiagonalMap
from .posterior import posterior


def denoise(
    mixture: AbstractGaussianMixture,
    y: DataLike | Observed,
    noise_covariance: NoiseLike | None = None,
) -> Data:
    r"""The posterior means $E[x | y_n]$ of noisy samples $y_n = x_n + ε_n$, where $x_n$
    is distributed as the mixture and $ε_n \sim N(0, R)$.

    **Arguments:**

    - `y`: the noisy samples, shape `(n_samples, n_features)`; or a
        [`gmmx_eqx.Observed`][], which holds their noise.
    - `noise_covariance`: $R$, in squared data units: shape
        `(n_features, n_features)`, `(n_features,)` for a diagonal matrix, `()` for a
        multiple of the identity.

    **Returns:**

    The means, shape `(n_samples, n_features)`. No estimate has a smaller mean squared
    error.
    """
    check_mixture(mixture)
    n_features = mixture.n_features
    if isinstance(y, Observed):
        if noise_covariance is not None:
            raise ValueError(
                "`noise_covariance` must be given to `gmmx_eqx.Observed`, as its `R`."
            )
        return latent_means(mixture, Latent.of(y, mixture.n_components, n_features))
    if noise_covariance is None:
        raise ValueError(
            "`denoise` needs `noise_covariance`, unless `y` is a `gmmx_eqx.Observed`."
        )
    y, _ = inputs.as_data(y, name="y", n_features=n_features, like=mixture)
    noise = as_noise(noise_covariance, "noise_covariance", mixture, n_features)
    filled, _ = buckets.fill(y, None, mixture, noise)
    return buckets.cut(_denoise(mixture, noise, filled), y.shape[0])


@program()
def latent_means(mixture: AbstractGaussianMixture, latent: Latent) -> Data:
    """The posterior means of samples of which not everything is known."""
    mixture, latent = inputs.common_dtype(mixture, latent)
    return latent.mean(mixture.weights, mixture.means, mixture.covariances)


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
