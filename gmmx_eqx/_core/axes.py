import enum

import jax.numpy as jnp
from jaxtyping import Array, Shaped


class Axis(enum.IntEnum):
    """The one axis order of every internal array.

    Values count from the end, so that `values.shape[Axis.components]` stays right when
    `jax.vmap` has prepended ensemble axes.

    - `batch`: samples.
    - `components`: components of the mixture.
    - `features`: features of the data, the rows of a covariance.
    - `features_covar`: features once more, the columns of a covariance.
    """

    batch = -4
    components = -3
    features = -2
    features_covar = -1


def as_columns(x: Shaped[Array, "n k d m"]) -> Shaped[Array, "m k d n"]:
    """Samples as the columns of one matrix per component, and back.

    In columns they fill the vector units of a processor, so arithmetic on many samples
    should come between two of these.
    """
    return jnp.swapaxes(x, Axis.batch, Axis.features_covar)
