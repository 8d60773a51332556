from typing import Any

from .._core.aliases import check_array, Means, Weights
from .._core.axes import Axis
from .._core.describe import check_instance
from .._covariances import AbstractCovariances, component_sizes


def check_parts(weights: Any, means: Any, covariances: Any) -> None:
    """Raises a `ValueError` unless they can be the fields of one mixture."""
    check_array("weights", weights, Weights)
    check_array("means", means, Means)
    example = "FullCovariances.create(2, 3)"
    check_instance(covariances, AbstractCovariances, "covariances", example)
    _check("weights", weights, means, (Axis.components,))
    for array, axes in component_sizes(covariances):
        _check("covariances", array, means, axes)


def _check(name: str, array: Any, means: Any, axes: tuple[Axis, ...]) -> None:
    for axis in axes:
        if array.shape[axis] != means.shape[axis]:
            raise ValueError(
                f"`{name}` must have as many {axis.name} as `means`, "
                f"{means.shape[axis]}; got {array.shape[axis]}. With all axes their "
                f"shapes are {array.shape} and {means.shape}."
            )
    if array.dtype != means.dtype:
        raise ValueError(
            f"`{name}` and `means` must have the same dtype; got {array.dtype} and "
            f"{means.dtype}."
        )
