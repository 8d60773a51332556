r"""The Bures distance between covariances.

$B(Σ, Σ')^2 = \min_W |L - L' W|_F^2$ over orthogonal matrices $W$, where $Σ = L L^T$ and
$Σ' = L' L'^T$. As a sum of squares it keeps its digits where the covariances are alike;
$\operatorname{tr}(Σ + Σ' - 2 (Σ^{1/2} Σ' Σ^{1/2})^{1/2})$, its usual form, does not.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.axes import Axis
from .._core.jacobi import svd
from .gaussians import Gaussians, Pairs, squared_norm


Squares = Float[Array, "_ _ d d"]


def squared_wasserstein(p: Gaussians, q: Gaussians) -> Pairs:
    r"""$W_2^2(p_a, q_b) = |μ_a - μ_b|^2 + B(Σ_a, Σ_b)^2$, in squared units of the
    data."""
    between = squared_norm(p.means - q.means)
    if p.diagonal:
        return between + squared_norm(p.lower - q.lower)
    return between + _squared_bures(p.lower, q.lower)


@jax.custom_jvp
def _squared_bures(a: Squares, b: Squares) -> Pairs:
    return squared_norm(a - linalg.matmul(b, _rotation(b, a)))


@_squared_bures.defjvp
def _squared_bures_jvp(primals, tangents):
    # The envelope theorem: the best rotation does not change to first order, so nothing
    # is divided by differences of singular values, which are zero where the covariances
    # are equal.
    (a, b), (d_a, d_b) = primals, tangents
    rotation = _rotation(b, a)
    residual = a - linalg.matmul(b, rotation)
    change = d_a - linalg.matmul(d_b, rotation)
    axes = (Axis.features, Axis.features_covar)
    tangent = 2 * jnp.sum(residual * change, axis=axes, keepdims=True)
    return squared_norm(residual), tangent


def _rotation(b: Squares, a: Squares) -> Squares:
    """The orthogonal $W$ that brings $b W$ closest to $a$."""
    return _polar(linalg.matmul(linalg.transpose(b), a))


@jax.custom_jvp
def _polar(values: Squares) -> Squares:
    """The orthogonal factor of the polar decomposition."""
    left, _, right = svd(values)
    return linalg.matmul(left, linalg.transpose(right))


@_polar.defjvp
def _polar_jvp(primals, tangents):
    (values,), (d_values,) = primals, tangents
    left, singular, right = svd(values)
    change = linalg.matmul(linalg.transpose(left), d_values)
    change = linalg.matmul(change, right)
    # Sums of singular values, never their differences.
    total = singular[..., :, None] + singular[..., None, :]
    turn = linalg.safe_divide(change - linalg.transpose(change), total)
    back = linalg.transpose(right)
    tangent = linalg.matmul(linalg.matmul(left, turn), back)
    return linalg.matmul(left, back), tangent
