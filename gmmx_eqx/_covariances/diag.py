from typing import ClassVar

from .._core.aliases import DiagValues
from .independent import AbstractIndependent


class DiagCovariances(AbstractIndependent):
    """One variance per component and feature: features are independent within a
    component.

    **Attributes:**

    - `values`: shape `(1, components, features, 1)`, in squared data units.
    """

    values: DiagValues
    type: ClassVar[str] = "diag"
