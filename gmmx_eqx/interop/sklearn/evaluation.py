"""What an estimator says of samples, by the programs of its mixture.

NumPy's arrays are handed to the program as they are: to make a mixture of them first
takes longer than most programs run.
"""

import functools as ft
from typing import Any

import jax
import numpy as np

from ..._core import buckets, inputs
from ..._core.axes import Axis
from ..._covariances import AbstractValues, class_of, Family, fields_of
from ..._mixture import densities, padding
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
    if fields is not None or not issubclass(cls, AbstractValues):
        mixture = as_mixture(family, *parameters, fields, dtype)
        return np.array(getattr(mixture, method)(x))
    x = x.astype(dtype, copy=False)
    inputs.check_numbers(x, "X")
    weights, means, arrays = as_parameters(cls, *parameters, fields, dtype)
    rest = buckets.size(len(x)) - len(x)
    filled = np.concatenate([x, np.broadcast_to(x[:1], (rest, x.shape[1]))])
    n_components = means.shape[Axis.components]
    index = np.arange(padding.padded_size(n_components, filled.size))
    index[n_components:] = 0
    is_each = Axis.components not in fields_of(cls)["values"]
    weights = weights.take(index, Axis.components)
    weights[:, n_components:] = 0
    means, values = means.take(index, Axis.components), arrays["values"]
    values = values.take(index, Axis.components) if is_each else values
    mixture = jax.tree.unflatten(_structure(cls), (weights, means, values))
    found = np.array(per_datum(mixture, filled, _FUNCTIONS[method], None))
    found = found[: len(x)]
    return found if found.ndim == 1 else found[:, :n_components]


@ft.cache
def _structure(family: Any) -> Any:
    """That of a mixture, whose leaves are weights, means and the values."""
    values = family.create(1, 1).values_numpy
    mixture = as_mixture(family, np.ones(1), np.zeros((1, 1)), values, None, np.float32)
    return jax.tree.structure(mixture)
