"""What the annotations of a family's fields say about their axes.

A size that a field always has is written in its annotation, such as `components=1` for
one that serves all components. Nothing else has to say so again.
"""

import dataclasses
import functools as ft
from typing import Any

from .._core.axes import Axis


@ft.cache
def fields_of(family: type) -> dict[str, frozenset[Axis]]:
    """Axes that always have size one, for each array field of a family.

    **Raises:**

    `TypeError` if a field is not annotated as an array of four axes.
    """
    found = {}
    for field in dataclasses.fields(family):
        if field.metadata.get("static", False):
            continue
        found[field.name] = _axes_of_size_one(family, field.name, field.type)
    return found


def _axes_of_size_one(family: type, name: str, annotation: Any) -> frozenset[Axis]:
    dimensions = getattr(annotation, "dim_str", "").split()
    if len(dimensions) != len(Axis):
        raise TypeError(
            f"`{family.__name__}.{name}` must be annotated as an array with the axes "
            "(batch, components, features, features_covar), such as `Float[Array, "
            '"batch=1 components features features_covar=1"]`; got '
            f"{annotation!r}."
        )
    pairs = zip(Axis, dimensions, strict=True)
    return frozenset(axis for axis, size in pairs if size.split("=")[-1] == "1")


def is_shared(family: type, axis: Axis) -> bool:
    """Whether no field of the family is longer than one along the axis."""
    return all(axis in axes for axes in fields_of(family).values())


def annotation_of(family: type, name: str) -> Any:
    """Annotation of a field."""
    (field,) = (field for field in dataclasses.fields(family) if field.name == name)
    return field.type
