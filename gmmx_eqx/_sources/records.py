"""Samples of which not everything is known, as an E-step reads them."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .._core import linalg, sums
from .._core.aliases import PerFeature, Scalar
from .._core.cholesky import inverse_cholesky
from .abstract import AbstractFacts
from .layout import Layout
from .observed import Observed


_Monoid = TypeVar("_Monoid", bound=PyTree)


class Record(eqx.Module):
    """Some of the samples, about the pivot, with samples on the last axis.

    **Attributes:**

    - `values`: what was seen, shape `(outputs, batch)`; zero where it was not.
    - `weights`: shape `(batch,)`. Padding has weight zero.
    - `present`: what was seen, shape `(outputs, batch)`, or `None` if all was.
    - `operator`: $H$, shape `(outputs, features, batch)`, or `None` for the identity.
    - `noise`: $R$, shape `(outputs, outputs, batch)`, or its diagonal, `(outputs, 1,
        batch)`; or `None` for none.
    - `log_background`: of every sample, in nats, or `None`.

    Of size one on the last axis is what all samples share.
    """

    values: Float[Array, "*blocks m n"]
    weights: Float[Array, "*blocks n"]
    present: Bool[Array, "*blocks m _"] | None
    operator: Float[Array, "*blocks m d _"] | None
    noise: Float[Array, "*blocks m _ _"] | None
    log_background: Float[Array, "*blocks n"] | None

    @property
    def is_group(self) -> bool:
        """Whether the samples share all but their values."""
        parts = (self.present, self.operator, self.noise)
        return all(part is None or part.shape[-1] == 1 for part in parts)


class Records(AbstractFacts):
    """All samples, block after block.

    **Attributes:**

    - `blocks`: what each block has of its own, with a leading axis of blocks.
    - `shared`: what all samples share.
    - `pivot`, `variances`, `resolution`, `total`: see
        [`gmmx_eqx.extend.AbstractFacts`][].
    - `counted`: the weight of the samples of which anything was seen.
    - `slack`: variances of independent noise that is a part of all noise, shape
        `(1, 1, features, 1)`; zero without such a part, and `None` without noise.
    """

    blocks: Record
    shared: Record
    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar
    counted: Scalar
    slack: PerFeature | None

    @classmethod
    def create(
        cls,
        observed: Observed,
        layout: Layout,
        n_features: int,
        log_background: Float[Array, " n"] | None = None,
        is_fitted: bool = True,
    ) -> "Records":
        """From samples and their layout, inside of a program.

        **Arguments:**

        - `is_fitted`: whether a fit asks for facts; the pivot is zero otherwise.
        """
        y = observed.y
        n, m = y.shape
        dtype = y.dtype
        weight = observed.sample_weight
        weight = jnp.ones(n, dtype) if weight is None else weight
        # Found while tracing, a negative weight can only become a status.
        weight = jnp.where(weight < 0, jnp.nan, weight)
        present = ~jnp.isnan(y)
        y = jnp.where(present, y, 0)
        operator = _operator(observed, n_features)
        noise = _noise(observed)
        weighted = jnp.where(present, weight[:, None], 0)
        pivot = variances = largest = jnp.zeros(n_features, dtype)
        if is_fitted:
            pivot, variances, largest = _facts(y, weighted, operator, n_features)
        eps = float(jnp.finfo(dtype).eps)
        values = jnp.where(present, y - _seen(operator, pivot), 0)
        counted = jnp.where(jnp.any(present, axis=1), weight, 0)
        place = _placed(layout, n)
        first = lambda array: array[..., :1] if layout.rows is not None else array
        mask = first(place(present)) if layout.misses else None
        own_operator, all_operator = _divided(operator, place, first)
        own_noise, all_noise = _divided(noise, place, first)
        keep = place(jnp.ones(n, bool)) if layout.real is None else layout.real
        blocks = Record(
            values=place(values),
            weights=jnp.where(keep, place(counted), 0),
            present=mask,
            operator=own_operator,
            noise=own_noise,
            log_background=None if log_background is None else place(log_background),
        )
        shared = Record(
            values=jnp.zeros((m, 1), dtype),
            weights=jnp.zeros((1,), dtype),
            present=None,
            operator=all_operator,
            noise=all_noise,
            log_background=None,
        )
        per_feature = lambda row: row[None, None, :, None]
        slack = None
        if is_fitted and noise is not None:
            own = (present & (weight != 0)[:, None], operator, noise)
            slack = per_feature(jax.lax.stop_gradient(_slack(*own, n_features)))
        return cls(
            blocks=blocks,
            shared=shared,
            pivot=per_feature(pivot),
            variances=per_feature(variances),
            resolution=per_feature((0.5 * eps * largest) ** 2),
            total=jnp.sum(weight),
            counted=jnp.sum(counted),
            slack=slack,
        )

    @property
    def is_grouped(self) -> bool:
        """Whether the samples of each block share all but their values."""
        return self._whole(self._block(0)).is_group

    def reduce(self, fn: Callable[[Record], _Monoid]) -> _Monoid:
        """The sum of `fn(record)` over all blocks."""
        n_blocks = self.blocks.values.shape[0]
        if n_blocks == 1:
            return fn(self._whole(self._block(0)))
        run = lambda block: fn(self._whole(block))
        shapes = jax.eval_shape(run, self._block(0))
        # Without `checkpoint`, reverse mode would keep every block's results.
        run = jax.checkpoint(run)

        def add(total, block):
            return total.add(run(block)), None

        zero = sums.Total.zero(shapes, n_terms=n_blocks)
        total, _ = jax.lax.scan(add, zero, self.blocks)
        return total.result

    def map(self, fn: Callable[[Record], Array], n_samples: int) -> Array:
        """`fn(record)`, which has samples on its last axis, for all samples of a layout
        that is in order."""
        run = jax.checkpoint(lambda block: fn(self._whole(block)))
        found = jnp.moveaxis(jax.lax.map(run, self.blocks), 0, -2)
        return found.reshape(*found.shape[:-2], -1)[..., :n_samples]

    def _block(self, index: int) -> Record:
        return jax.tree.map(lambda leaf: leaf[index], self.blocks)

    def _whole(self, block: Record) -> Record:
        own = lambda one, all_: all_ if one is None else one
        return Record(
            block.values,
            block.weights,
            block.present,
            own(block.operator, self.shared.operator),
            own(block.noise, self.shared.noise),
            block.log_background,
        )


def _divided(
    array: Array | None,
    place: Callable[[Array], Array],
    first: Callable[[Array], Array],
) -> tuple[Array | None, Array | None]:
    """Matrices of each block, or those of all samples."""
    if array is None:
        return None, None
    if array.ndim == 3:
        return first(place(array)), None
    return None, array[..., None]


def _placed(layout: Layout, n: int) -> Callable[[Array], Array]:
    """From one row for each sample to blocks with samples on the last axis."""

    def place(array: Array) -> Array:
        if layout.rows is None:
            padding = -n % layout.size
            rows = jnp.pad(array, [(0, padding), *[(0, 0)] * (array.ndim - 1)])
            rows = rows.reshape(-1, layout.size, *array.shape[1:])
        else:
            rows = array[layout.rows]
        return jnp.moveaxis(rows, 1, -1)

    return place


def _operator(observed: Observed, n_features: int) -> Float[Array, "..."] | None:
    H, dtype = observed.H, observed.y.dtype
    if H is None:
        return None
    if observed.is_choice:
        return (H[:, None] == jnp.arange(n_features)[None]).astype(dtype)
    return H


def _noise(observed: Observed) -> Float[Array, "..."] | None:
    """Shape `(outputs, outputs or 1)`, with a leading axis of samples if there is noise
    for each."""
    R, m = observed.R, observed.n_outputs
    if R is None:
        return None
    if R.ndim == 0:
        return jnp.broadcast_to(R, (m, 1))
    if R.ndim == 3 or R.shape == (m, m) and R.ndim == 2:
        return linalg.symmetrise(R)
    return R[..., None]


def _seen(operator: Array | None, pivot: Array) -> Float[Array, "_ m"]:
    if operator is None:
        return pivot[None]
    seen = linalg.matmul(operator, pivot)
    return seen if seen.ndim == 2 else seen[None]


def _facts(
    y: Float[Array, "n m"],
    weighted: Float[Array, "n m"],
    operator: Float[Array, "..."] | None,
    n_features: int,
) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
    """About the mean of what was seen, by least squares where that is not the features
    themselves; variances about it; and the size of the largest numbers."""
    y, weighted, operator = jax.lax.stop_gradient((y, weighted, operator))
    n, m = y.shape
    if operator is None:
        total = jnp.sum(weighted, axis=0)
        total = jnp.where(total == 0, 1, total)
        mean_of = lambda values: jnp.sum(weighted * values, axis=0) / total
        pivot = mean_of(y)
        pivot = pivot + mean_of(y - pivot[None])
        square = mean_of((y - pivot[None]) ** 2)
        size = jnp.max(jnp.where(weighted > 0, jnp.abs(y - pivot[None]), 0), axis=0)
        return pivot, square, jnp.abs(pivot) + size
    rows = jnp.broadcast_to(operator, (n, m, n_features)).reshape(n * m, n_features)
    share = weighted.reshape(-1, 1)
    gram = linalg.matmul((share * rows).T, rows)
    # What is not seen at all stays at zero.
    diagonal = jnp.diagonal(gram)
    some = 1e-4 * jnp.where(diagonal == 0, 1, diagonal)
    root = inverse_cholesky(gram + jnp.diag(some))
    solve = lambda column: linalg.matmul(root, linalg.matmul(root.T, column))
    pivot = jnp.zeros((n_features, 1), y.dtype)
    target = y.reshape(-1, 1)
    for _ in range(3):
        rest = target - linalg.matmul(rows, pivot)
        pivot = pivot + solve(linalg.matmul(rows.T, share * rest))
    rest = target - linalg.matmul(rows, pivot)
    touched = jnp.where(rows != 0, share, 0)
    below = jnp.sum(share * rows**2, axis=0)
    square = jnp.sum(touched * rest**2, axis=0) / jnp.where(below == 0, 1, below)
    return pivot[:, 0], square, jnp.abs(pivot[:, 0]) + 8 * jnp.sqrt(square)


def _slack(
    present: Bool[Array, "n m"],
    operator: Float[Array, "..."] | None,
    noise: Float[Array, "..."],
    n_features: int,
) -> Float[Array, " d"]:
    r"""Variances $c$ with $H \operatorname{diag}(c) H^T \le R$ for every sample.

    Of independent noise of the features themselves, the least. Otherwise in proportion
    to $\min R_{ii} / H_{ij}^2$: since the largest eigenvalue is less than the trace,
    $c / \max_n \operatorname{tr}(R_n^{-1} H \operatorname{diag}(c) H^T)$ will do.
    """
    n, m = present.shape
    is_diagonal = noise.shape[-1] == 1
    own = noise if is_diagonal else linalg.diagonal_of(noise)
    own = jnp.broadcast_to(own[..., 0], (n, m))
    if operator is None:
        seen, ratio = present, own
    else:
        squares = jnp.broadcast_to(operator, (n, m, n_features)) ** 2
        seen = present[..., None] & (squares > 0)
        ratio = own[..., None] / jnp.where(seen, squares, 1)
        seen, ratio = seen.reshape(n * m, -1), ratio.reshape(n * m, -1)
    least = jnp.min(jnp.where(seen, ratio, jnp.inf), axis=0)
    least = jnp.where(jnp.isfinite(least), least, 0)
    if is_diagonal and operator is None:
        return least
    both = present[:, :, None] & present[:, None]
    square = noise
    if is_diagonal:
        square = (
            jnp.eye(m, dtype=noise.dtype) * noise
            if noise.ndim == 2
            else (jnp.eye(m, dtype=noise.dtype)[None] * noise)
        )
    square = square if square.ndim == 3 else square[None]
    square = jnp.where(both, square, jnp.eye(m, dtype=noise.dtype)[None])
    root = inverse_cholesky(square)
    # The identity in the place of H, or H itself, and nothing where it was not seen.
    columns = jnp.eye(m, dtype=noise.dtype) if operator is None else operator
    columns = columns if columns.ndim == 3 else columns[None]
    columns = columns * jnp.sqrt(least)[None, None]
    columns = jnp.where(present[..., None], columns, 0)
    white = linalg.matmul(linalg.transpose(root), columns)
    worst = jnp.max(jnp.sum(white**2, axis=(1, 2)))
    share = 1 / jnp.where(worst > 0, worst, 1)
    return jnp.where(jnp.isfinite(worst), least * share, 0)
