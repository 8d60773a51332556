"""Data of the estimator of which values are missing, or that is noisy."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..._core import inputs
from ..._core.aliases import SampleWeight
from ..._core.dtypes import survey
from ..._sources import Observed


def as_plain(X: Any) -> Any:
    """Data in which NaN stands for what is masked or `NA`; scikit-learn does the same
    for data frames."""
    is_masked = isinstance(X, np.ma.MaskedArray)
    if is_masked or (isinstance(X, list | tuple) and survey(X).special):
        return np.asarray(inputs.as_numbers(X, "X", missing=True))
    return X


def is_complete(x: np.ndarray, noise: Any) -> bool:
    """Whether every value is there, without noise."""
    return noise is None and not np.any(np.isnan(x))


def as_observed(
    x: np.ndarray, noise: Any, weight: SampleWeight | None = None
) -> Observed:
    """**Raises:**

    `ValueError` if the noise cannot be right.
    """
    with in_words():
        if noise is not None:
            noise = np.asarray(inputs.as_numbers(noise, "R"))
            noise = noise.astype(x.dtype)
        return Observed(x, R=noise, sample_weight=weight)


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Errors of `Observed` in the names of the estimator's arguments."""
    try:
        yield
    except ValueError as error:
        message = str(error).replace("`R`", "`noise`").replace("`y`", "`X`")
        raise ValueError(message) from None
