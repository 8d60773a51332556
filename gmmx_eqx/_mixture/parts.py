from typing import Any

from .._core.aliases import check_array, Means, Weights
from .._core.axes import Axis
from .._core.describe import check_instance
from .._covariances import AbstractCovariances


def check_parts(weights: Any, means: Any, covariances: Any) -> None:
    """Raises a `ValueError` unless they can be the fields of one mixture."""
    check_array("weights", weights, Weights)
    check_array("means", means, Means)
    example = "FullCovariances.create(2, 3)"
    check_instance(covariances, AbstractCovariances, "covariances", example)
    parts = {"weights": weights, "covariances": covariances.values}
    for name, part in parts.items():
        shared = (Axis.features,) if name == "weights" else ()
        shared = shared or covariances.shared_axes
        for axis in {Axis.components, Axis.features} - set(shared):
            if part.shape[axis] != means.shape[axis]:
                raise ValueError(
                    f"`{name}` must have as many {axis.name} as `means`, "
                    f"{means.shape[axis]}; got {part.shape[axis]}. With all "
                    f"axes their shapes are {part.shape} and {means.shape}."
                )
        if part.dtype != means.dtype:
            raise ValueError(
                f"`{name}` and `means` must have the same dtype; got {part.dtype} "
                f"and {means.dtype}."
            )
