from typing import ClassVar

from jaxtyping import Array, Float

from .independent import AbstractIndependent


class TiedSphericalCovariances(AbstractIndependent):
    """One variance for all components and features: mclust's EII.

    Neither number is stored here (`n_components` and `n_features` are 1): the means
    know them.

    **Attributes:**

    - `values`: shape `(1, 1, 1, 1)`, in squared data units.
    """

    values: Float[Array, "batch=1 components=1 features=1 features_covar=1"]
    type: ClassVar[str] = "tied_spherical"
