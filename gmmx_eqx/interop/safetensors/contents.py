"""What a file holds: mixtures, solutions and populations as named arrays, and back."""

import functools as ft
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._core.results import RESULTS
from ..._covariances import AbstractCholesky, class_of, covariance_class
from ..._fit import Population, Solution
from ..._mixture import GaussianMixture
from .checks import (
    check_arrays,
    check_parameters,
    held_as,
    NAMES,
    names_of,
    SOLUTION,
    WrongContent,
)
from .files import Arrays, DTYPES, Metadata


Content: TypeAlias = GaussianMixture | Solution | Population

# A status is a number in the file. That of the library may change with its version.
_STATUSES = (
    "successful",
    "max_steps_reached",
    "nonfinite",
    "component_collapsed",
    "too_few_samples",
    "component_unresolved",
)
_ITEMS = np.stack([jax.tree.leaves(getattr(RESULTS, name))[0] for name in _STATUSES])
# These come with a mixture that has a density.
_VALID = (0, 1)


@ft.singledispatch
def to_arrays(what: Any) -> Arrays:
    """The arrays of a mixture, a solution or a population, by name."""
    raise ValueError(
        "it must be a `GaussianMixture`, a `Solution` or a `Population`; got a "
        f"`{type(what).__qualname__}`. For other modules there is "
        "`equinox.tree_serialise_leaves`."
    )


@to_arrays.register(GaussianMixture)
def _(mixture: GaussianMixture) -> Arrays:
    covariances = mixture.covariances
    own = held = type(covariances)
    if isinstance(covariances, AbstractCholesky):
        own = covariances.family
    if covariance_class(covariances.type) is not own:
        raise ValueError(
            f"its family, `{own.__qualname__}`, is not the one that is "
            f"registered as {str(covariances.type)!r}. Register it with "
            "`gmmx_eqx.register_covariance`."
        )
    leaves = {
        "weights": mixture.weights,
        "means": mixture.means,
        **{name: getattr(covariances, field) for field, name in names_of(held).items()},
    }
    return {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}


@to_arrays.register(Solution)
def _(solution: Solution) -> Arrays:
    own = {name: np.asarray(getattr(solution, name), order="C") for name in SOLUTION}
    item = np.asarray(jax.tree.leaves(solution.result)[0])
    result = np.argmax(item[..., None] == _ITEMS, axis=-1)
    return {
        **to_arrays(solution.mixture),
        **own,
        "result": np.asarray(result, np.int32),
    }


@to_arrays.register(Population)
def _(population: Population) -> Arrays:
    own = {"n_turns": np.asarray(population.n_turns)}
    return {**to_arrays(population.solutions), **own}


def metadata_of(what: Content) -> Metadata:
    """What the arrays do not say."""
    metadata, part = {}, what
    if isinstance(part, Population):
        metadata["width"] = str(part.width)
        part = part.solutions
    mixture = part.mixture if isinstance(part, Solution) else part
    return {
        **metadata,
        "kind": type(what).__name__.lower().removeprefix("gaussian"),
        "covariance_type": str(mixture.covariances.type),
        "dtype": mixture.means.dtype.name,
    }


def from_arrays(
    arrays: Arrays, metadata: Metadata, dtype: np.dtype | None = None
) -> Content:
    """The opposite of `to_arrays` and `metadata_of`.

    **Raises:**

    `ValueError` if anything is missing, or cannot be right.
    """
    kind = metadata.get("kind", "")
    if kind not in NAMES:
        raise WrongContent(f"its kind is {kind!r}; known are {list(NAMES)}.")
    stored = metadata.get("dtype", "")
    if stored not in DTYPES:
        raise WrongContent(f"its dtype is {stored!r}; known are {DTYPES}.")
    family = class_of(covariance_class(metadata.get("covariance_type", "")))
    held = held_as(family, arrays)
    lead = check_arrays(arrays, kind, held, stored)
    leaves = _leaves(arrays, np.dtype(stored) if dtype is None else dtype)
    n_turns = leaves.pop("n_turns", None)

    def build(leaves: dict[str, Array]) -> Any:
        covariances = held(
            **{field: leaves[name] for field, name in names_of(held).items()}
        )
        mixture = GaussianMixture(
            weights=leaves["weights"],
            means=leaves["means"],
            covariances=covariances,
        )
        if kind == "mixture":
            return mixture
        result: Any = jax.tree.map(lambda _: leaves["result"], RESULTS.successful)
        numbers = {name: leaves[name] for name in SOLUTION}
        return Solution(mixture=mixture, result=result, **numbers)

    required = np.ones(lead, bool)
    if kind != "mixture":
        required = np.asarray(np.isin(arrays["result"], _VALID))
    for _ in lead:
        build = jax.vmap(build)
    try:
        built = build(leaves)
    except (TypeError, ValueError) as error:
        raise WrongContent(
            f"its `covariances` are refused by their family: {error}"
        ) from error
    check_parameters(built if kind == "mixture" else built.mixture, required)
    if kind != "population":
        return built
    assert n_turns is not None
    width = metadata.get("width", "")
    if not (width.isascii() and width.isdigit() and int(width) > 0):
        raise WrongContent(f"its width is {width!r}; expected a positive number.")
    gather = lambda solutions, n_steps: Population(solutions, n_steps, int(width))
    for _ in lead[1:]:
        gather = jax.vmap(gather)
    return gather(built, n_turns)


def _leaves(arrays: Arrays, dtype: np.dtype) -> dict[str, Array]:
    if dtype == np.float64 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            "it is to be float64, and JAX's x64 mode is off. Call "
            '`jax.config.update("jax_enable_x64", True)` first, or round to float32 '
            'with `dtype="float32"`.'
        )
    if "result" in arrays:
        code = arrays["result"]
        if not np.all((code >= 0) & (code < len(_ITEMS))):
            raise WrongContent(
                f"its `result` must lie in 0 ... {len(_ITEMS) - 1}; it spans "
                f"{code.min()} ... {code.max()}."
            )
        arrays = {**arrays, "result": np.asarray(_ITEMS[code])}
    return {name: _as_jax(name, array, dtype) for name, array in arrays.items()}


def _as_jax(name: str, array: np.ndarray, dtype: np.dtype) -> Array:
    if array.dtype.kind == "f":
        # What overflows becomes infinite, and is refused with the parameters.
        with np.errstate(over="ignore"):
            return jnp.asarray(array.astype(dtype))
    own = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    if np.any(own != array):
        raise ValueError(
            f"its `{name}` is too large for {own.dtype.name}. Call "
            '`jax.config.update("jax_enable_x64", True)` first.'
        )
    return jnp.asarray(own)
