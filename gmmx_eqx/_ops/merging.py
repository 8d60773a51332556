"""Groups of components, each put into one component."""

import jax.numpy as jnp
import numpy as np

from .._core import inputs
from .._core.aliases import Labels
from .._core.axes import Axis
from .._core.likes import GroupsLike
from .._core.programs import program
from .._covariances import merge_components, unshared
from .._mixture import AbstractGaussianMixture, check_mixture, GaussianMixture
from .gaussians import as_batch


def merge(mixture: AbstractGaussianMixture, groups: GroupsLike) -> GaussianMixture:
    """The mixture in which every group of components is one component, with the weight,
    mean and covariance that the group has as a mixture.

    What of the covariance is preserved is the family's to say: the whole matrix
    (full), the variance of every feature (diag), or their mean over features
    (spherical). So the mixture's own mean, and as much of its covariance, stays what it
    was. Merged tied covariances differ, and so become full.

    **Arguments:**

    - `groups`: the group of every component, integers `0 <= group < n_groups` of shape
        `(components,)`; every group must occur. `[0, 1, 0]` merges the first component
        and the third. A NumPy array or a list, not a traced array.

    **Raises:**

    `ValueError` if `groups` is anything else.
    """
    check_mixture(mixture)
    numbers = inputs.concrete(inputs.as_numbers(groups, "groups", wanted="integers"))
    if numbers is None:
        raise ValueError(
            "`groups` must be known while tracing: their number is a shape. Hand in a "
            "NumPy array or a list."
        )
    if numbers.shape != (mixture.n_components,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            "`groups` must be integers, one per component, shape "
            f"({mixture.n_components},); got dtype {numbers.dtype} and shape "
            f"{numbers.shape}."
        )
    found = np.unique(numbers)
    if not np.array_equal(found, np.arange(found.size)):
        raise ValueError(
            "`groups` must be numbered from 0 without gaps; got the groups "
            f"{found.tolist()}."
        )
    return _merge(mixture, jnp.asarray(numbers), int(found.size))


@program()
def _merge(
    mixture: AbstractGaussianMixture, groups: Labels, n_groups: int
) -> GaussianMixture:
    return merged(mixture, groups, n_groups)


def merged(
    mixture: AbstractGaussianMixture, groups: Labels, n_groups: int
) -> GaussianMixture:
    covariances = unshared(mixture.covariances, mixture.n_components)
    # Components are on the batch axis, as if they were samples of the groups.
    is_member = groups[:, None] == jnp.arange(n_groups)[None]
    is_member = is_member.astype(mixture.means.dtype)[:, :, None, None]
    share = is_member * as_batch(mixture.weights)
    weights = jnp.sum(share, axis=Axis.batch, keepdims=True)
    # A group of no weight has its members' plain mean.
    share = jnp.where(weights > 0, share, is_member)
    share = share / jnp.sum(share, axis=Axis.batch, keepdims=True)
    centres = as_batch(mixture.means)
    means = jnp.sum(share * centres, axis=Axis.batch, keepdims=True)
    covariances = merge_components(covariances, centres - means, share)
    return GaussianMixture(weights, means, covariances)
