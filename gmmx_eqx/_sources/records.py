"""Samples of which not everything is known, as an E-step reads them."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .._core import linalg, sums
from .._core.aliases import PerFeature, Scalar
from .._core.spread import Spread
from .abstract import AbstractFacts
from .layout import Layout
from .observed import Observed
from .observed_facts import centre, ObservedFacts, slack_of


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
    - `pivot`, `variances`, `resolution`, `total`, `counted`, `slack`: what is known of
        them as a whole; see `ObservedFacts`.
    - `spread`: how blocks are spread over devices, or `None`.
    """

    blocks: Record
    shared: Record
    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar
    counted: Scalar
    slack: PerFeature | None
    spread: Spread | None = eqx.field(static=True, default=None)

    @classmethod
    def create(
        cls,
        observed: Observed,
        layout: Layout,
        n_features: int,
        log_background: Float[Array, " n"] | None = None,
        is_fitted: bool = True,
        facts: ObservedFacts | None = None,
    ) -> "Records":
        """From samples and their layout, inside of a program.

        **Arguments:**

        - `is_fitted`: whether a fit asks for facts; the pivot is zero otherwise.
        - `facts`: of more samples than these, if they are known.
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
        noise = noise_of(observed)
        weighted = jnp.where(present, weight[:, None], 0)
        pivot = variances = largest = jnp.zeros(n_features, dtype)
        if facts is not None:
            pivot = facts.pivot[0, 0, :, 0]
        elif is_fitted:
            pivot, variances, largest = centre(y, weighted, operator, n_features)
        eps = float(jnp.finfo(dtype).eps)
        values = jnp.where(present, y - _seen(operator, pivot), 0)
        counted = jnp.where(jnp.any(present, axis=1), weight, 0)
        place = _placed(layout)
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
        if facts is None:
            slack = None
            if is_fitted and noise is not None:
                own = (present & (weight != 0)[:, None], operator, noise)
                slack = per_feature(jax.lax.stop_gradient(slack_of(*own, n_features)))
            facts = ObservedFacts(
                pivot=per_feature(pivot),
                variances=per_feature(variances),
                resolution=per_feature((0.5 * eps * largest) ** 2),
                total=jnp.sum(weight),
                counted=jnp.sum(counted),
                slack=slack,
            )
        return cls(
            blocks=blocks,
            shared=shared,
            pivot=facts.pivot,
            variances=facts.variances,
            resolution=facts.resolution,
            total=facts.total,
            counted=facts.counted,
            slack=facts.slack,
            spread=layout.spread,
        )

    @property
    def is_grouped(self) -> bool:
        """Whether the samples of each block share all but their values."""
        return self._whole(_first_of(self.blocks)).is_group

    def reduce(self, fn: Callable[[Record], _Monoid]) -> _Monoid:
        """The sum of `fn(record)` over all blocks."""
        run = lambda block: fn(self._whole(block))
        if self.spread is None:
            return _total(run, self.blocks)
        return self.spread.reduce(lambda blocks: _total(run, blocks), self.blocks)

    def map(self, fn: Callable[[Record], Array], n_samples: int) -> Array:
        """`fn(record)`, which has samples on its last axis, for all samples of a layout
        that is in order."""
        run = jax.checkpoint(lambda block: fn(self._whole(block)))
        n_shards = 1 if self.spread is None else self.spread.n_shards

        def rows_of(blocks: Record) -> Array:
            found = jnp.moveaxis(jax.lax.map(run, blocks), -1, 1)
            rows = found.reshape(-1, *found.shape[2:])
            return rows[: n_samples // n_shards]

        if self.spread is None:
            return jnp.moveaxis(rows_of(self.blocks), 0, -1)
        return jnp.moveaxis(self.spread.map(rows_of, self.blocks), 0, -1)

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


def _first_of(blocks: Record) -> Record:
    return jax.tree.map(lambda leaf: leaf[0], blocks)


def _total(run: Callable[[Record], _Monoid], blocks: Record) -> _Monoid:
    """The sum of `run` over blocks."""
    n_blocks = blocks.values.shape[0]
    if n_blocks == 1:
        return run(_first_of(blocks))
    shapes = jax.eval_shape(run, _first_of(blocks))
    # Without `checkpoint`, reverse mode would keep every block's results.
    run = jax.checkpoint(run)

    def add(total: sums.Total, block: Record) -> tuple[sums.Total, None]:
        return total.add(run(block)), None

    zero = sums.Total.zero(shapes, n_terms=n_blocks)
    total, _ = jax.lax.scan(add, zero, blocks)
    return total.result


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


def _placed(layout: Layout) -> Callable[[Array], Array]:
    """From one row for each sample to blocks with samples on the last axis."""

    def in_order(array: Array) -> Array:
        padding = -len(array) % layout.size
        rows = jnp.pad(array, [(0, padding), *[(0, 0)] * (array.ndim - 1)])
        return rows.reshape(-1, layout.size, *array.shape[1:])

    def place(array: Array) -> Array:
        if layout.spread is not None:
            rows = layout.spread.map(in_order, array)
        elif layout.rows is None:
            rows = in_order(array)
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


def noise_of(observed: Observed) -> Float[Array, "..."] | None:
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
