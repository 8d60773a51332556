"""Data whose spread is lost in the floating-point type that it is computed in."""

from typing import Any

import jax
import jax.core
import numpy as np
from jaxtyping import Float


_MAX_ROWS, _MAX_NUMBERS, _FEWEST_ROWS = 4096, 2**20, 256
# Within so many roundings of its own numbers a feature is taken for constant.
_OWN_ROUNDINGS = 512
# A spacing below this part of a feature's standard deviation hides nothing that the
# default ridge, a millionth of its variance, leaves to be seen.
_NEGLIGIBLE = 1e-4
# Samples are not told apart if such a share of those nearby lies within one spacing.
# For a normal distribution that is so where its standard deviation is about one spacing
# or less. By the first share alone, the tails of a wider one would look crowded.
_SHARES = ((2, 0.4), (6, 0.3))
_FEWEST = 8


def check_narrowing(given: Any, dtype: np.dtype, name: str) -> None:
    """Raises a `ValueError` if a good part of the samples lie so close together that
    they are not told apart in `dtype`, but were in the type they were handed in.

    **Arguments:**

    - `given`: shape `(n_samples, n_features)`, before it was cast to `dtype`.
    """
    if isinstance(given, jax.core.Tracer) or not _loses_digits(given.dtype, dtype):
        return
    given = np.asarray(given)
    n_samples, n_features = given.shape
    n_rows = min(_MAX_ROWS, max(_FEWEST_ROWS, _MAX_NUMBERS // n_features))
    rows = np.sort(given[:: -(-n_samples // n_rows)], axis=0)
    # Another check refuses what is not finite.
    with np.errstate(all="ignore"):
        # About the smallest: a difference of integers is exact.
        values = (rows - rows[:1]).astype(np.float64)
        ends = rows[[0, -1]].astype(np.float64)
        spacing = np.spacing(np.max(np.abs(ends), axis=0).astype(dtype))
        spacing = spacing.astype(np.float64)
        suspect = spacing > _NEGLIGIBLE * np.std(values, axis=0)
    for feature in np.flatnonzero(suspect):
        of = values[:, feature], spacing[feature]
        place = _crowd(*of, given.dtype, ends[:, feature])
        if place is None:
            continue
        value, spread = place
        raise ValueError(
            f"`{name}` is {given.dtype.name} and computed in {dtype.name}, in which "
            f"samples are not told apart: feature {feature} has many about "
            f"{ends[0, feature] + value:.6g} with a spread of {spread:.3g}, where the "
            f"numbers of {dtype.name} are {spacing[feature]:.3g} apart. Subtract an "
            "offset such as the feature's mean"
            + (
                "."
                if dtype == np.float64
                else ", or compute in float64: `jax.config.update('jax_enable_x64', "
                "True)`."
            )
        )


def _loses_digits(given: Any, dtype: np.dtype) -> bool:
    given = np.dtype(given)
    if given.kind in "iu":
        return 8 * given.itemsize > np.finfo(dtype).nmant
    return given.kind == "f" and given.itemsize > dtype.itemsize


def _crowd(
    values: Float[np.ndarray, " n"], spacing: float, given: np.dtype, ends: Any
) -> tuple[float, float] | None:
    """Where a good part of the sorted values lie within one spacing, and by how much
    those around there spread; `None` if nowhere."""
    n = len(values)
    own = 0.0
    if given.kind == "f":
        own = _OWN_ROUNDINGS * float(np.finfo(given).eps) * float(np.max(np.abs(ends)))
    upper = lambda width: np.searchsorted(values, values + width)
    near = upper(spacing) - np.arange(n)
    differ = values[np.arange(n) + near - 1] - values > own
    crowded = differ & (near >= max(_FEWEST, n / 20))
    for width, share in _SHARES:
        around = upper((1 + width) * spacing) - upper(-width * spacing)
        # By more than chance.
        crowded &= near >= share * around + np.sqrt(around)
    # All samples together may be too few for a crowd.
    crowded |= differ & (near == n)
    if not np.any(crowded):
        return None
    first = int(np.argmax(np.where(crowded, near, 0)))
    inside = np.abs(values - values[first]) < 3 * spacing
    return float(values[first]), float(np.std(values[inside]))
