"""Families of matrices whose components share their orientation."""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import FullValues, Values, Weights
from .._core.axes import Axis
from .._core.jacobi import (
    Axes,
    better_axes,
    common_axes,
    diagonal_in,
    eigh,
    from_axes,
    in_axes,
    rotation,
)
from .parsimonious import (
    AbstractParsimoniousMatrices,
    normalised,
    pooled,
)


# How often all pairs of axes are turned in one M-step.
_N_SWEEPS = 2


class AbstractCommonAxes(AbstractParsimoniousMatrices):
    """Family whose components share their orientation, of variable shape.

    ??? cite "Reference"

        Flury (1984), Common Principal Components in k Groups. Journal of the American
        Statistical Association 79(388), 892-898.

        Browne, McNicholas (2014), Estimating Common Principal Components in High
        Dimensions. Advances in Data Analysis and Classification 8(2), 217-226.
    """

    values: FullValues

    @property
    def axes(self) -> Axes:
        """The axes that all components share, as columns, in any order."""
        share = jnp.ones_like(self.values[..., :1, :1])
        axes = common_axes(self.values, share)
        return linalg.matmul(axes, _diagonalising(in_axes(self.values, axes), share))

    @abc.abstractmethod
    def _variances(self, along: Values, share: Weights) -> Values:
        """The most likely variances in known axes, from those of the samples."""

    def _first(self, scatter: Values, share: Weights) -> Values:
        _, axes = eigh(pooled(scatter, share))
        return from_axes(self._variances(diagonal_in(scatter, axes), share), axes)

    def _improved(self, scatter: Values, share: Weights) -> Values:
        return _improved(self, scatter, share)


class EVECovariances(AbstractCommonAxes):
    r"""One volume and orientation for all components, of variable shape: $Σ_k = λ D A_k
    D^T$.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "EVE"

    def _variances(self, along: Values, share: Weights) -> Values:
        volumes, shapes = normalised(along)
        return pooled(volumes, share) * shapes


class VVECovariances(AbstractCommonAxes):
    r"""One orientation for all components, of variable volume and shape: $Σ_k = λ_k D
    A_k D^T$.

    **Attributes:**

    - `values`: shape `(1, components, features, features)`, in squared data units.
    """

    values: FullValues
    type: ClassVar[str] = "VVE"

    def _variances(self, along: Values, share: Weights) -> Values:
        del share
        return along


@jax.custom_jvp
def _improved(family: AbstractCommonAxes, scatter: Values, share: Weights) -> Values:
    def sweep(_, carry):
        axes, variances = carry
        axes = better_axes(scatter, axes, share, variances)
        return axes, family._variances(diagonal_in(scatter, axes), share)

    axes = common_axes(family.values, share)
    carry = (axes, diagonal_in(family.values, axes))
    axes, variances = jax.lax.fori_loop(0, _N_SWEEPS, sweep, carry)
    return from_axes(variances, axes)


@_improved.defjvp
def _(primals, tangents):
    """Those of one step of Newton's method in every plane of two axes, which has the
    same fixed points."""
    family, _, share = primals
    axes = common_axes(family.values, share)

    def smooth(family, scatter, share):
        before, scatter = in_axes(family.values, axes), in_axes(scatter, axes)
        turn = _diagonalising(before, share)
        scatter = in_axes(scatter, turn)
        more = rotation(_towards(scatter, diagonal_in(before, turn), share))
        variances = family._variances(diagonal_in(scatter, more), share)
        turn = linalg.matmul(turn, more)
        return from_axes(variances, linalg.matmul(axes, turn))

    _, change = jax.jvp(smooth, primals, tangents)
    return _improved(*primals), change


def _diagonalising(values: Values, share: Weights) -> Axes:
    """The rotation to the axes in which matrices that commute are diagonal, and that
    nearly are so: to third order, so that its derivatives are right."""
    first = rotation(_turn(values, share))
    return linalg.matmul(first, rotation(_turn(in_axes(values, first), share)))


def _turn(values: Values, share: Weights) -> Values:
    """The angles to the axes in which matrices that nearly are diagonal become so."""
    # It cancels.
    size = jnp.abs(jax.lax.stop_gradient(values))
    size = jnp.max(size, axis=(-1, -2), keepdims=True)
    values = jnp.where(share > 0, values / jnp.where(size > 0, size, 1), 0)
    gap = _gap(linalg.diagonal_of(values))
    across, curvature = (
        jnp.sum(x, axis=Axis.components, keepdims=True) for x in (gap * values, gap**2)
    )
    return _ratio(across, curvature)


def _towards(scatter: Values, variances: Values, share: Weights) -> Values:
    """The angles to the most likely axes."""
    gap = share * _gap(1 / variances)
    across, curvature = (
        jnp.sum(x, axis=Axis.components, keepdims=True)
        for x in (gap * scatter, gap * _gap(linalg.diagonal_of(scatter)))
    )
    return _ratio(across, curvature)


def _gap(diagonal: Values) -> Values:
    """The element of the column minus that of the row."""
    return linalg.transpose(diagonal) - diagonal


def _ratio(across: Values, curvature: Values) -> Values:
    # No axes are better than others where all components have equal variances.
    flat = curvature == 0
    return jnp.where(flat, 0, across / jnp.where(flat, 1, curvature))
