from collections.abc import Mapping

import numpy as np

from .._core.describe import describe
from .._core.likes import ParametersLike
from .._mixture import GaussianMixture


_NAMES = ("weights", "means", "covariances", "covariance_type")


def to_numpy(mixture: GaussianMixture) -> dict[str, np.ndarray]:
    """The parameters of `mixture` as a dictionary of arrays, for `np.savez` and the
    like.

    **Returns:**

    `weights`, `means` and `covariances` in the shapes of
    `GaussianMixture.from_squeezed`, and `covariance_type`, a string without axes.
    """
    mixture.check_one()
    covariances = mixture.covariances
    # Copies, which may be written to, as JAX's memory may not.
    return {
        "weights": np.array(mixture.weights_numpy),
        "means": np.array(mixture.means_numpy),
        "covariances": np.array(covariances.values_numpy),
        "covariance_type": np.array(str(covariances.type)),
    }


def from_numpy(arrays: ParametersLike) -> GaussianMixture:
    """The mixture of a dictionary as `to_numpy` makes them, or of what `np.load` makes
    of a file of one.

    The numbers are the arrays' own, in their floating-point type. Only where JAX's x64
    mode is off, which it is by default, does float64 become float32.

    **Raises:**

    `ValueError` if a name is missing or unknown, or a value cannot be right.
    """
    if not isinstance(arrays, Mapping):
        raise ValueError(
            "`arrays` must be a dictionary, such as `mixture.to_numpy()`; got "
            f"{describe(arrays)}."
        )
    if set(arrays) != set(_NAMES):
        raise ValueError(
            f"`arrays` must have the names {list(_NAMES)}; got {list(arrays)}."
        )
    covariance_type = np.asarray(arrays["covariance_type"])
    if covariance_type.shape or covariance_type.dtype.kind != "U":
        raise ValueError(
            f"`covariance_type` must be a string; got {arrays['covariance_type']!r}."
        )
    return GaussianMixture.from_squeezed(
        means=arrays["means"],
        covariances=arrays["covariances"],
        weights=arrays["weights"],
        covariance_type=str(covariance_type),
    )
