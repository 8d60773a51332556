from typing import Any

import equinox as eqx

from .._core import linalg
from .._sources import InMemory
from .abstract import AbstractInitialiser, Partition
from .scaling import Scaling, scaling_matrix
from .seeding import seed


class RandomPoints(AbstractInitialiser):
    """Each sample to the nearest of randomly chosen distinct samples.

    **Attributes:**

    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name.
    """

    scaling: str = eqx.field(static=True, converter=Scaling, default=Scaling.standard)

    def partition(
        self, source: InMemory, n_components: int, *, key: Any
    ) -> Partition:
        matrix = scaling_matrix(source, self.scaling)
        points = linalg.matmul(matrix, source.columns)
        distinct = lambda distances: (distances > 0).astype(distances.dtype)
        centres = seed(points, source.weights, n_components, 1, distinct, key)
        return Partition(scaling=matrix, centres=centres)
