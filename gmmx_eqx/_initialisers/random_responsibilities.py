from typing import Any

import equinox as eqx

from .._sources import InMemory
from .abstract import AbstractInitialiser, Partition
from .random_points import RandomPoints
from .scaling import Scaling


class RandomResponsibilities(AbstractInitialiser):
    """Every sample shared among the components, smoothly over the data.

    Responsibilities are those of equal Gaussians, as wide as the data, around randomly
    chosen distinct samples. Drawing them independently for every sample instead would
    give components that all look like the whole data, from where EM hardly moves (and
    with tied covariances not at all).

    **Attributes:**

    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name.
    """

    scaling: str = eqx.field(static=True, converter=Scaling, default=Scaling.standard)

    def partition(
        self, source: InMemory, n_components: int, *, key: Any
    ) -> Partition:
        hard = RandomPoints(self.scaling).partition(source, n_components, key=key)
        return Partition(scaling=hard.scaling, centres=hard.centres, softness=1.0)
