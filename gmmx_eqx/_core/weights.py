"""Sample weights, in any unit."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .describe import concrete


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


def balance(weight: Array | None) -> tuple[Array | None, np.ndarray]:
    """Weights whose sums, and whose products with squares, neither overflow nor
    underflow, and the exponent of the power of two that was taken out: of each set of
    them, along the last axis. It is zero, and nothing is changed, unless the largest
    weight is extreme or while tracing."""
    numbers = None if weight is None else concrete(weight)
    if numbers is None:
        return weight, np.zeros((), int)
    exponent = np.frexp(np.max(numbers, axis=-1))[1]
    extreme = np.abs(exponent) > np.finfo(numbers.dtype).maxexp // 4
    exponent = np.where(extreme, exponent, 0)
    if not np.any(extreme):
        return weight, exponent
    return jnp.asarray(np.ldexp(numbers, -exponent[..., None])), exponent


def unbalance(total: Array, exponent: np.ndarray) -> Array:
    """A log-likelihood, or some for each set of weights, in the weights' own unit.

    **Raises:**

    `ValueError` if it cannot be held.
    """
    if not np.any(exponent):
        return total
    exponent = exponent.reshape(exponent.shape + (1,) * (total.ndim - exponent.ndim))
    if isinstance(total, jax.core.Tracer):
        # In two steps: a power of two alone may underflow.
        half = exponent // 2
        for part in (half, exponent - half):
            total = total * jnp.asarray(np.ldexp(1.0, part), total.dtype)
        return total
    # JAX would flush what is subnormal on the way to zero.
    numbers = np.asarray(total)
    scaled = np.ldexp(numbers.astype(np.longdouble), exponent)
    info = np.finfo(numbers.dtype)
    for what, is_lost in (
        ("large", np.abs(scaled) > info.max),
        ("small", (np.abs(scaled) < info.tiny) & (numbers != 0)),
    ):
        if np.any(is_lost & np.isfinite(numbers)):
            raise ValueError(
                f"`sample_weight` is so {what} that the log-likelihood, which is in "
                f"its unit, is too {what} for {numbers.dtype.name}. Divide the weights "
                "by their mean."
            )
    return jnp.asarray(scaled.astype(numbers.dtype))


def log_unit(exponent: Any) -> float:
    """The logarithm of the power of two."""
    return float(exponent) * float(np.log(2))
