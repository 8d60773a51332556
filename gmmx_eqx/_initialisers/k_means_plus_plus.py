import equinox as eqx

from .._core import linalg
from .._core.aliases import Count
from .._core.likes import KeyLike
from .._sources import InMemory
from .abstract import AbstractInitialiser, Partition
from .scaling import as_scaling, Scaling, ScalingMatrix
from .seeding import greedy_trials, max_trials, seed


class KMeansPlusPlus(AbstractInitialiser):
    """Each sample to the nearest of centres that are samples far from each other.

    Greedy k-means++: every centre is the best of `2 + log(n_components)` candidates.

    **Attributes:**

    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name.

    ??? cite "Reference"

        Arthur, Vassilvitskii (2007), k-means++: The Advantages of Careful Seeding.
        SODA, 1027-1035.
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
        by_distance = lambda distances: distances
        centres = seed(
            points,
            source.weights,
            n_components,
            n_active,
            max_trials(n_components),
            by_distance,
            key,
            n_used=greedy_trials(n_active),
        )
        return Partition(scaling=scaling, centres=centres)
