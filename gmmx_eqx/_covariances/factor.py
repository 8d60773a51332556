r"""What follows from $U$, with $Σ^{-1} = U U^T$, for every family.

Functions of $U$ rather than of a family, so that one factorisation serves them all: XLA
does not notice that two are the same.
"""

import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Means, PerColumn, Samples, Values, Weights
from .._core.axes import as_columns, Axis
from .matrices import transpose


def is_diagonal(u: Values) -> bool:
    """Whether `u` holds only the diagonals, on the features axis."""
    return u.shape[Axis.features_covar] == 1


def squared_mahalanobis(u: Values, x: Samples, means: Means) -> PerColumn:
    r"""$|U_k^T (x_n - μ_k)|^2$, with samples as columns."""
    # The residual first, the product after: the difference of two products would lose
    # the digits of far-away means.
    residuals = as_columns(x) - means
    if is_diagonal(u):
        whitened = u * residuals
    else:
        whitened = linalg.matmul(transpose(u), residuals)
    return jnp.sum(whitened**2, axis=Axis.features, keepdims=True)


def log_det(u: Values) -> Weights:
    r"""$\log |U|$, in nats; of one feature where the features axis is shared."""
    diagonal = u if is_diagonal(u) else linalg.diagonal_of(u)
    return jnp.sum(jnp.log(diagonal), axis=Axis.features, keepdims=True)
