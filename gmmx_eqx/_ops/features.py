from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from .._core import inputs
from .._core.axes import Axis
from .._core.describe import describe
from .._sources import as_choice
from .maps import AbstractMap, Columns, Images


class _Slice(NamedTuple):
    """A slice that can be hashed, which Python's own cannot before 3.12."""

    start: int | None
    stop: int | None
    step: int | None


def _as_indices(indices: Any) -> tuple[int, ...] | _Slice:
    if isinstance(indices, _Slice):
        return indices
    if isinstance(indices, slice):
        return _Slice(indices.start, indices.stop, indices.step)
    wanted = "an integer, a sequence of integers or a slice"
    numbers = inputs.concrete(inputs.as_numbers(indices, "features", wanted=wanted))
    if numbers is None:
        raise ValueError("`features` must be known while tracing: they are a shape.")
    if numbers.size == 0:
        raise ValueError("`features` names no feature.")
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1:
        raise ValueError(
            f"`features` must be {wanted}; got {describe(indices)}. For a mask use "
            "`np.flatnonzero(mask)`."
        )
    return tuple(numbers.reshape(-1).tolist())


class Features(AbstractMap):
    """Some of the features, by their indices: the matrix that selects them.

    **Attributes:**

    - `indices`: an integer, a sequence of integers, or a slice. Negative ones count
        from the end, as in Python. The order is kept.
    """

    indices: tuple[int, ...] | _Slice = eqx.field(static=True, converter=_as_indices)

    def resolve(self, n_features: int) -> "Features":
        """The same with indices from zero on.

        **Raises:**

        `ValueError` if one is out of range or occurs twice, or if there is none.
        """
        if isinstance(self.indices, _Slice):
            chosen = tuple(range(n_features)[slice(*self.indices)])
            if not chosen:
                raise ValueError(
                    f"`features` is a slice with none of the {n_features} features."
                )
            return Features(chosen)
        for index in self.indices:
            if not -n_features <= index < n_features:
                raise ValueError(
                    f"`features` has index {index}, but the mixture has {n_features} "
                    f"features: use 0 ... {n_features - 1}."
                )
        chosen = tuple(index % n_features for index in self.indices)
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"`features` names a feature twice: {self.indices}.")
        return Features(chosen)

    def others(self, n_features: int) -> "Features":
        """The features that are not among these, in their order."""
        rest = sorted(set(range(n_features)) - set(self.resolve(n_features).indices))
        if not rest:
            raise ValueError(
                f"`features` must leave at least one of the {n_features} features; got "
                "all features."
            )
        return Features(rest)

    def __call__(self, x: Columns) -> Images:
        return x[..., np.asarray(self.resolve(x.shape[Axis.features]).indices), :]

    def n_outputs(self, n_features: int) -> int:
        """How many features these are."""
        return len(self.resolve(n_features).indices)

    @property
    def dtype(self) -> None:
        """None: indices go with data of any type."""
        return None

    def astype(self, dtype: np.dtype) -> "Features":
        """The same: indices go with data of any type."""
        del dtype
        return self


def as_features(features: Any, n_features: int) -> Features:
    chosen = features if isinstance(features, Features) else Features(features)
    return chosen.resolve(n_features)


@as_choice.register(Features)
def _(H):
    if isinstance(H.indices, _Slice):
        raise ValueError(
            "`H` must choose features by their indices, not by a slice: it does not "
            "know how many there are."
        )
    return np.array(H.indices)
