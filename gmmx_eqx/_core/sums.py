"""Sums over samples whose rounding errors do not grow with their number.

A matrix product may add all of its terms one after the other. In float32, ten thousand
of them then cost as many digits as a correlation of .9999 leaves.
"""

import operator
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


_Monoid = TypeVar("_Monoid")

# Samples that are added one after the other. Fewer take longer, and are hardly better:
# errors of many parts cancel.
_PART = 256
# At most so many parts are products of their own in a program, each of which has to
# be compiled.
_MAX_SLICES = 8
# Rounding errors of so many terms, added one after the other, are those of one or two.
_FEW_TERMS = 64


def n_parts(n_samples: int) -> int:
    """The number of parts to take, of equal length."""
    return -(-n_samples // _PART)


def split(x: Float[Array, "... n"], parts: int) -> Float[Array, "... parts length"]:
    """The last axis in parts of equal length, the last one padded with zeros."""
    padding = -x.shape[-1] % parts
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)])
    return padded.reshape(*x.shape[:-1], parts, -1)


def slices(n_samples: int, smallest: int = _PART) -> list[slice]:
    """Slices of the samples, for parts that are worth a product each."""
    parts = min(_MAX_SLICES, -(-n_samples // smallest))
    size = -(-n_samples // parts)
    return [slice(begin, begin + size) for begin in range(0, n_samples, size)]


def pairwise(terms: list[_Monoid]) -> _Monoid:
    """The sum of the terms, by halves."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return jax.tree.map(operator.add, pairwise(terms[:half]), pairwise(terms[half:]))


def pairwise_along(x: Array, axis: int) -> Array:
    """The sum along an axis, by halves: XLA's own adds one number after the other."""
    while (size := x.shape[axis]) > 1:
        half = size // 2
        first, second, rest = jnp.split(x, [half, 2 * half], axis)
        x = (
            jnp.concatenate([first + second, rest], axis)
            if size % 2
            else first + second
        )
    return jnp.squeeze(x, axis)


class Total(eqx.Module):
    """A sum of PyTrees that come one after the other.

    ??? cite "Reference"

        Knuth (1997), The Art of Computer Programming 2, section 4.2.2, theorem B.
    """

    value: PyTree
    # What rounding has taken from it so far; nothing if there are few terms.
    lost: PyTree | None

    @classmethod
    def zero(cls, shapes: PyTree, n_terms: int) -> "Total":
        """The sum of no terms, for `n_terms` of given shapes and types."""
        zeros = lambda: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return cls(zeros(), zeros() if n_terms > _FEW_TERMS else None)

    def add(self, term: PyTree) -> "Total":
        value = jax.tree.map(operator.add, self.value, term)
        if self.lost is None:
            return Total(value, None)
        return Total(value, jax.tree.map(_lost, self.lost, self.value, term, value))

    @property
    def result(self) -> PyTree:
        if self.lost is None:
            return self.value
        return jax.tree.map(operator.add, self.value, self.lost)


def _lost(lost: Array, total: Array, term: Array, new: Array) -> Array:
    # Its derivative is zero.
    total, term, new = jax.lax.stop_gradient((total, term, new))
    share = new - total
    return lost + ((total - (new - share)) + (term - share))
