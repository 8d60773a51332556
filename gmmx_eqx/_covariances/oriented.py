"""Families of matrices whose components have orientations of their own, or share shape
and orientation."""

from typing import ClassVar

import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import FullValues, Values, Weights
from .._core.axes import Axis
from .._core.cholesky import inverse_cholesky
from .._core.jacobi import eigh, from_axes
from .parsimonious import (
    AbstractParsimoniousMatrices,
    mean_square,
    normalised,
    pooled,
    volume,
)


class VEECovariances(AbstractParsimoniousMatrices):
    r"""One shape and orientation for all components, of variable volume: $Σ_k = λ_k D A
    D^T$.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "VEE"

    def _improved(self, scatter: Values, share: Weights) -> Values:
        _, form = normalised(pooled(scatter / volume(self.values), share))
        u = inverse_cholesky(form)
        squares = jnp.sum(linalg.matmul(scatter, u) * u, Axis.features, keepdims=True)
        return jnp.mean(squares, Axis.features_covar, keepdims=True) * form


class EVVCovariances(AbstractParsimoniousMatrices):
    r"""One volume for all components, of variable shape and orientation: $Σ_k = λ D_k
    A_k D_k^T$.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "EVV"
    _has_closed_form: ClassVar[bool] = True

    def _improved(self, scatter: Values, share: Weights) -> Values:
        volumes, forms = normalised(scatter)
        return pooled(volumes, share) * forms


class EEVCovariances(AbstractParsimoniousMatrices):
    r"""One volume and shape for all components, of variable orientation: $Σ_k = λ D_k A
    D_k^T$.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "EEV"
    _has_closed_form: ClassVar[bool] = True

    def _improved(self, scatter: Values, share: Weights) -> Values:
        variances, axes = eigh(scatter)
        return from_axes(
            jnp.broadcast_to(pooled(variances, share), variances.shape), axes
        )


class VEVCovariances(AbstractParsimoniousMatrices):
    r"""One shape for all components, of variable volume and orientation: $Σ_k = λ_k D_k
    A D_k^T$.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "VEV"

    def _improved(self, scatter: Values, share: Weights) -> Values:
        # In ascending order, as those of the shape then are: no other order of the axes
        # is more likely.
        variances, axes = eigh(scatter)
        _, shape = normalised(pooled(variances / volume(self.values), share))
        return from_axes(mean_square(variances / shape) * shape, axes)
