"""The inner product of changes of a mixture in which EM is nearly symmetric."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Scalar, Values, Weights
from .._core.axes import Axis
from .._covariances import factor
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
        u = covariances.precisions_cholesky
        if factor.is_diagonal(u):
            matrix = covariances.variances if inverse else u**2
        elif inverse:
            matrix = covariances.values_dense
        else:
            matrix = linalg.matmul(u, jnp.swapaxes(u, -1, -2))
        share = jnp.where(mixture.weights > 0, mixture.weights, 1)
        share = 1 / share if inverse else share
        shared = covariances.shared_axes
        n_alike = mixture.n_features if Axis.features in shared else 1
        half = 2 / n_alike if inverse else n_alike / 2
        one = jnp.ones((1, 1, 1, 1), share.dtype)
        return cls(matrix, share, half * (one if Axis.components in shared else share))

    def __call__(self, change: GaussianMixture) -> GaussianMixture:
        times = jnp.multiply if factor.is_diagonal(self.matrix) else linalg.matmul
        values = change.covariances.values
        # What kind of numbers another shape holds, only its family knows.
        if values.shape[-2:] == self.matrix.shape[-2:]:
            # In this order no square of a unit can overflow.
            values = self.factor * times(times(self.matrix, values), self.matrix)
        return eqx.tree_at(
            lambda m: (m.weights, m.means, m.covariances.values),
            change,
            (
                change.weights / self.share,
                self.share * times(self.matrix, change.means),
                values,
            ),
        )


def inner(a: GaussianMixture, b: GaussianMixture) -> Scalar:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), a, b)
    return sum(jax.tree.leaves(products), jnp.zeros((), a.means.dtype))
