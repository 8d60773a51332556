"""What users hand in, turned into arrays; what cannot be right is refused here."""

import enum
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .aliases import Data, PerSampleTotal, Samples, SampleWeight
from .arrays import as_numbers as as_numbers
from .axes import Axis
from .describe import concrete as concrete, describe
from .dtypes import (
    check_range as check_range,
    has_type as has_type,
    widest as widest,
)
from .floats import (
    as_float as as_float,
    as_nonnegative as as_nonnegative,
    as_type as as_type,
    common_dtype as common_dtype,
    float_type as float_type,
)
from .known import is_known
from .narrowing import check_narrowing as check_narrowing
from .processes import check_process
from .spread import Spread, spread_of
from .spread_checks import extent, take_rows
from .weights import (
    balance as balance,
    check_weights as check_weights,
    n_positive as n_positive,
    total_weight as total_weight,
)


_Option = TypeVar("_Option", bound=enum.Enum)


def as_data(
    x: Any,
    sample_weight: Any = None,
    *,
    name: str = "x",
    n_features: int | None = None,
    like: Any = None,
    fits: bool = False,
) -> tuple[Data, SampleWeight | None]:
    """The data as `(n_samples, n_features)`, and one weight per sample or `None`.

    **Arguments:**

    - `like`: a mixture, whose type lists of Python's numbers take.
    - `fits`: whether something is to be fitted to the data, for which its spread must
        not be lost in rounding.

    **Raises:**

    `ValueError` if `x` is not two-dimensional, is empty, disagrees with `n_features`,
    or in a sample of positive weight holds NaN, infinity, or a number so large that
    squares overflow; if a weight is negative or not finite, or all are zero.
    """
    given = as_numbers(x, name)
    x = as_type(given, float_type(x, given, like), name)
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
    spread = spread_of(x, name)
    if sample_weight is None:
        if spread is not None:
            _check_spread(x, None, given, spread, name, fits)
            return x, None
        check_numbers(x, name)
        if fits:
            check_narrowing(given, x.dtype, name)
        return x, None
    weight = as_float(sample_weight, "sample_weight", like=x).astype(x.dtype)
    if weight.shape != x.shape[:1]:
        raise ValueError(
            f"`sample_weight` must have one number per sample, shape {x.shape[:1]}; "
            f"got {weight.shape}."
        )
    if not is_known(weight):
        return x, weight
    if spread is not None:
        weight = _as_spread(weight, spread)
    check_weights(weight)
    if spread is not None:
        _check_spread(x, weight, given, spread, name, fits)
        return x, weight
    # A sample of weight zero is not there, whatever it holds.
    weights = concrete(weight)
    present = concrete(x)
    if weights is not None and present is not None:
        check_numbers(present[weights > 0], name)
        if fits:
            check_narrowing(np.asarray(given)[weights > 0], x.dtype, name)
    return x, weight


def check_numbers(x: Any, name: str) -> None:
    """Raises a `ValueError` if a known number is not finite, or so large that squares
    overflow."""
    numbers = concrete(x)
    if numbers is None:
        return
    low, high = float(np.min(numbers)), float(np.max(numbers))
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = np.argwhere(~np.isfinite(numbers))
        raise _not_finite(name, len(bad), numbers.size, bad[0])
    _check_size(max(-low, high), numbers, name)


def _not_finite(name: str, n_bad: int, size: int, first: np.ndarray) -> ValueError:
    return ValueError(
        f"`{name}` must be finite; it holds NaN or infinity in {n_bad} of its "
        f"{size} numbers, the first at {tuple(first.tolist())}. Drop or "
        "impute these samples, or take what is there: `gmmx_eqx.Observed`."
    )


def _check_size(largest: float, numbers: Any, name: str) -> None:
    limit = float(np.sqrt(np.finfo(numbers.dtype).max / 16 / numbers.size))
    if largest > limit:
        raise ValueError(
            f"`{name}` reaches {largest:.3g}, whose square is too large for "
            f"{numbers.dtype.name}: the limit for this many numbers is {limit:.3g}. "
            "Rescale the data."
        )


# Samples of data on several devices that `check_narrowing` looks at.
_LOOKED_AT = 4096


def _check_spread(
    x: Data,
    weight: SampleWeight | None,
    given: Any,
    spread: Spread,
    name: str,
    fits: bool,
) -> None:
    """The same of data on several devices, which stays there."""
    found = extent(x, weight, spread)
    if found.n_bad > 0:
        raise _not_finite(name, int(found.n_bad), x.size, np.asarray(found.first))
    _check_size(max(-float(found.low), float(found.high)), x, name)
    if fits and given.dtype != x.dtype:
        index = np.arange(0, len(x), -(-len(x) // _LOOKED_AT))
        rows = take_rows(given, index, spread)
        if weight is not None:
            rows = rows[take_rows(weight, index, spread) > 0]
        check_narrowing(rows, x.dtype, name)


def _as_spread(weight: SampleWeight, spread: Spread) -> SampleWeight:
    """Weights spread like their samples."""
    if weight.sharding.is_equivalent_to(spread.sharding, 1):
        return weight
    if weight.is_fully_addressable:
        return jax.device_put(np.asarray(weight), spread.sharding)
    return jax.device_put(weight, spread.sharding)


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
    check_process()
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"`{name}` must be an integer; got {describe(value)}.")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1; got {value}.")
    return int(value)


def check_enough_samples(x: Data, weight: Any, n_components: int) -> None:
    """Raises a `ValueError` if there are fewer samples, not counting those of weight
    zero, than components."""
    n_present = None if weight is None else n_positive(weight)
    n_samples = x.shape[0] if n_present is None else n_present
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
