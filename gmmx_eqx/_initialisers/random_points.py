import equinox as eqx

from .._core import linalg
from .._core.aliases import Count
from .._core.likes import KeyLike
from .._sources import InMemory
from .abstract import AbstractInitialiser, Partition
from .scaling import as_scaling, Scaling, ScalingMatrix
from .seeding import seed


class RandomPoints(AbstractInitialiser):
    """Each sample to the nearest of randomly chosen distinct samples.

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
        points = linalg.matmul(scaling, source.columns)
        distinct = lambda distances: (distances > 0).astype(distances.dtype)
        centres = seed(points, source.weights, n_components, n_active, 1, distinct, key)
        return Partition(scaling=scaling, centres=centres)
