from typing import ClassVar

from .._core.aliases import PerFeature
from .independent import AbstractIndependent


class TiedDiagCovariances(AbstractIndependent):
    """One variance per feature, shared by all components: mclust's EEI.

    **Attributes:**

    - `values`: shape `(1, 1, features, 1)`, in squared data units.
    """

    values: PerFeature
    type: ClassVar[str] = "tied_diag"
