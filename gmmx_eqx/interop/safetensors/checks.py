"""Whether arrays can be what a file says they are."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._core import linalg
from ..._core.aliases import Flag
from ..._core.axes import Axis
from ..._covariances import (
    AbstractCholesky,
    AbstractCovariances,
    CHOLESKY,
    fields_of,
    has_matrices,
)
from ..._mixture import GaussianMixture
from .files import Arrays


PARAMETERS = ("weights", "means", "covariances")
COUNTS = ("n_steps",)
SOLUTION = ("log_likelihood", "mean_log_likelihood", "log_likelihoods", *COUNTS)
NAMES: dict[str, tuple[str, ...]] = {
    "mixture": PARAMETERS,
    "solution": (*PARAMETERS, *SOLUTION, "result"),
    "population": (*PARAMETERS, *SOLUTION, "result", "n_turns"),
}
_INTEGERS = (*COUNTS, "result", "n_turns")


class WrongContent(ValueError):
    """Of arrays or metadata that no version of `save` writes."""


def names_of(family: type[AbstractCovariances]) -> dict[str, str]:
    """The name of the array for each field of the covariances."""
    fields = list(fields_of(family))
    if fields == ["values"]:
        return {"values": "covariances"}
    if issubclass(family, AbstractCholesky):
        return {name: name for name in fields}
    return {name: f"covariances.{name}" for name in fields}


def held_as(family: type[AbstractCovariances], arrays: Arrays) -> Any:
    """The class of the covariances that the arrays are the fields of."""
    factored = CHOLESKY.get(family)
    is_factored = factored is not None and set(names_of(factored).values()) <= set(
        arrays
    )
    return factored if is_factored else family


def check_arrays(
    arrays: Arrays, kind: str, family: type[AbstractCovariances], dtype: str
) -> tuple[int, ...]:
    """The leading axes of the ensemble, or an error if names, types or shapes
    are wrong."""
    own = names_of(family)
    names = [name for name in NAMES[kind] if name != "covariances"]
    names += own.values()
    if set(arrays) != set(names):
        raise WrongContent(
            f"its arrays are {sorted(arrays)}; those of a {kind} are {sorted(names)}."
        )
    means = arrays["means"]
    if means.ndim < len(Axis) or 0 in means.shape:
        raise WrongContent(
            f"its `means` have shape {means.shape}; expected (..., 1, components, "
            "features, 1)."
        )
    *lead, _, k, d, _ = means.shape
    # Of another length along the last axis the family knows more than we do.
    sizes = {Axis.components: k, Axis.features: d, Axis.features_covar: None}
    size = lambda axes, axis: 1 if axis in axes else sizes[axis]
    shapes = {
        "weights": (*lead, 1, k, 1, 1),
        "means": (*lead, 1, k, d, 1),
        **{
            own[name]: (*lead, 1, *(size(axes, axis) for axis in sizes))
            for name, axes in fields_of(family).items()
        },
        "log_likelihoods": (*lead, None),
        "n_turns": tuple(lead[:-1]),
    }
    for name, array in arrays.items():
        shape = shapes.get(name, tuple(lead))
        if array.ndim != len(shape) or any(
            want not in (None, got)
            for want, got in zip(shape, array.shape, strict=True)
        ):
            raise WrongContent(
                f"its `{name}` has shape {array.shape}; expected {shape}, with `means` "
                f"of shape {means.shape}."
            )
        wanted = ("int32", "int64") if name in _INTEGERS else (dtype,)
        if array.dtype.name not in wanted:
            raise WrongContent(
                f"its `{name}` has dtype {array.dtype.name}; expected "
                f"{' or '.join(wanted)}."
            )
    if kind == "population" and not lead:
        raise WrongContent("it is a population without an axis of lanes.")
    return tuple(lead)


def check_parameters(mixture: GaussianMixture, required: np.ndarray) -> None:
    """Raises an error unless the mixtures that are `required` to have densities,
    one flag for each of an ensemble, do."""
    axes = tuple(Axis)
    weights, means = np.asarray(mixture.weights), np.asarray(mixture.means)
    total = np.sum(weights, axes, dtype=np.float64)
    # To half of the digits: whoever made them may have added in another order.
    tolerance = float(np.finfo(weights.dtype).eps) ** 0.5
    flat = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[-len(Axis) :]), mixture.covariances
    )
    # Comparisons that are false of NaN.
    sound = {
        "`weights` are not non-negative numbers whose sum is one": (
            np.all(weights >= 0, axes) & (np.abs(total - 1) <= tolerance)
        ),
        "`means` are not finite": np.all(np.isfinite(means), axes),
        "`covariances` are not symmetric and positive definite": (
            np.reshape(_are_sound(flat), required.shape)
        ),
    }
    for problem, good in sound.items():
        bad = np.argwhere(required & ~good)
        if len(bad):
            where = (
                f" in mixture {', '.join(map(str, bad[0]))}" if required.ndim else ""
            )
            raise WrongContent(f"its {problem}{where}.")


def _is_sound(covariances: AbstractCovariances) -> Flag:
    # As the library computes it, not stricter: a fit to working precision must pass.
    whitening = covariances.whitening(covariances.n_features)
    finite = jnp.all(jnp.isfinite(whitening.log_det))
    for leaf in jax.tree.leaves(covariances):
        finite = finite & jnp.all(jnp.isfinite(leaf))
    family = type(covariances)
    if "values" not in fields_of(family) or not has_matrices(family):
        return finite
    dense = covariances.dense(covariances.n_features)
    scale = jnp.sqrt(linalg.diagonal_of(dense))
    transpose = lambda matrix: jnp.swapaxes(matrix, -1, -2)
    rounding = 100 * float(jnp.finfo(dense.dtype).eps)
    symmetric = jnp.abs(dense - transpose(dense)) <= rounding * scale * transpose(scale)
    return finite & jnp.all(symmetric)


_are_sound = eqx.filter_jit(jax.vmap(_is_sound))
