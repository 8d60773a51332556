from typing import ClassVar

from .._core.aliases import SphericalValues
from .independent import AbstractIndependent


class SphericalCovariances(AbstractIndependent):
    """One variance per component, the same for all features.

    The number of features is not stored here (`n_features` is 1): the means know it.

    **Attributes:**

    - `values`: shape `(1, components, 1, 1)`, in squared data units.
    """

    values: SphericalValues
    type: ClassVar[str] = "spherical"
