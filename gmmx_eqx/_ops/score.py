import jax.numpy as jnp

from .._core import buckets, inputs, linalg
from .._core.aliases import Data
from .._core.axes import as_columns, Axis
from .._core.likes import DataLike
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture, densities
from .gaussian import log_density_of


# `GaussianMixture.score` is scikit-learn's: a mean log-likelihood.
def score_function(mixture: AbstractGaussianMixture, x: DataLike) -> Data:
    r"""The score $\nabla_x \log p(x_n) = \sum_k r_{nk} Σ_k^{-1} (μ_k - x_n)$, in
    inverse data units.

    Not to be confused with `mixture.score(x)`, the mean log-density, which has its name
    from scikit-learn.

    **Arguments:**

    - `x`: the samples, shape `(n_samples, n_features)`.

    **Returns:**

    The gradients, shape `(n_samples, n_features)`; finite far from all modes, too.
    """
    check_mixture(mixture)
    x, _ = inputs.as_data(x, n_features=mixture.n_features, like=mixture)
    filled, _ = buckets.fill(x, None, mixture)
    return buckets.cut(_score(mixture, filled), x.shape[0])


@program()
def _score(mixture: AbstractGaussianMixture, x: Data) -> Data:
    mixture, x = inputs.common_dtype(mixture, x)
    whitening = mixture.covariances.whitening(mixture.n_features, tolerant=True)
    n_features = jnp.asarray(mixture.n_features, x.dtype)

    def of_chunk(chunk: Data) -> Data:
        residuals = as_columns(inputs.as_samples(chunk)) - mixture.means
        log_density = log_density_of(whitening, residuals, n_features)
        resp = as_columns(linalg.responsibilities(log_density, mixture.weights))
        pull = whitening.solve(residuals)
        return -jnp.sum(resp * pull, axis=Axis.components)[0].T

    return densities.map_chunks(of_chunk, x, mixture.n_components)
