import equinox as eqx
import jax.numpy as jnp

from .._core.aliases import Count
from .._core.likes import KeyLike
from .._sources import InMemory
from .abstract import AbstractInitialiser, Partition
from .random_points import RandomPoints
from .scaling import as_scaling, Scaling, ScalingMatrix


class RandomResponsibilities(AbstractInitialiser):
    """Every sample shared among the components, smoothly over the data.

    Responsibilities are those of equal Gaussians, as wide as the data, around randomly
    chosen distinct samples. Drawing them independently for every sample instead would
    give components that all look like the whole data, from where EM hardly moves (and
    with tied covariances not at all).

    **Attributes:**

    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name.
    """

    scaling: Scaling = eqx.field(
        static=True, converter=as_scaling, default=Scaling.auto
    )

    def partition_scaled(
        self,
        source: InMemory,
        scaling: ScalingMatrix,
        n_components: int,
        n_active: Count,
        key: KeyLike,
    ) -> Partition:
        points = RandomPoints(self.scaling)
        hard = points.partition_scaled(source, scaling, n_components, n_active, key)
        one = jnp.ones((), scaling.dtype)
        return Partition(scaling=scaling, centres=hard.centres, softness=one)
