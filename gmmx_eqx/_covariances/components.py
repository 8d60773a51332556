"""Covariances of some components, of more of them, or of two kinds.

Functions of every field that has an entry for each component. A field that serves all
components, which its annotation says, stays as it is.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._core.axes import Axis
from .fields import fields_of, is_shared


_Covariances = TypeVar("_Covariances", bound=eqx.Module)


def is_tied(covariances: eqx.Module | type[eqx.Module]) -> bool:
    """Whether one covariance serves all components."""
    family = covariances if isinstance(covariances, type) else type(covariances)
    return is_shared(family, Axis.components)


def has_features_alike(covariances: eqx.Module) -> bool:
    """Whether all features have the same variance."""
    return is_shared(type(covariances), Axis.features)


def map_components(
    fn: Callable[[Array], Any], covariances: _Covariances
) -> _Covariances:
    """`fn` of every field that has an entry for each component."""
    leaves, structure = jax.tree.flatten(covariances)
    pairs = zip(leaves, fields_of(type(covariances)).values(), strict=True)
    # Not from the fields, whose check refuses those of an ensemble.
    mapped = [leaf if Axis.components in axes else fn(leaf) for leaf, axes in pairs]
    return jax.tree.unflatten(structure, mapped)


def take_components(covariances: _Covariances, index: Any) -> _Covariances:
    """The covariances of some components.

    **Arguments:**

    - `index`: anything that indexes an axis and keeps it, such as a slice or an array.
    """
    return map_components(lambda leaf: leaf[..., index, :, :], covariances)


def repeat_components(covariances: _Covariances, repeats: int) -> _Covariances:
    """Every component `repeats` times, one copy after the other."""
    return map_components(
        lambda leaf: jnp.repeat(leaf, repeats, Axis.components), covariances
    )


def tile_components(covariances: _Covariances, repeats: int) -> _Covariances:
    """All components, `repeats` times over."""
    return map_components(lambda leaf: jnp.tile(leaf, (repeats, 1, 1)), covariances)


def where_components(mask: Array, yes: _Covariances, no: _Covariances) -> _Covariances:
    """`yes` for the components of the mask, `no` for the others. What serves all
    components is that of `yes` if the mask has any.

    **Arguments:**

    - `mask`: shape `(1, components or 1, 1, 1)`.
    """
    any_of_them = jnp.any(mask, axis=Axis.components, keepdims=True)
    changed = {}
    for name, axes in fields_of(type(yes)).items():
        flag = any_of_them if Axis.components in axes else mask
        changed[name] = jnp.where(flag, getattr(yes, name), getattr(no, name))
    return dataclasses.replace(yes, **changed)


def component_sizes(
    covariances: eqx.Module,
) -> list[tuple[Array, tuple[Axis, ...]]]:
    """Every field, and along which of the axes of components and features it is as long
    as a mixture's means."""
    fields = fields_of(type(covariances))
    both = (Axis.components, Axis.features)
    return [
        (getattr(covariances, name), tuple(axis for axis in both if axis not in axes))
        for name, axes in fields.items()
    ]
