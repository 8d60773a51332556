"""Components whose packed features are not accurate enough: residuals about their own
pivots."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from .._core import chunks, linalg
from .._core.aliases import Columns, Count, PerComponentFlag, Pivot, Rows
from .._core.axes import Axis
from .._covariances import AbstractWhitening, moments_about
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import Chunk


_Carry = TypeVar("_Carry", bound=PyTree)
_Tree = TypeVar("_Tree", bound=PyTree)

# How many components are taken by residuals at a time: as many as have so many means in
# all their features, and this many at least. A CPU takes twice as long for one alone.
# More do work in vain, but a program in which all are one group is shorter by a tenth.
_GROUP_NUMBERS, _GROUP = 40, 4
# What their residuals of one block of samples may hold, and fewest samples of a block.
# With four times as much, 32 features take up to a third longer on a CPU with 1 MiB of
# cache per core.
_BLOCK_BYTES, _SMALLEST = 128 * 2**10, 256


class Near(eqx.Module):
    """Components that are taken by residuals, a group of neighbours at a time.

    **Attributes:**

    - `order`: all groups, those with near components first.
    - `number`: how many groups those are.
    """

    mixture: GaussianMixture
    whitening: AbstractWhitening
    pivot: Pivot
    order: Int[Array, " groups"]
    number: Count | int

    @classmethod
    def of(
        cls,
        mixture: GaussianMixture,
        whitening: AbstractWhitening,
        pivot: Pivot,
        is_near: PerComponentFlag | None = None,
    ) -> "Near":
        some = group_size(mixture.n_components, mixture.n_features)
        n_groups = -(-mixture.n_components // some)
        if is_near is None:
            return cls(mixture, whitening, pivot, jnp.arange(n_groups), n_groups)
        padding = n_groups * some - mixture.n_components
        flags = jnp.pad(is_near[0, :, 0, 0], (0, padding)).reshape(n_groups, some)
        flags = jnp.any(flags, axis=1)
        return cls(mixture, whitening, pivot, jnp.argsort(~flags), jnp.sum(flags))

    def joint(self, joint: Rows, chunk: Chunk) -> Rows:
        """Joint log-densities, with those of near components put in their places."""
        mixture = self.mixture
        n_features = mixture.n_features
        log_weights = 2 * mixture.log_weights - n_features * linalg.LOG_2PI
        constants = 0.5 * (log_weights - self.whitening.log_det)

        def put(some: _Part, block: _Part, joint: Rows, columns: Columns) -> Rows:
            columns = block.take(columns, 1)[None, None]
            residuals = linalg.residuals(columns, some.of(mixture.means))
            whitened = some.of(self.whitening).whiten(residuals)
            distance = jnp.sum(whitened**2, axis=Axis.features, keepdims=True)
            rows = (some.of(constants) - 0.5 * distance)[0, :, 0]
            return jax.lax.dynamic_update_slice(joint, rows, (some.start, block.start))

        return self._for_each(put, joint, chunk.columns)

    def moments(self, chunk: Chunk, resp: Rows) -> Moments:
        """Moments of near components about their pivots; zero of the others."""
        mixture = self.mixture

        def add(
            some: _Part, block: _Part, total: Moments, columns: Columns, resp: Rows
        ) -> Moments:
            share = block.take(some.take(resp, 0), 1)
            is_new = some.is_new[:, None] & block.is_new[None]
            more = moments_about(
                some.of(mixture.covariances),
                block.take(columns, 1),
                some.of(self.pivot),
                jnp.where(is_new, share, 0),
            )
            return jax.tree.map(some.add, total, more)

        shapes = eqx.filter_eval_shape(
            mixture.covariances.moments, mixture.means, mixture.weights
        )
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return self._for_each(add, zero, chunk.columns, resp)

    def _for_each(
        self, fn: Callable[..., _Carry], init: _Carry, columns: Columns, *rows: Rows
    ) -> _Carry:
        """`fn(some, block, carry, columns, *rows)` of some of the near components and a
        block of samples, one pair after the other."""
        n_features, n_samples = columns.shape
        n_components = self.mixture.n_components
        itemsize = columns.dtype.itemsize
        some = group_size(n_components, n_features)
        size = chunks.length(some * n_features * itemsize, _BLOCK_BYTES, _SMALLEST)
        size = n_samples if n_samples <= 2 * size else size
        n_blocks = -(-n_samples // size)

        def step(i: Count, carry: _Carry) -> _Carry:
            # Plain division of integers that are not negative.
            n = jnp.asarray(n_blocks, i.dtype)
            block = _Part(jax.lax.rem(i, n), size, n_samples)
            group = jax.lax.dynamic_index_in_dim(
                self.order, jax.lax.div(i, n), keepdims=False
            )
            args = carry, columns, *rows
            if not isinstance(self.number, int):
                # Tied to the carry: of one group and one block nothing else changes,
                # and XLA would compute it before the loop, which may run zero times.
                args = jax.lax.optimization_barrier(args)
            return fn(_Part(group, some, n_components), block, *args)

        return jax.lax.fori_loop(0, self.number * n_blocks, step, init)


def group_size(n_components: int, n_features: int) -> int:
    """How many components are taken at a time."""
    return min(n_components, max(_GROUP, _GROUP_NUMBERS // n_features))


class _Part(NamedTuple):
    """Some of the samples of a chunk, or some of the components. The last part overlaps
    the one before it, so that all have the same size."""

    number: Count
    size: int
    whole: int

    @property
    def start(self) -> Count:
        return jnp.minimum(self.number * self.size, self.whole - self.size)

    @property
    def is_new(self) -> Bool[Array, " part"]:
        return self.start + jnp.arange(self.size) >= self.number * self.size

    def take(self, x: Array, axis: int) -> Array:
        # Slices rather than indices, which JAX would check for being negative.
        if self.size == self.whole:
            return x
        return jax.lax.dynamic_slice_in_dim(x, self.start, self.size, axis)

    def of(self, tree: _Tree) -> _Tree:
        """These components, where each has its own entry."""

        def take(leaf: Array) -> Array:
            if leaf.shape[Axis.components] == 1:
                return leaf
            return self.take(leaf, leaf.ndim + int(Axis.components))

        return jax.tree.map(take, tree)

    def add(self, total: Array, more: Array) -> Array:
        """Sums of these components added to the sums of all."""
        if total.shape == more.shape:
            return total + more
        added = self.of(total) + more
        axis = total.ndim + int(Axis.components)
        return jax.lax.dynamic_update_slice_in_dim(total, added, self.start, axis)


def choose(is_near: PerComponentFlag, far: Moments, near: Moments) -> Moments:
    """Moments of near components, and of the others."""
    pick = lambda far, near: jnp.where(_match(is_near, far), near, far)
    return jax.tree.map(pick, far, near)


def _match(is_near: PerComponentFlag, leaf: Array) -> Bool[Array, "1 _ 1 1"]:
    # What serves all components comes from residuals if those of any component do.
    if leaf.shape[Axis.components] == is_near.shape[Axis.components]:
        return is_near
    return jnp.any(is_near, axis=Axis.components, keepdims=True)
