"""The standard normal's cumulative probability, to all digits far out in its tail."""

import jax
import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Array, Bool

from .._core import linalg


@jax.custom_jvp
def log_ndtr(z: Array) -> Array:
    r"""$\log Φ(z)$."""
    far, distant, series = _far(z)
    tail = -0.5 * (distant**2 + linalg.LOG_2PI) + jnp.log(-series / distant)
    return jnp.where(far, tail, special.log_ndtr(jnp.where(far, 0, z)))


@log_ndtr.defjvp
def _log_ndtr_jvp(primals, tangents):
    (z,), (d_z,) = primals, tangents
    return log_ndtr(z), hazard(z) * d_z


def hazard(z: Array) -> Array:
    r"""$\varphi(z) / Φ(z)$."""
    # Far out, the logarithms of the two have lost the digits in which they differ.
    far, distant, series = _far(z)
    near = jnp.where(far, 0, z)
    ratio = jnp.exp(-0.5 * (near**2 + linalg.LOG_2PI) - log_ndtr(near))
    return jnp.where(far, -distant / series, ratio)


def _far(z: Array) -> tuple[Bool[Array, "..."], Array, Array]:
    r"""Where $z$ is so far out on the left that ten terms of
    $s = 1 - 1 / z^2 + 3 / z^4 - 15 / z^6 + …$ give $Φ(z) = -s \varphi(z) / z$ to within
    rounding; such a $z$; and $s$."""
    far = z < (-15 if z.dtype == jnp.float64 else -10)
    distant = jnp.where(far, z, -20)
    inverse = 1 / distant**2
    series = jnp.ones_like(z)
    for odd in range(19, 0, -2):
        series = 1 - odd * inverse * series
    return far, distant, series
