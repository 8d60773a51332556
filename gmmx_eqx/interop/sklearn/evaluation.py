"""Predictions and densities of an estimator, by the programs of its mixture.

The programs get NumPy's arrays as they are: making a mixture of them first would take
longer than most programs run.
"""

import dataclasses
import functools as ft
from typing import Any

import jax
import numpy as np

from ..._core import buckets, inputs
from ..._core.axes import Axis
from ..._covariances import AbstractValues, class_of, Family, fields_of
from ..._mixture import densities, GaussianMixture, padding
from ..._mixture.abstract import per_datum
from .arrays import as_mixture, as_parameters


_FUNCTIONS = {
    "log_prob": densities.log_prob,
    "predict": densities.predict,
    "predict_proba": densities.predict_proba,
}


def evaluate(
    method: str,
    family: Family,
    parameters: tuple[Any, Any, Any],
    fields: dict[str, np.ndarray] | None,
    x: np.ndarray,
    dtype: Any,
) -> np.ndarray:
    """What a method of a mixture returns for complete data.

    **Arguments:**

    - `parameters`: weights, means and covariances, as scikit-learn holds them.
    - `fields`: of a family that is not one array.
    """
    cls: Any = class_of(family)
    if _is_plain(cls):
        arrays = as_parameters(cls, *parameters, fields, dtype)
        if _has_shapes_for(cls, *arrays, x):
            return _of_arrays(method, cls, *arrays, x)
    # It explains what is wrong, if anything is.
    mixture = as_mixture(family, *parameters, fields, dtype)
    return np.array(getattr(mixture, method)(x))


@ft.cache
def _is_plain(cls: Any) -> bool:
    """Whether a family is one array and nothing else."""
    if not issubclass(cls, AbstractValues):
        return False
    return [field.name for field in dataclasses.fields(cls)] == ["values"]


def _has_shapes_for(
    cls: Any, weights: np.ndarray, means: np.ndarray, arrays: Any, x: np.ndarray
) -> bool:
    """Whether the parameters are those of one mixture of the data's features."""
    k, d = means.shape[Axis.components], x.shape[1]
    own = fields_of(cls)["values"]
    values = tuple(
        1 if axis in own else size
        for axis, size in zip(Axis, (1, k, d, d), strict=True)
    )
    shapes = weights.shape, means.shape, arrays["values"].shape
    return shapes == ((1, k, 1, 1), (1, k, d, 1), values)


def _of_arrays(
    method: str,
    cls: Any,
    weights: np.ndarray,
    means: np.ndarray,
    arrays: dict[str, np.ndarray],
    x: np.ndarray,
) -> np.ndarray:
    inputs.check_numbers(x, "X")
    rest = buckets.size(len(x)) - len(x)
    repeated = np.broadcast_to(x[:1], (rest, x.shape[1]))
    filled = np.concatenate([x, repeated]) if rest else x
    n_components = means.shape[Axis.components]
    index = np.arange(padding.padded_size(n_components, filled.size))
    index[n_components:] = 0
    weights = weights.take(index, Axis.components)
    weights[:, n_components:] = 0
    means, values = means.take(index, Axis.components), arrays["values"]
    if Axis.components not in fields_of(cls)["values"]:
        values = values.take(index, Axis.components)
    mixture = jax.tree.unflatten(_structure(cls), (weights, means, values))
    # What a user may have forbidden is JAX's own transfers, not those of this call.
    with jax.transfer_guard_host_to_device("allow"):
        found = per_datum(mixture, filled, _FUNCTIONS[method], None)
    known = np.asarray(found)[: len(x)]
    return np.array(known if known.ndim == 1 else known[:, :n_components])


@ft.cache
def _structure(cls: Any) -> Any:
    """The tree structure of a mixture, whose leaves are weights, means and values."""
    one = np.ones((1, 1, 1, 1), np.float32)
    weights, means, values = jax.device_put((one, one, one))
    return jax.tree.structure(GaussianMixture(weights, means, cls(values=values)))
