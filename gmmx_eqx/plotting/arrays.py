"""Mixtures and data as NumPy arrays in float64; what cannot be drawn is refused."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import inputs
from .._mixture import AbstractGaussianMixture, check_mixture
from .._ops.features import as_features


class Components(NamedTuple):
    """The parameters of a mixture, its covariances as one matrix per component."""

    weights: Float[np.ndarray, " components"]
    means: Float[np.ndarray, "components features"]
    covariances: Float[np.ndarray, "components features features"]

    @classmethod
    def of(cls, mixture: AbstractGaussianMixture) -> "Components":
        check_mixture(mixture)
        n_components, n_features = mixture.n_components, mixture.n_features
        dense = np.asarray(mixture.covariances.dense(n_features), float)[0]
        shape = (n_components, n_features, n_features)
        parts = cls(
            weights=np.asarray(mixture.weights_numpy, float),
            means=np.asarray(mixture.means_numpy, float),
            covariances=np.broadcast_to(dense, shape),
        )
        if not all(np.all(np.isfinite(part)) for part in parts):
            raise ValueError(
                "`mixture` holds NaN or infinity, which cannot be drawn: see the "
                "`result` of its fit."
            )
        return parts

    @property
    def deviations(self) -> Float[np.ndarray, "components features"]:
        """Standard deviations of the features."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))

    @property
    def present(self) -> list[int]:
        """The components that have a weight."""
        return np.flatnonzero(self.weights > 0).tolist()

    def sample(self, n_samples: int) -> Float[np.ndarray, "n features"]:
        """Samples for quantiles, always the same: as many from each component as its
        weight says."""
        noise = np.random.default_rng(0).normal(size=(n_samples, self.means.shape[1]))
        steps = np.cumsum(self.weights) / np.sum(self.weights)
        labels = np.searchsorted(steps, (np.arange(n_samples) + 0.5) / n_samples)
        roots = np.linalg.cholesky(self.covariances)
        return self.means[labels] + np.einsum("nij,nj->ni", roots[labels], noise)


class Points(NamedTuple):
    """The samples of positive weight, and their weights."""

    x: Float[np.ndarray, "n features"]
    weight: Float[np.ndarray, " n"]

    @classmethod
    def of(
        cls, mixture: AbstractGaussianMixture, x: Any, sample_weight: Any = None
    ) -> "Points":
        """No samples at all if `x` is `None`."""
        check_mixture(mixture)
        if x is None:
            if sample_weight is not None:
                raise ValueError("`sample_weight` is given, but `x` is not.")
            return cls(np.empty((0, mixture.n_features)), np.empty(0))
        data, weight = inputs.as_data(x, sample_weight, n_features=mixture.n_features)
        points = np.asarray(data, float)
        weights = np.ones(len(points)) if weight is None else np.asarray(weight, float)
        return cls(points[weights > 0], weights[weights > 0])

    def take(self, features: Sequence[int]) -> "Points":
        return Points(self.x[:, list(features)], self.weight)

    @property
    def sizes(self) -> Float[np.ndarray, " n"]:
        """Areas of dots: smaller where there are many, in proportion to weights."""
        typical = float(np.clip(6000 / len(self.weight), 3, 20))
        return typical * self.weight / np.mean(self.weight)


def proba(
    mixture: AbstractGaussianMixture, points: Points
) -> Float[np.ndarray, "n components"]:
    """The responsibilities of the samples."""
    if not len(points.x):
        return np.empty((0, mixture.n_components))
    return np.asarray(mixture.predict_proba(points.x), float)


def names_of(names: Sequence[str] | None, x: Any, n_features: int) -> tuple[str, ...]:
    """Of the features: those given, a data frame's columns, or numbers."""
    if names is None:
        names = getattr(x, "columns", None)
    if names is None:
        names = ["x"] if n_features == 1 else [f"x{i}" for i in range(n_features)]
    names = tuple(str(name) for name in names)
    if len(names) != n_features:
        raise ValueError(
            f"`names` must have one name per feature, {n_features}; got {len(names)}."
        )
    return names


def indices_of(features: Any, n_features: int) -> list[int]:
    """From integers, a slice or `Features`."""
    return np.asarray(as_features(features, n_features).indices, int).tolist()
