"""What a file holds: mixtures, solutions and populations as named arrays, and back."""

import dataclasses
import json
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._core import linalg
from ..._core.aliases import Flag
from ..._core.axes import Axis
from ..._core.programs import program
from ..._core.results import number, RESULTS, STATUSES
from ..._covariances import (
    AbstractCovariances,
    CHOLESKY,
    class_of,
    covariance_class,
    fields_of,
)
from ..._fit import Population, Solution
from ..._mixture import GaussianMixture
from .files import Arrays, DTYPES, Metadata


Content: TypeAlias = GaussianMixture | Solution | Population
_KINDS = {"mixture": GaussianMixture, "solution": Solution, "population": Population}

# By the names of their arrays.
_SOLUTION = {
    "log_likelihood": "log_likelihood",
    "mean_log_likelihood": "mean_log_likelihood",
    "log_likelihoods": "objectives",
    "n_steps": "n_steps",
}
# Of fits with a prior alone.
_OPTIONAL = "log_prior"
_INTEGERS = ("n_steps", "result", "n_turns")
# The statuses that come with a mixture that has a density.
_VALID = (STATUSES.index("successful"), STATUSES.index("max_steps_reached"))


class WrongContent(ValueError):
    """Of arrays or metadata that no version of `save` writes."""


def take_apart(what: Any) -> tuple[Arrays, Metadata]:
    """The arrays of a mixture, a solution or a population, and what they do not say."""
    kind = next((kind for kind, cls in _KINDS.items() if isinstance(what, cls)), None)
    if kind is None:
        raise ValueError(
            "it must be a `GaussianMixture`, a `Solution` or a `Population`; got a "
            f"`{type(what).__qualname__}`. For other modules there is "
            "`equinox.tree_serialise_leaves`."
        )
    arrays, metadata, part = {}, {"kind": kind}, what
    if isinstance(part, Population):
        arrays["n_turns"], metadata["width"] = part.n_turns, str(part.width)
        part = part.solutions
    if isinstance(part, Solution):
        arrays |= {own: getattr(part, name) for own, name in _SOLUTION.items()}
        if part.log_prior is not None:
            arrays[_OPTIONAL] = part.log_prior
        arrays["result"] = number(part.result).astype(np.int32)
        part = part.mixture
    covariances, family = part.covariances, type(part.covariances)
    if _forms(covariances.type).get(family.__name__) is not family:
        raise ValueError(
            f"its family, `{family.__qualname__}`, is not the one that is registered "
            f"as {str(covariances.type)!r}. Register it with "
            "`gmmx_eqx.extend.register_covariance`."
        )
    static = {name: getattr(covariances, name) for name in _static_fields(family)}
    for name, value in static.items():
        if not isinstance(value, int | float | str):
            raise ValueError(
                f"its covariances have {value!r} in the static field `{name}`; a file "
                "has only numbers and strings there."
            )
    metadata |= {
        "covariance_type": str(covariances.type),
        "covariance_class": family.__name__,
        "covariance_static": json.dumps(static),
        "dtype": part.means.dtype.name,
    }
    arrays |= {"weights": part.weights, "means": part.means}
    arrays |= {own: getattr(covariances, name) for own, name in _names(family).items()}
    return {n: np.asarray(array, order="C") for n, array in arrays.items()}, metadata


def put_together(
    arrays: Arrays, metadata: Metadata, dtype: np.dtype | None = None
) -> Content:
    """The opposite of `take_apart`.

    **Raises:**

    `ValueError` if anything is missing, or cannot be right.
    """
    if metadata.get("version") == "1":
        arrays, metadata = _from_version_1(arrays, metadata)
    kind = _known("kind", metadata.get("kind", ""), tuple(_KINDS))
    stored = _known("dtype", metadata.get("dtype", ""), DTYPES)
    forms = _forms(metadata.get("covariance_type", ""))
    name = metadata.get("covariance_class", "")
    family = forms[_known("covariance class", name, tuple(forms))]
    static = _static_values(metadata.get("covariance_static", ""), family)
    lead = _check_arrays(arrays, kind, family, stored)
    wanted = np.dtype(stored) if dtype is None else dtype
    leaves = {name: _as_jax(name, array, wanted) for name, array in arrays.items()}

    def build(leaves: dict[str, Array]) -> Any:
        fields = {name: leaves[own] for own, name in _names(family).items()}
        covariances = family(**fields, **static)
        mixture = GaussianMixture(leaves["weights"], leaves["means"], covariances)
        if kind == "mixture":
            return mixture
        result: Any = jax.tree.map(lambda _: leaves["result"], RESULTS.successful)
        own = {name: leaves[own] for own, name in _SOLUTION.items()}
        prior = leaves.get(_OPTIONAL)
        return Solution(mixture=mixture, result=result, log_prior=prior, **own)

    n_turns = leaves.pop("n_turns", None)
    try:
        built = _mapped(build, lead)(leaves)
    except (TypeError, ValueError) as error:
        raise WrongContent(
            f"its `covariances` are refused by their family: {error}"
        ) from error
    valid = np.isin(arrays["result"], _VALID) if kind != "mixture" else True
    mixture = built if kind == "mixture" else built.mixture
    _check_parameters(mixture, np.broadcast_to(valid, lead), lead)
    if kind != "population":
        return built
    width = metadata.get("width", "")
    if not (width.isascii() and width.isdigit() and int(width) > 0):
        raise WrongContent(f"its width is {width!r}; expected a positive number.")
    gather = lambda solutions, n_turns: Population(solutions, n_turns, int(width))
    return _mapped(gather, lead[1:])(built, n_turns)


def _from_version_1(arrays: Arrays, metadata: Metadata) -> tuple[Arrays, Metadata]:
    # It had names of their own for two fields, and nothing about the class.
    moved = {"covariances": "values", "scale_tril": "scale_tril"}
    moved = {name: f"covariances.{field}" for name, field in moved.items()}
    arrays = {moved.get(name, name): array for name, array in arrays.items()}
    first, *more = _forms(metadata.get("covariance_type", "")).items()
    fits = [name for name, form in more if set(_names(form)) <= set(arrays)]
    added = {"covariance_class": [*fits, first[0]][0], "covariance_static": "{}"}
    return arrays, {**metadata, **added}


def _mapped(fn: Any, lead: tuple[int, ...]) -> Any:
    for _ in lead:
        fn = jax.vmap(fn)
    return fn


def _known(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise WrongContent(f"its {what} is {value!r}; known are {list(known)}.")
    return value


def _forms(covariance_type: str) -> dict[str, type[AbstractCovariances]]:
    """The classes whose covariances are of a type, by name."""
    family = class_of(covariance_class(covariance_type))
    forms = (family, CHOLESKY.get(family))
    return {form.__name__: form for form in forms if form is not None}


def _names(family: type[AbstractCovariances]) -> dict[str, str]:
    """The array fields of a family, by the names of their arrays."""
    return {f"covariances.{name}": name for name in fields_of(family)}


def _static_fields(family: type[AbstractCovariances]) -> list[str]:
    arrays = fields_of(family)
    return [
        field.name for field in dataclasses.fields(family) if field.name not in arrays
    ]


def _static_values(text: str, family: type[AbstractCovariances]) -> dict[str, Any]:
    names = _static_fields(family)
    try:
        static = json.loads(text)
    except ValueError:
        static = None
    if not isinstance(static, dict) or set(static) != set(names):
        raise WrongContent(f"its static fields are {text!r}; expected {names}.")
    return static


def _check_arrays(
    arrays: Arrays, kind: str, family: type[AbstractCovariances], dtype: str
) -> tuple[int, ...]:
    """The leading axes of the ensemble, or an error if names, types or shapes
    are wrong."""
    own = _names(family)
    names = ["weights", "means", *own]
    names += [] if kind == "mixture" else [*_SOLUTION, "result"]
    names += ["n_turns"] if kind == "population" else []
    optional = set() if kind == "mixture" else {_OPTIONAL}
    if set(arrays) - optional != set(names):
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
    shapes = {"log_likelihoods": (*lead, None), "n_turns": tuple(lead[:-1])}
    shapes |= {"weights": (*lead, 1, k, 1, 1), "means": (*lead, 1, k, d, 1)}
    for array_name, name in own.items():
        ones = fields_of(family)[name]
        own_sizes = (1 if axis in ones else size for axis, size in sizes.items())
        shapes[array_name] = (*lead, 1, *own_sizes)
    for name, array in arrays.items():
        shape = shapes.get(name, tuple(lead))
        pairs = zip(shape, array.shape, strict=False)
        if array.ndim != len(shape) or any(w not in (None, g) for w, g in pairs):
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
    code = arrays.get("result", np.zeros(0))
    if not np.all((code >= 0) & (code < len(STATUSES))):
        raise WrongContent(
            f"its `result` must lie in 0 ... {len(STATUSES) - 1}; it spans "
            f"{code.min()} ... {code.max()}."
        )
    if kind == "population" and not lead:
        raise WrongContent("it is a population without an axis of lanes.")
    return tuple(lead)


def _as_jax(name: str, array: np.ndarray, dtype: np.dtype) -> Array:
    wanted = dtype if array.dtype.kind == "f" else array.dtype
    own = jax.dtypes.canonicalize_dtype(wanted)
    if array.dtype.kind == "f" and own != wanted:
        raise ValueError(
            "it is to be float64, and JAX's x64 mode is off. Call "
            '`jax.config.update("jax_enable_x64", True)` first, or round to float32 '
            'with `dtype="float32"`.'
        )
    # What overflows becomes infinite, and is refused with the parameters.
    with np.errstate(over="ignore"):
        cast = array.astype(own)
    if array.dtype.kind != "f" and np.any(cast != array):
        raise ValueError(
            f"its `{name}` is too large for {own.name}. Call "
            '`jax.config.update("jax_enable_x64", True)` first.'
        )
    return jnp.asarray(cast)


def _check_parameters(
    mixture: GaussianMixture, required: np.ndarray, lead: tuple[int, ...]
) -> None:
    """Raises an error unless the mixtures that are `required` to have densities,
    one flag for each of an ensemble, do."""
    weights, means = np.asarray(mixture.weights), np.asarray(mixture.means)
    axes = tuple(Axis)
    total = np.sum(weights, axes, dtype=np.float64)
    # To half of the digits: whoever made them may have added in another order.
    tolerance = float(np.finfo(weights.dtype).eps) ** 0.5
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[len(lead) :]), mixture)
    # Comparisons that are false of NaN.
    sound = {
        "`weights` are not non-negative numbers whose sum is one": (
            np.all(weights >= 0, axes) & (np.abs(total - 1) <= tolerance)
        ),
        "`means` are not finite": np.all(np.isfinite(means), axes),
        "`covariances` are not symmetric and positive definite": (
            np.reshape(_are_sound(flat), lead)
        ),
    }
    for problem, good in sound.items():
        bad = np.argwhere(required & ~good)
        if len(bad):
            where = f" in mixture {', '.join(map(str, bad[0]))}" if lead else ""
            raise WrongContent(f"its {problem}{where}.")


def _is_sound(mixture: GaussianMixture) -> Flag:
    # As the library computes it, not stricter: a fit to working precision must pass.
    covariances, d = mixture.covariances, mixture.n_features
    leaves = [covariances.whitening(d).log_det, *jax.tree.leaves(covariances)]
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    # Matrices that are made of fewer numbers may be too large to be looked at.
    if covariances.n_components * d**2 > sum(leaf.size for leaf in leaves[1:]):
        return finite
    dense = covariances.dense(d)
    scale = jnp.sqrt(linalg.diagonal_of(dense))
    rounding = 100 * float(jnp.finfo(dense.dtype).eps)
    gap = jnp.abs(dense - linalg.transpose(dense))
    return finite & jnp.all(gap <= rounding * scale * linalg.transpose(scale))


_are_sound = program()(jax.vmap(_is_sound))
