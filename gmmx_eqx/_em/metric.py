"""The inner product of changes of a mixture in which EM is nearly symmetric."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core.aliases import Scalar, Values, Weights
from .._covariances import (
    AbstractCovariances,
    information,
    precision,
    times,
)
from .._mixture import GaussianMixture


class Metric(eqx.Module):
    r"""The information of complete data about the parameters, per sample: $\frac{1}{w}$
    for a weight, $w Σ^{-1}$ for a mean and $\frac{w}{2} Σ^{-1} ⊗ Σ^{-1}$ for a
    covariance; or its inverse.

    One minus the Jacobian of a step of EM at a maximum is its inverse times the
    information of the observed data. So the Jacobian is symmetric in this inner
    product, with eigenvalues from zero to one, whatever the units of the data.

    ??? cite "Reference"

        Dempster, Laird, Rubin (1977), Maximum Likelihood from Incomplete Data via the
        EM Algorithm. JRSS B 39(1), 1-38. Section 3.
    """

    matrix: Values
    share: Weights
    of_covariances: Callable[[AbstractCovariances], AbstractCovariances]

    @classmethod
    def create(cls, mixture: GaussianMixture, inverse: bool = False) -> "Metric":
        covariances, n_features = mixture.covariances, mixture.n_features
        # Of low rank, the diagonal will do: any metric leads to the solution.
        matrix = precision(covariances, n_features, inverse)
        weights = jnp.where(mixture.weights > 0, mixture.weights, 1)
        rule = information(covariances, weights, matrix, n_features, inverse)
        return cls(matrix, 1 / weights if inverse else weights, rule)

    def __call__(self, change: GaussianMixture) -> GaussianMixture:
        return GaussianMixture(
            weights=change.weights / self.share,
            means=self.share * times(self.matrix, change.means),
            covariances=self.of_covariances(change.covariances),
        )


def inner(a: GaussianMixture, b: GaussianMixture) -> Scalar:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), a, b)
    return sum(jax.tree.leaves(products), jnp.zeros((), a.means.dtype))
