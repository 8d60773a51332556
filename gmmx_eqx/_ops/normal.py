"""The standard normal's cumulative probability, with derivatives right in its tail."""

import jax
import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Array

from .._core import linalg


@jax.custom_jvp
def log_ndtr(z: Array) -> Array:
    r"""$\log Φ(z)$."""
    return special.log_ndtr(z)


@log_ndtr.defjvp
def _log_ndtr_jvp(primals, tangents):
    (z,), (d_z,) = primals, tangents
    return log_ndtr(z), hazard(z) * d_z


def hazard(z: Array) -> Array:
    r"""$\varphi(z) / Φ(z)$.

    Far out on the left, $\log \varphi$ and $\log Φ$ have lost the digits in which they
    differ. There it is $-z / (1 - 1 / z^2 + 3 / z^4 - 15 / z^6 + …)$.
    """
    # Ten terms are exact to within rounding from here on.
    far = z < (-15 if z.dtype == jnp.float64 else -10)
    near = jnp.where(far, 0, z)
    ratio = jnp.exp(-0.5 * (near**2 + linalg.LOG_2PI) - log_ndtr(near))
    distant = jnp.where(far, z, -20)
    inverse = 1 / distant**2
    series = jnp.ones_like(z)
    for odd in range(19, 0, -2):
        series = 1 - odd * inverse * series
    return jnp.where(far, -distant / series, ratio)
