"""The inner product of changes of a mixture in which EM is nearly symmetric."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Scalar, Values, Weights
from .._core.axes import Axis
from .._covariances import (
    AbstractLowRank,
    AbstractValues,
    Diagonal,
    has_features_alike,
    is_tied,
    with_values,
    Woodbury,
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
    # Of covariances, beside the matrix.
    factor: Values

    @classmethod
    def create(cls, mixture: GaussianMixture, inverse: bool = False) -> "Metric":
        covariances = mixture.covariances
        whitening = covariances.whitening(mixture.n_features)
        # Of low rank, the diagonal will do: any metric leads to the solution.
        is_diagonal = isinstance(whitening, Diagonal | Woodbury)
        if is_diagonal and inverse:
            matrix = covariances.variances
        elif is_diagonal:
            matrix = whitening.precision_diagonal
        elif inverse:
            matrix = covariances.dense(mixture.n_features)
        else:
            matrix = whitening.precision
        share = jnp.where(mixture.weights > 0, mixture.weights, 1)
        share = 1 / share if inverse else share
        n_alike = mixture.n_features if has_features_alike(covariances) else 1
        half = 2 / n_alike if inverse else n_alike / 2
        one = jnp.ones((1, 1, 1, 1), share.dtype)
        return cls(matrix, share, half * (one if is_tied(covariances) else share))

    def __call__(self, change: GaussianMixture) -> GaussianMixture:
        times = jnp.multiply if self.matrix.shape[-1] == 1 else linalg.matmul
        covariances = change.covariances
        # What kind of numbers other fields hold, only their family knows.
        if isinstance(covariances, AbstractValues):
            # In this order no square of a unit can overflow.
            values = times(times(self.matrix, covariances.values), self.matrix)
            covariances = with_values(type(covariances), self.factor * values)
        if isinstance(covariances, AbstractLowRank):
            covariances = self._of_low_rank(covariances)
        return eqx.tree_at(
            lambda m: (m.weights, m.means, m.covariances),
            change,
            (
                change.weights / self.share,
                self.share * times(self.matrix, change.means),
                covariances,
            ),
        )

    def _of_low_rank(self, change: AbstractLowRank) -> AbstractLowRank:
        """Of factors, a metric of the right units at least; of noise, that of
        independent features."""
        square = self.matrix**2
        if change.noise.shape[Axis.features] == 1:
            square = jnp.mean(square, axis=Axis.features, keepdims=True)
        return dataclasses.replace(
            change,
            factors=self.share * self.matrix * change.factors,
            noise=self.factor * square * change.noise,
        )


def inner(a: GaussianMixture, b: GaussianMixture) -> Scalar:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), a, b)
    return sum(jax.tree.leaves(products), jnp.zeros((), a.means.dtype))
