from typing import Any

from .._core.axes import Axis
from .._core.describe import describe
from .._core.processes import check_process
from .._covariances import as_plain
from .abstract import AbstractGaussianMixture
from .mixture import GaussianMixture


def check_mixtures(value: Any, name: str = "mixture") -> None:
    """Raises a `ValueError` unless `value` is a mixture, or an ensemble of them."""
    check_process()
    if not isinstance(value, AbstractGaussianMixture):
        raise ValueError(
            f"`{name}` must be a mixture, such as a `gmmx_eqx.GaussianMixture`; got "
            f"{describe(value)}."
        )


def check_mixture(value: Any, name: str = "mixture") -> None:
    """Raises a `ValueError` unless `value` is one mixture, rather than an ensemble or
    something else."""
    check_mixtures(value, name)
    n_axes = len(value._means_shape)
    if n_axes != len(Axis):
        raise ValueError(
            f"`{name}` must be one mixture; got an ensemble of them, with leading axes "
            f"{value._means_shape[: -len(Axis)]}. Use `eqx.filter_vmap`."
        )


def as_plain_mixture(value: Any, name: str = "mixture") -> GaussianMixture:
    """The mixture with its parameters as fields and its covariances as values; refuses
    what is not a `GaussianMixture`."""
    check_mixture(value, name)
    if not isinstance(value, GaussianMixture):
        raise ValueError(
            f"`{name}` must be a `gmmx_eqx.GaussianMixture`; got an object of type "
            f"`{type(value).__name__}`. Make one of its weights, means and covariances."
        )
    covariances = as_plain(value.covariances)
    return GaussianMixture(value.weights, value.means, covariances)
