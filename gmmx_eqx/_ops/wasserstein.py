"""The Wasserstein-type distance between mixtures."""

import equinox as eqx
import jax.numpy as jnp

from .._core.aliases import Scalar
from .._core.programs import program
from .._mixture import AbstractGaussianMixture
from . import bures, gaussians
from .arguments import check_pair
from .gaussians import PairsTable
from .transport import transport


class Transport(eqx.Module):
    """How the components of one mixture are best carried to those of another.

    **Attributes:**

    - `squared_distance`: the least cost, in squared units of the data.
    - `plan`: the weight carried from each component to each other one, shape
        `(components, other_components)`. It has no derivative.
    """

    squared_distance: Scalar
    plan: PairsTable

    @property
    def distance(self) -> Scalar:
        """In the units of the data. Its derivative at zero, where it has none, is
        zero."""
        positive = self.squared_distance > 0
        return jnp.where(
            positive, jnp.sqrt(jnp.where(positive, self.squared_distance, 1)), 0
        )


def wasserstein(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> Transport:
    r"""The distance $MW_2$ between mixtures: optimal transport of which the plan, too,
    is a mixture. It is never less than the Wasserstein distance $W_2$.

    $$MW_2^2 = \min_P \sum_{ab} P_{ab} \bigl(|μ_a - μ_b|^2 + B(Σ_a, Σ_b)^2\bigr),$$

    with the weights for marginals of $P$ and the Bures distance
    $B^2 = \operatorname{tr}(Σ_a + Σ_b - 2 (Σ_a^{1/2} Σ_b Σ_a^{1/2})^{1/2})$. The plan
    is a vertex of the polytope of plans, not a smoothed one: optimal to within the
    rounding of the costs. First and second derivatives of the squared distance are
    finite wherever the covariances are positive definite, where they are equal too.

    ??? cite "Reference"

        Delon, Desolneux (2020), A Wasserstein-type Distance in the Space of Gaussian
        Mixture Models. SIAM J. Imaging Sciences 13(2), 936-970.
    """
    return _wasserstein(*check_pair(first, second))


@program()
def _wasserstein(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> Transport:
    shape = (first.n_components, second.n_components)
    pairs = bures.squared_wasserstein(*gaussians.pair(first, second))
    supply, demand = (
        mixture.weights[0, :, 0, 0] / jnp.sum(mixture.weights)
        for mixture in (first, second)
    )
    return Transport(*transport(gaussians.table(pairs, shape), supply, demand))
