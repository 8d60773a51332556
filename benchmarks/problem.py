import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """Data and a start that every contender gets: full covariances, equal weights."""

    n_samples: int
    n_features: int
    n_components: int
    dtype: str = "float32"
    covariance_type: str = "full"
    seed: int = 0
    # Distance of the clusters' centres from the origin in every feature, in widths;
    # otherwise clusters overlap.
    separation: float | None = None

    def data(self) -> np.ndarray:
        """Samples of clusters, shape `(n_samples, n_features)`."""
        rng = np.random.default_rng(self.seed)
        centres, scales = self._clusters(rng)
        label = rng.integers(self.n_components, size=self.n_samples)
        noise = rng.normal(size=(self.n_samples, self.n_features))
        return (centres[label] + scales[label] * noise).astype(self.dtype)

    def _clusters(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Centres and widths, shape `(n_components, n_features)`."""
        shape = (self.n_components, self.n_features)
        centres = 3 * rng.normal(size=shape)
        scales = rng.uniform(0.5, 2, size=shape)
        if self.separation is None:
            return centres, scales
        return self.separation * np.sign(centres), np.ones(shape)

    def start(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and squeezed covariances."""
        x = self.data()
        rng = np.random.default_rng(self.seed + 1)
        n_components = self.n_components
        means = x[rng.choice(len(x), n_components, replace=False)]
        pooled = np.cov(x.T.astype(np.float64)).reshape(self.n_features, -1)
        if self.separation is not None:
            # Near the end, where clusters are found: a step then sees how far apart
            # they are for their widths.
            centres, widths = self._clusters(np.random.default_rng(self.seed))
            means = centres + 0.3 * widths * rng.normal(size=centres.shape)
            pooled = np.eye(self.n_features)
        variances = np.diagonal(pooled)
        covariances = {
            "full": np.broadcast_to(pooled, (n_components, *pooled.shape)),
            "tied": pooled,
            "diag": np.broadcast_to(variances, (n_components, self.n_features)),
            "spherical": np.full(n_components, variances.mean()),
        }[self.covariance_type]
        weights = np.full(n_components, 1 / n_components)
        cast = lambda array: array.astype(self.dtype)
        return cast(weights), cast(means), cast(covariances)
