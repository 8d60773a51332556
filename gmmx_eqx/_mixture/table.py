"""How a mixture prints."""

import functools as ft
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from .._core.axes import Axis
from .._core.known import is_on_host
from .._core.table import as_column, ends, GAP, Table
from .._covariances import AbstractCovariances, deviations_numpy
from .abstract import AbstractGaussianMixture


_T = TypeVar("_T")

# Most components and features that are shown, and how many of them are the last ones.
_ROWS, _LAST_ROWS = 12, 3
_COLUMNS, _LAST_COLUMNS = 4, 1
# Most numbers that are copied from an accelerator to be shown.
_COPIED = 2**16


def no_error(fn: Callable[[_T], Table | None]) -> Callable[[_T], Table | None]:
    """A decorator: no table where there would be an error, such as of an array that was
    donated, or whose program failed. What prints must not raise: a debugger calls it.
    """

    @ft.wraps(fn)
    def call(value: _T) -> Table | None:
        try:
            return fn(value)
        except Exception:
            return None

    return call


@no_error
def table_of(mixture: AbstractGaussianMixture) -> Table | None:
    """Weights, means and standard deviations; shapes alone of an ensemble, or of what
    is large and not on the host. `None` of what has no numbers, or numbers that are no
    mixture's, such as a gradient.

    Compiles nothing.
    """
    if not _has_arrays(mixture):
        return None
    leading = mixture.means.shape[: -len(Axis)]
    of = f"ensemble {leading} of " if leading else ""
    head = (
        f"{type(mixture).__name__}: {of}{_count(mixture.n_components, 'component')}, "
        f"{_count(mixture.n_features, 'feature')}, {mixture.covariances.type}, "
        f"{mixture.means.dtype}"
    )
    if leading or not is_cheap(mixture):
        return _of_shapes(head, mixture)
    return _of_numbers(head, mixture)


def has_numbers(tree: Any) -> bool:
    """Whether all leaves are arrays, none of them traced."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: leaf is None)
    known = jax.Array | np.ndarray
    return all(
        isinstance(leaf, known) and not isinstance(leaf, jax.core.Tracer)
        for leaf in leaves
    )


def is_cheap(tree: Any) -> bool:
    """Whether NumPy has the numbers, or can have them by a small copy."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    leaves = [leaf for leaf in leaves if leaf.is_deleted() or not is_on_host(leaf)]
    return sum(leaf.size for leaf in leaves) <= _COPIED


def _has_arrays(mixture: AbstractGaussianMixture) -> bool:
    """Whether shapes and types are a mixture's, which nobody checks of what
    `jax.tree.map` or `eqx.tree_at` make."""
    if not isinstance(mixture.covariances, AbstractCovariances):
        return False
    leaves = jax.tree.leaves(mixture)
    if not has_numbers(mixture) or len({leaf.ndim for leaf in leaves}) != 1:
        return False
    shape = mixture.means.shape
    if len(shape) < len(Axis) or 0 in shape or (shape[-4], shape[-1]) != (1, 1):
        return False
    return mixture.weights.shape == (*shape[:-2], 1, 1) and all(
        jnp.issubdtype(leaf.dtype, np.floating) for leaf in leaves
    )


def _of_shapes(title: str, mixture: AbstractGaussianMixture) -> Table:
    paths, _ = jax.tree_util.tree_flatten_with_path(mixture)
    rows = [
        (jax.tree_util.keystr(path).removeprefix("."), str(leaf.shape))
        for path, leaf in paths
    ]
    return Table((title,), ("array", "shape"), tuple(rows))


def _of_numbers(title: str, mixture: AbstractGaussianMixture) -> Table | None:
    weights, means = mixture.weights_numpy, mixture.means_numpy
    # A gradient, say. A fit that failed may have NaN.
    if np.any(weights < 0) or abs(np.sum(weights.astype(np.float64)) - 1) > 0.01:
        return None
    n_components, n_features = means.shape
    rows = ends(n_components, _ROWS, _LAST_ROWS)
    cells = ["component", *(GAP if k is None else str(k) for k in rows)]
    columns = [cells, _column("weight", weights, rows)]
    columns += _group("mean", means, rows)
    deviations = deviations_numpy(mixture.covariances)
    if deviations is not None:
        deviations = np.squeeze(deviations, (Axis.batch, Axis.features_covar))
        shape = (n_components, deviations.shape[-1])
        columns += _group("sd", np.broadcast_to(deviations, shape), rows)
    head, *body = zip(*columns, strict=True)
    return Table((title,), head, tuple(body))


def _group(name: str, values: np.ndarray, rows: list[int | None]) -> list[list[str]]:
    """A column for each feature, or one for all."""
    n_features = values.shape[1]
    if n_features == 1:
        return [_column(name, values[:, 0], rows)]
    features = ends(n_features, _COLUMNS, _LAST_COLUMNS)
    gap = [GAP] * (len(rows) + 1)
    return [
        gap if i is None else _column(f"{name} {i}", values[:, i], rows)
        for i in features
    ]


def _column(name: str, values: np.ndarray, rows: list[int | None]) -> list[str]:
    shown = as_column(values[[k for k in rows if k is not None]].astype(np.float64))
    numbers = iter(shown)
    return [name, *(GAP if k is None else next(numbers) for k in rows)]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
