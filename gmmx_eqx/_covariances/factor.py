r"""What follows from $U$, with $Σ^{-1} = U U^T$, for every family.

Functions of $U$ rather than of a family, so that one factorisation serves them all: XLA
does not notice that two are the same.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means, PerColumn, Samples, SquareValues
from .._core.axes import as_columns, Axis
from .._core.triangular import solve_lower


# With so many features, products are quicker with samples as rows: on a CPU, up to 1.4
# times with 64, and twice as slow with 8.
_MANY = 32

# Square, or only the diagonals, on the features axis: of every feature, or one number
# for all.
Factors = Float[Array, "_ _ d _"]
Columns = Float[Array, "_ _ _ columns"]


class Substitution(eqx.Module):
    r"""$U = L^{-T}$, held as $L$: products with it are solutions of equations, which
    keep the digits that its own elements do not have."""

    lower: SquareValues


def is_diagonal(u: Factors) -> bool:
    """Whether `u` holds only the diagonals, on the features axis."""
    return u.shape[Axis.features_covar] == 1


def multiply(factors: Factors | Substitution, columns: Columns) -> Columns:
    """The product with every column."""
    if isinstance(factors, Substitution):
        # Backward substitution is forward substitution from the other end.
        flip = lambda x, *axes: jnp.flip(x, axes)
        upper = linalg.transpose(factors.lower)
        return flip(solve_lower(flip(upper, -2, -1), flip(columns, -2)), -2)
    if is_diagonal(factors):
        return factors * columns
    return linalg.matmul(factors, columns)


def whiten(u: Factors | Substitution, columns: Columns) -> Columns:
    r"""$U^T$ times every column."""
    if isinstance(u, Substitution):
        return solve_lower(u.lower, columns)
    return multiply(u if is_diagonal(u) else linalg.transpose(u), columns)


def squared_mahalanobis(
    u: Factors | Substitution, x: Samples, means: Means
) -> PerColumn:
    r"""$|U_k^T (x_n - μ_k)|^2$, with samples as columns."""
    # The residual first, the product after: the difference of two products would lose
    # the digits of far-away means.
    many = x.shape[Axis.features] >= _MANY
    if many and not isinstance(u, Substitution) and not is_diagonal(u):
        rows = x[None, None, :, 0, :, 0] - linalg.transpose(means)
        distance = jnp.sum(linalg.matmul(rows, u) ** 2, axis=-1, keepdims=True)
        return linalg.transpose(distance)
    whitened = whiten(u, as_columns(x) - means)
    return jnp.sum(whitened**2, axis=Axis.features, keepdims=True)


def log_det(u: Factors | Substitution) -> Float[Array, "_ _ 1 1"]:
    r"""$\log |U|$, in nats; of one feature where the features axis is shared."""
    if isinstance(u, Substitution):
        return -log_det(linalg.diagonal_of(u.lower))
    diagonal = u if is_diagonal(u) else linalg.diagonal_of(u)
    return jnp.sum(jnp.log(diagonal), axis=Axis.features, keepdims=True)


def n_served(u: Factors | Substitution, n_features: int) -> int:
    """For how many features each entry on the features axis serves."""
    return 1 if isinstance(u, Substitution) else n_features // u.shape[Axis.features]
