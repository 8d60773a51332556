"""Sample weights, in any unit."""

import math
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from . import spread_checks
from .describe import concrete
from .known import constant
from .spread import Spread, spread_of


# Of one set of weights, or of each: shape `()` or `(sets,)`.
Unit = Float[np.ndarray, "..."]


def check_weights(weight: Array) -> None:
    """Raises a `ValueError` unless the weights, along the last axis, are finite,
    non-negative and not all zero, where they are known."""
    spread = _spread_of(weight)
    if spread is not None:
        _check_spread(weight, spread)
        return
    numbers = concrete(weight)
    if numbers is None:
        return
    bad = np.argwhere(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(bad):
        raise _wrong(numbers[tuple(bad[0])], ", ".join(map(str, bad[0])))
    if not np.all(np.any(numbers > 0, axis=-1)):
        raise _none()


def _spread_of(weight: Array) -> Spread | None:
    # Those of many data sets have two axes, and are looked at on the host.
    return spread_of(weight, "sample_weight") if weight.ndim == 1 else None


def _check_spread(weight: Array, spread: Spread) -> None:
    found = spread_checks.balance(weight, spread)
    if found.first_bad < weight.size:
        raise _wrong(np.asarray(found.bad), int(found.first_bad))
    if found.n_positive == 0:
        raise _none()


def _wrong(weight: Any, place: Any) -> ValueError:
    return ValueError(
        f"`sample_weight` must be finite and non-negative; it is {weight} at {place}."
    )


def _none() -> ValueError:
    return ValueError("`sample_weight` is zero for every sample.")


def n_positive(weight: Array) -> int | None:
    """How many weights are positive, where they are known."""
    spread = _spread_of(weight)
    if spread is not None:
        return int(spread_checks.balance(weight, spread).n_positive)
    numbers = concrete(weight)
    return None if numbers is None else int(np.count_nonzero(numbers))


def total_weight(weight: Array) -> float:
    """The sum of weights that are known."""
    spread = _spread_of(weight)
    if spread is None:
        return float(np.sum(np.asarray(weight)))
    found = spread_checks.balance(weight, spread)
    mean = float(found.largest) * float(found.mean_share)
    return int(found.n_positive) * mean


def balance(weight: Array | None) -> tuple[Array | None, Unit]:
    """Weights whose sums, and whose products with squares, neither overflow nor
    underflow, and the unit that they are in, of each set of them along the last axis.

    The unit is the mean of the positive weights if the largest weight is extreme.
    Otherwise, and while tracing, it is one and nothing is changed.
    """
    one = np.ones((), np.float64)
    spread = None if weight is None else _spread_of(weight)
    if weight is not None and spread is not None:
        return _balance_spread(weight, spread)
    numbers = None if weight is None else concrete(weight)
    if numbers is None:
        return weight, one
    extreme = _is_extreme(np.max(numbers, axis=-1))
    if not np.any(extreme):
        return weight, one
    # By the largest first: sums of float64 may overflow too.
    largest = np.max(numbers, axis=-1, keepdims=True).astype(np.float64)
    share = numbers / largest
    mean = np.mean(share, axis=-1, keepdims=True, where=numbers > 0)
    extreme = extreme[..., None]
    balanced = np.where(extreme, share / mean, numbers).astype(numbers.dtype)
    unit = np.where(extreme, largest * mean, 1.0)[..., 0]
    return constant(balanced), unit


def _is_extreme(largest: Any) -> Any:
    _, exponent = np.frexp(largest)
    return np.abs(exponent) > np.finfo(largest.dtype).maxexp // 4


def _balance_spread(weight: Array, spread: Spread) -> tuple[Array, Unit]:
    found = spread_checks.balance(weight, spread)
    largest = np.asarray(found.largest)
    if not _is_extreme(largest):
        return weight, np.ones((), np.float64)
    mean = np.asarray(found.mean_share)
    unit = largest.astype(np.float64) * mean
    return weight / largest / mean, unit


def unbalance(total: Array, unit: Unit) -> Array:
    """Log-likelihoods in the weights' own unit.

    **Raises:**

    `ValueError` if their type cannot hold them.
    """
    if np.all(unit == 1):
        return total
    unit = unit.reshape(unit.shape + (1,) * (total.ndim - unit.ndim))
    if isinstance(total, jax.core.Tracer):
        # In two steps: the unit itself may be too large or too small.
        root = jnp.asarray(np.sqrt(unit), total.dtype)
        return total * root * root
    # With NumPy: JAX would take a unit that is subnormal for zero.
    numbers = np.asarray(total)
    with np.errstate(all="ignore"):
        scaled = numbers.astype(np.float64) * unit
    info = np.finfo(numbers.dtype)
    known = np.isfinite(numbers) & (numbers != 0)
    for what, is_lost in (
        ("large", np.abs(scaled) > info.max),
        ("small", np.abs(scaled) < info.tiny),
    ):
        if np.any(is_lost & known):
            raise ValueError(
                f"`sample_weight` is so {what} that the log-likelihood, which is in "
                f"its unit, is too {what} for {numbers.dtype.name}. Divide the weights "
                "by their mean."
            )
    return constant(scaled.astype(numbers.dtype))


def log_unit(unit: Unit) -> float:
    return math.log(float(unit))
