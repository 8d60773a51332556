"""Fits of many data sets, shared out among the cores."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int

from .._core import buckets
from .._core.aliases import Count
from .._core.known import constant, is_on_host, put_like
from .._core.programs import starts_program
from .._core.threads import map_in_threads, n_cores, settings
from .fit_many import fit_sets, Share
from .progress import Ticket
from .random_starts import RandomStarts
from .solution import Solution


# Each share fills the lanes of its program at least so many times.
_FEWEST_ROUNDS = 2
# Of more numbers in the largest arrays of a program, XLA keeps several cores busy by
# itself, and each share would need as much memory.
_LARGEST = 2**22

# What was called before, and is compiled.
_CALLED: set[Any] = set()


def fit_sets_in_shares(
    fits: RandomStarts,
    xs: Array,
    weights: Array | None,
    key: Any,
    n_restarts: int,
    n_active: Count,
    n_sets: int,
    ticket: Ticket | None = None,
    labels: Int[Array, "sets batch"] | None = None,
) -> Solution:
    """`fit_sets` of the first `n_sets` data sets, a share of them for each core, if no
    progress is to be reported.

    The arrays of many small fits are too small for XLA to divide between cores, so a
    program keeps one of them busy. Here the same program runs in several threads, each
    with sets of its own.
    """
    n_shares = 1
    given = (fits, xs, weights, key, n_active, labels)
    if ticket is None and _is_small(fits, xs) and _is_on_one_cpu(given):
        most = len(xs) * n_restarts // (_FEWEST_ROUNDS * fits.width)
        n_shares = max(min(n_cores(), most), 1)
    size = -(-len(xs) // n_shares)
    n_shares = -(-len(xs) // size)
    # Padding alone is nobody's share.
    n_used = -(-n_sets // size)
    if n_shares == 1:
        used = constant(n_sets * n_restarts)
        args = key, n_restarts, n_active, used
        return fit_sets(fits, xs, weights, *args, ticket, labels)

    def fit_share(number: int) -> Solution:
        first = number * size
        take = lambda leaf: _rows(leaf, first, size)
        own_xs, own_weights, own_labels, gathered = jax.tree.map(
            take, (xs, weights, labels, fits.gathered)
        )
        own = eqx.tree_at(
            lambda f: f.gathered, fits, gathered, is_leaf=lambda leaf: leaf is None
        )
        used = constant(min(n_sets - first, size) * n_restarts)
        share = Share(constant(number), n_shares)
        args = key, n_restarts, n_active, used, None, own_labels, share
        return fit_sets(own, own_xs, own_weights, *args)

    parts: list[Solution] = []
    kind = _kind((n_shares, n_restarts, given))
    if kind not in _CALLED:
        # It compiles, which several threads would each do.
        parts.append(fit_share(0))
        _CALLED.add(kind)
    rest = range(len(parts), n_used)
    parts += map_in_threads(fit_share, rest, max(len(rest), 1))
    return jax.tree.map(_joined, *parts)


def _is_small(fits: RandomStarts, xs: Array) -> bool:
    return fits.width * fits.n_components * xs.size <= _LARGEST * len(xs)


def _is_on_one_cpu(tree: Any) -> bool:
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    # Elsewhere programs call LAPACK as for other devices; see `lapack`.
    is_default = jax.default_backend() == "cpu"
    return is_default and starts_program(tree) and len({*map(_devices, arrays)}) == 1


def _devices(array: jax.Array) -> frozenset[Any]:
    return frozenset(array.devices())


def _rows(array: Array, first: int, size: int) -> Array:
    """Some of the rows, filled up with copies of the first of them."""
    # In NumPy, which compiles nothing.
    rows = put_like(np.asarray(array)[first : first + size], array)
    return buckets.fill_rows(rows, size)


def _joined(*parts: Array) -> Array:
    if not is_on_host(parts[0]):
        return jax.numpy.concatenate(parts)
    return put_like(np.concatenate([np.asarray(part) for part in parts]), parts[0])


def _kind(args: Any) -> tuple[Any, ...]:
    """What a program is compiled for."""
    leaves, structure = jax.tree.flatten(args)
    kind = lambda leaf: (leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf
    return (structure, *map(kind, leaves), *sorted(settings().items()))
