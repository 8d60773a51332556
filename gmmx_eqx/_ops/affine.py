import equinox as eqx
import jax.numpy as jnp

from .._core.likes import MapLike, VectorLike
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .arguments import as_array, as_map, as_vector, common_dtype
from .gaussian import push
from .maps import AbstractMap, Observations


def affine(
    mixture: AbstractGaussianMixture, A: MapLike, b: VectorLike = 0
) -> GaussianMixture:
    r"""The distribution of $A x + b$, where $x$ is distributed as the mixture.

    **Arguments:**

    - `A`: shape `(outputs, features)`; `(features,)` for a diagonal matrix, which may
        not be made of zeros and ones, `()` for a multiple of the identity;
        [`gmmx_eqx.Features`][]; or a `lineax.AbstractLinearOperator`. Its rows must be
        linearly independent, or the result has no density.
    - `b`: shape `(outputs,)`, or a number to add to every output.

    **Returns:**

    A mixture of the same family where `A` allows: tied covariances stay tied, and
    independent features (`diag`, `spherical`) stay so under a diagonal matrix.

    **Raises:**

    `ValueError` if a shape does not match, or if there are more outputs than features.
    """
    check_mixture(mixture)
    operator = as_map(A, "A", mixture)
    n_outputs = operator.n_outputs(mixture.n_features)
    if n_outputs > mixture.n_features:
        raise ValueError(
            f"`A` maps {mixture.n_features} features to {n_outputs}: the result lies "
            "in a subspace and has no density."
        )
    offset = as_array(b, "b", mixture)
    if offset.ndim == 0:
        offset = jnp.broadcast_to(offset, (n_outputs,))
    return _affine(mixture, operator, as_vector(offset, "b", mixture, n_outputs))


@program()
def _affine(
    mixture: AbstractGaussianMixture, operator: AbstractMap, offset: Observations
) -> GaussianMixture:
    mixture, operator, offset = common_dtype(mixture, operator, offset)
    pushed = push_mixture(mixture, operator)
    return eqx.tree_at(lambda m: m.means, pushed, pushed.means + offset)


@program()
def push_mixture(
    mixture: AbstractGaussianMixture, operator: AbstractMap
) -> GaussianMixture:
    """The distribution of $A x$."""
    shape = (mixture.n_components, mixture.n_features)
    return GaussianMixture(
        mixture.weights,
        operator(mixture.means),
        push(mixture.covariances, operator, *shape),
    )
