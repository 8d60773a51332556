"""Families of independent features whose components share volume or shape."""

from typing import ClassVar

from .._core.aliases import DiagValues, Values, Weights
from .parsimonious import (
    AbstractParsimoniousDiagonals,
    mean_square,
    normalised,
    pooled,
    volume,
)


class VEICovariances(AbstractParsimoniousDiagonals):
    r"""One shape for all components, of variable volume: $Σ_k = λ_k A$, with diagonal
    $A$.

    **Attributes:**

    - `values`: shape `(1, components, features, 1)`, in squared data units.
    """

    values: DiagValues
    type: ClassVar[str] = "VEI"

    def _improved(self, scatter: Values, share: Weights) -> Values:
        shape = pooled(scatter / volume(self.values), share)
        _, shape = normalised(shape)
        return mean_square(scatter / shape) * shape


class EVICovariances(AbstractParsimoniousDiagonals):
    r"""One volume for all components, of variable shape: $Σ_k = λ A_k$, with diagonal
    $A_k$.

    **Attributes:**

    - `values`: shape `(1, components, features, 1)`, in squared data units.
    """

    values: DiagValues
    type: ClassVar[str] = "EVI"
    _has_closed_form: ClassVar[bool] = True

    def _improved(self, scatter: Values, share: Weights) -> Values:
        volumes, shapes = normalised(scatter)
        return pooled(volumes, share) * shapes
