"""Sample weights, in any unit."""

import math

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .describe import concrete
from .known import constant


# Of one set of weights, or of each: shape `()` or `(sets,)`.
Unit = Float[np.ndarray, "..."]


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


def balance(weight: Array | None) -> tuple[Array | None, Unit]:
    """Weights whose sums, and whose products with squares, neither overflow nor
    underflow, and the unit that they are in, of each set of them along the last axis.

    The unit is the mean of the positive weights if the largest weight is extreme.
    Otherwise, and while tracing, it is one and nothing is changed.
    """
    one = np.ones((), np.float64)
    numbers = None if weight is None else concrete(weight)
    if numbers is None:
        return weight, one
    _, exponent = np.frexp(np.max(numbers, axis=-1))
    extreme = np.abs(exponent) > np.finfo(numbers.dtype).maxexp // 4
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
