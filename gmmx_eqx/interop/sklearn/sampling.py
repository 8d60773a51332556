import numpy as np

from ..._covariances import has_matrices, squeezed_axes
from ..._mixture import GaussianMixture
from .arrays import factor_of


def draw(
    mixture: GaussianMixture, n_samples: int, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Samples, shape `(n_samples, n_features)`, and their components, in order.

    In NumPy, since a program for every number of samples would have to be compiled.
    """
    means = mixture.means_numpy
    n_components, n_features = means.shape
    # In float64, where numbers that sum to one in float32 need not.
    weights = mixture.weights_numpy.astype(np.float64)
    labels = np.repeat(
        np.arange(n_components), rng.multinomial(n_samples, weights / weights.sum())
    )
    noise = rng.standard_normal((n_samples, n_features))
    family = type(mixture.covariances)
    factor = factor_of(mixture.covariances).astype(np.float64)
    u = np.expand_dims(factor, squeezed_axes(family))
    is_diagonal = not has_matrices(family)
    size = 1 if is_diagonal else n_features
    u = np.broadcast_to(u, (1, n_components, n_features, size))[0]
    parts = []
    for k, mean in enumerate(means.astype(np.float64)):
        own = noise[labels == k].T
        scaled = own / u[k] if is_diagonal else np.linalg.solve(u[k].T, own)
        parts.append(mean + scaled.T)
    return np.concatenate(parts).astype(means.dtype), labels
