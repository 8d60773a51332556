"""Which component each sample belongs to, where that is known."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from . import buckets
from .aliases import Labels, SampleWeight, Weights
from .arrays import as_numbers
from .describe import concrete
from .known import constant


# The label of a sample whose component is not known.
UNKNOWN = -1


def as_labels(labels: Any, n_samples: int, name: str = "labels") -> Array | np.ndarray:
    """Integers, one for each sample.

    **Raises:**

    `ValueError` for anything else.
    """
    labels = as_numbers(labels, name, wanted="integers")
    is_integer = jnp.issubdtype(labels.dtype, jnp.integer)
    if labels.shape != (n_samples,) or not is_integer:
        raise ValueError(
            f"`{name}` must be integers, one per sample, shape ({n_samples},); got "
            f"dtype {labels.dtype} and shape {labels.shape}."
        )
    return labels


def check_labels(
    labels: Array | np.ndarray, n_components: int, name: str = "labels"
) -> None:
    """Raises a `ValueError` unless known labels are numbers of components, or -1."""
    numbers = concrete(labels)
    if numbers is None:
        return
    low, high = int(np.min(numbers)), int(np.max(numbers))
    if low < UNKNOWN or high >= n_components:
        raise ValueError(
            f"`{name}` must lie in 0 ... {n_components - 1}, or be {UNKNOWN} where a "
            f"sample's component is not known; they span {low} ... {high}."
        )


def as_known(
    labels: Any, n_samples: int, n_components: int, name: str = "labels"
) -> Labels:
    """Labels of samples that a mixture is fitted to, of which some may be -1.

    **Raises:**

    `ValueError` for what cannot be right.
    """
    labels = as_labels(labels, n_samples, name)
    check_labels(labels, n_components, name)
    numbers = concrete(labels)
    if numbers is None:
        return jnp.asarray(labels, np.int32)
    return constant(numbers, np.int32)


def check_occupied(
    labels: Labels | np.ndarray,
    weight: SampleWeight | np.ndarray | None,
    weights: Weights,
) -> None:
    """Raises a `ValueError` if a sample that counts is known to belong to a component
    of the start whose weight is zero, where its density would be zero."""
    numbers, of_components = concrete(labels), concrete(weights)
    present = np.ones(1) if weight is None else concrete(weight)
    if numbers is None or of_components is None or present is None:
        return
    counted = numbers[(numbers >= 0) & (present > 0)]
    empty = counted[of_components.reshape(-1)[counted] == 0]
    if empty.size:
        raise ValueError(
            f"`labels` gives samples to component {int(empty[0])}, whose weight is "
            "zero in the start. Give it a weight, or make the start with "
            "`gmmx_eqx.GaussianMixture.from_labels`."
        )


def check_none(labels: Any) -> None:
    """Raises a `ValueError` if there are labels, beside data that cannot have them."""
    if labels is not None:
        raise ValueError(
            "`labels` are for samples of which every feature is known: not for "
            "`gmmx_eqx.Observed` or beside a `background`."
        )


def fill(labels: Labels, n_samples: int) -> Int[Array, " filled"]:
    """With labels for padded samples, which do not count."""
    return buckets.fill_rows(labels, n_samples, float(UNKNOWN))


def fill_sets(
    labels: Int[Array, "sets batch"], n_sets: int, n_samples: int
) -> Int[Array, "filled_sets filled"]:
    """The same of many data sets, those that do not count like the first."""
    filled = buckets.fill_rows(labels, n_samples, float(UNKNOWN), axis=1)
    return buckets.fill_rows(filled, n_sets)
