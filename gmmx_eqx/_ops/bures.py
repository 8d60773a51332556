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
from .._core.polar import polar
from .._core.triangular import inverse_lower
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
    product = linalg.matmul(linalg.transpose(b), a)
    return polar(product, jax.lax.stop_gradient(_smallest(b, a)))


def _smallest(b: Squares, a: Squares) -> Pairs:
    """Lower bound on the singular values of $b^T a$: the product of those of both."""
    # Together, so that there is one loop in the program.
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (b, a)]
    inverses = inverse_lower(jnp.concatenate(flat))
    bounds = jax.lax.rsqrt(jnp.sum(inverses**2, axis=(1, 2), keepdims=True))
    n_b = len(flat[0])
    return jnp.multiply(
        bounds[:n_b].reshape(*b.shape[:2], 1, 1),
        bounds[n_b:].reshape(*a.shape[:2], 1, 1),
    )
