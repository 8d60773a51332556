"""What users hand in, turned into arrays; what cannot be right is refused here."""

import enum
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .aliases import Data, PerSampleTotal, Samples, SampleWeight
from .axes import Axis
from .describe import describe


_Option = TypeVar("_Option", bound=enum.Enum)


def concrete(array: Any) -> np.ndarray | None:
    """The array's numbers, or `None` while tracing, when it has none yet."""
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def as_float(value: Any, name: str) -> Float[Array, "..."]:
    """A floating-point JAX array of at least float32.

    Integers and booleans become JAX's default float; float16 and bfloat16 are computed
    in float32, since their squares overflow at 256.
    """
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"`{name}` is not an array of numbers: {error}") from error
        if value.dtype.kind not in "biuf" and value.dtype != jnp.bfloat16:
            raise ValueError(
                f"`{name}` must be numeric; got an array of dtype {value.dtype}."
            )
        _check_range(value, name)
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise ValueError(f"`{name}` must be real; got an array of dtype {value.dtype}.")
    dtype = value.dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = float
    elif jnp.finfo(dtype).bits < 32:
        dtype = jnp.float32
    if isinstance(value, jax.Array):
        return jnp.asarray(value, dtype=dtype)
    # `jnp.asarray` would compile a copy for every shape.
    return jax.device_put(value.astype(jax.dtypes.canonicalize_dtype(dtype)))


def _check_range(value: np.ndarray, name: str) -> None:
    """Raises a `ValueError` if numbers overflow in JAX's type for them."""
    if value.dtype.kind != "f" or not value.size:
        return
    narrow = jax.dtypes.canonicalize_dtype(value.dtype)
    largest = float(np.max(np.abs(value), where=np.isfinite(value), initial=0))
    # As Python floats: comparing with a float32 would round `largest` to an infinity.
    if largest > float(jnp.finfo(narrow).max):
        raise ValueError(
            f"`{name}` reaches {largest:.3g}, too large for {narrow.name}. Rescale it, "
            "or compute in float64: `jax.config.update('jax_enable_x64', True)`."
        )


def as_data(
    x: Any,
    sample_weight: Any = None,
    *,
    name: str = "x",
    n_features: int | None = None,
) -> tuple[Data, SampleWeight | None]:
    """The data as `(n_samples, n_features)`, and one weight per sample or `None`.

    **Raises:**

    `ValueError` if `x` is not two-dimensional, is empty, disagrees with `n_features`,
    or in a sample of positive weight holds NaN, infinity, or a number so large that
    squares overflow; if a weight is negative or not finite, or all are zero.
    """
    x = as_float(x, name)
    if x.ndim != 2:
        hint = {
            1: f"For one sample use `{name}[None, :]`; for one feature, "
            f"`{name}[:, None]`.",
            3: "For many data sets at once use `gmmx_eqx.fit_batch` or "
            "`eqx.filter_vmap`.",
        }.get(x.ndim, "")
        raise ValueError(
            f"`{name}` must have shape (n_samples, n_features); got {x.shape}. {hint}"
        )
    if 0 in x.shape:
        raise ValueError(f"`{name}` is empty: its shape is {x.shape}.")
    if n_features is not None and x.shape[1] != n_features:
        hint = f" Transposed? Use `{name}.T`." if x.shape[0] == n_features else ""
        raise ValueError(
            f"`{name}` has {x.shape[1]} features, but the mixture has {n_features}: "
            f"expected shape (n_samples, {n_features}), got {x.shape}.{hint}"
        )
    if sample_weight is None:
        _check_numbers(x, name)
        return x, None
    weight = as_float(sample_weight, "sample_weight").astype(x.dtype)
    if weight.shape != x.shape[:1]:
        raise ValueError(
            f"`sample_weight` must have one number per sample, shape {x.shape[:1]}; "
            f"got {weight.shape}."
        )
    check_weights(weight)
    # A sample of weight zero is not there, whatever it holds.
    weights = concrete(weight)
    present = concrete(x)
    if weights is not None and present is not None:
        _check_numbers(present[weights > 0], name)
    return x, weight


def check_weights(weight: Array) -> None:
    """Raises a `ValueError` unless the weights, along the last axis, are finite,
    non-negative and not all zero, where they are known."""
    numbers = concrete(weight)
    if numbers is None:
        return
    bad = np.argwhere(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(bad):
        raise ValueError(
            "`sample_weight` must be finite and non-negative; it is "
            f"{numbers[tuple(bad[0])]} at {', '.join(map(str, bad[0]))}."
        )
    if not np.all(np.any(numbers > 0, axis=-1)):
        raise ValueError("`sample_weight` is zero for every sample.")


def _check_numbers(x: Any, name: str) -> None:
    numbers = concrete(x)
    if numbers is None:
        return
    low, high = float(np.min(numbers)), float(np.max(numbers))
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = np.argwhere(~np.isfinite(numbers))
        raise ValueError(
            f"`{name}` must be finite; it holds NaN or infinity in {len(bad)} of its "
            f"{numbers.size} numbers, the first at {tuple(bad[0].tolist())}. Drop or "
            "impute these samples."
        )
    largest = max(-low, high)
    limit = float(np.sqrt(np.finfo(numbers.dtype).max / 16 / numbers.size))
    if largest > limit:
        raise ValueError(
            f"`{name}` reaches {largest:.3g}, whose square is too large for "
            f"{numbers.dtype.name}: the limit for this many numbers is {limit:.3g}. "
            "Rescale the data."
        )


def as_nonnegative(value: Any, name: str) -> Float[Array, ""]:
    """A finite scalar of at least zero, as an array so that sweeps do not recompile."""
    number = concrete(value)
    if number is not None and not (
        number.ndim == 0
        and number.dtype.kind in "iuf"
        and np.isfinite(number)
        and number >= 0
    ):
        shown = value if number.ndim and number.size < 9 else describe(value)
        raise ValueError(
            f"`{name}` must be a finite number of at least zero; got {shown}."
        )
    return jnp.asarray(value, dtype=float)


def as_option(options: type[_Option], value: Any, name: str) -> _Option:
    """A member of an enumeration, from itself or from its name."""
    try:
        return options(value)
    except ValueError:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, map(str, options)))}; got "
            f"{describe(value)}."
        ) from None


def check_finite(array: Array, name: str) -> None:
    """Raises a `ValueError` that says where, if a known number is NaN or infinite."""
    numbers = concrete(array)
    if numbers is None:
        return
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        first = tuple(bad[0].tolist())
        raise ValueError(
            f"`{name}` must be finite; it holds {numbers[first]} at {first}."
        )


def check_count(value: Any, name: str) -> int:
    """A Python integer, which compiled functions take as static, of at least one."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"`{name}` must be an integer; got {describe(value)}.")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1; got {value}.")
    return int(value)


def check_enough_samples(x: Data, weight: Any, n_components: int) -> None:
    """Raises a `ValueError` if there are fewer samples, not counting those of weight
    zero, than components."""
    numbers = None if weight is None else concrete(weight)
    n_samples = x.shape[0] if numbers is None else int(np.count_nonzero(numbers))
    if n_samples < n_components:
        raise ValueError(
            f"`x` must have at least as many samples as there are components, "
            f"{n_components}; got {n_samples}"
            + ("." if weight is None else " of positive weight.")
        )


def as_samples(x: Data) -> Samples:
    """The only door from the user's two axes to the library's four."""
    return jnp.expand_dims(x, (Axis.components, Axis.features_covar))


def as_sample_weights(weight: SampleWeight) -> PerSampleTotal:
    axes = (Axis.components, Axis.features, Axis.features_covar)
    return jnp.expand_dims(weight, axes)


def as_float_like(value: Any, name: str, like: Array) -> Float[Array, "..."]:
    """As `as_float`; a Python number, which has no type of its own, takes that of
    `like`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return as_float(np.asarray(value, like.dtype) if is_number else value, name)


def widest(arrays: list[Any]) -> np.dtype:
    """The widest of some floating-point types, also under strict promotion."""
    return max((a.dtype for a in arrays), key=lambda dtype: jnp.finfo(dtype).bits)


def common_dtype(*trees: Any, also: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """All in the widest of their types, and that of `also`: nothing is narrowed
    unasked."""
    leaves = jax.tree.leaves(eqx.filter(trees, eqx.is_inexact_array))
    dtype = widest([*leaves, *also])
    cast = lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf
    return jax.tree.map(cast, trees)
