from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ..._core.aliases import Count, Means, Weights
from ..._covariances import AbstractCovariances
from ..._fit.random_starts import RandomStarts
from ..._initialisers import in_turn, Partition
from ..._mixture import GaussianMixture
from ..._mixture.estimate import estimate
from ..._sources import InMemory


class Given(eqx.Module):
    """What the user has given of a start, in the units of the data."""

    weights: Weights | None
    means: Means | None
    covariances: AbstractCovariances | None

    def complete(self) -> GaussianMixture | None:
        """A start, if everything is given."""
        if self.weights is None or self.means is None or self.covariances is None:
            return None
        return GaussianMixture(self.weights, self.means, self.covariances)

    def replace(self, start: GaussianMixture) -> GaussianMixture:
        """The start with what is given in the place of its own."""
        own = lambda given, other: other if given is None else given
        return GaussianMixture(
            own(self.weights, start.weights),
            own(self.means, start.means),
            own(self.covariances, start.covariances),
        )


def make_start(
    settings: RandomStarts, given: Given, source: InMemory, key: Any, turn: Count
) -> GaussianMixture:
    """A start in the units of the data, from a random partition.

    As in scikit-learn, every component's covariance is that of its own samples, unless
    it has too few of them for that not to be singular.
    """
    parameters = estimate(
        settings.family,
        source,
        _partition(settings, source, key, turn),
        reg_covar=settings.options.ridge.resolve(source.variances),
        n_pseudo=source.n_features + 1,
        pools_few_only=True,
    )
    return given.replace(GaussianMixture(*parameters))


def _partition(
    settings: RandomStarts, source: InMemory, key: Any, turn: Count
) -> Partition:
    if settings.n_components > 1:
        initialiser = in_turn(settings.initialiser, turn)
        return initialiser.partition(source, settings.n_components, key=key)
    # Nothing to divide: half of the time to compile a first fit is saved.
    n_features = source.n_features
    dtype = source.pivot.dtype
    return Partition(
        scaling=jnp.eye(n_features, dtype=dtype),
        centres=jnp.zeros((1, n_features), dtype),
    )
