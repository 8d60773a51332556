from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._core import linalg
from .._core.aliases import (
    ColumnLabels,
    ColumnWeights,
    Flag,
    PerComponentFlag,
    Pivot,
    Rows,
    Scalar,
)
from .._core.axes import Axis
from .._core.batching import rows_product
from .._core.float64 import in_float64
from .._covariances import AbstractCovariances, AbstractWhitening
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource, Chunk, InMemory
from .e_step import AbstractEStep, Expectation
from .near import choose, group_size, Near
from .packings import (
    AbstractPacking,
    Features,
    moments,
    packing,
    Parameters,
    parameters,
    Statistics,
)


_Tree = TypeVar("_Tree", bound=PyTree)
Row: TypeAlias = Float[Array, "one=1 batch"]

# Of more components, those that are taken by residuals are put side by side, so that
# few groups have them. It makes a program a tenth longer.
_FEW = 16


class Complete(AbstractEStep):
    """E-step of samples of which every feature is known exactly.

    A sample whose component is known belongs to that alone, and its density is the
    joint one, with the component's weight.

    By two matrix products per chunk with packed features of the samples. Their errors
    grow with the square of the distance between components, in widths. Where some are
    too narrow or too far away for that, these components are taken by residuals about
    their own pivots, which are right at any distance. Of many components in float32 on
    a CPU, all are then taken in float64, which is faster.

    **Attributes:**

    - `source`: the data.
    - `packing`: the rule for packed features, or `None` where the family has none: all
        components are then taken by residuals.
    - `labels`: which component each sample belongs to, -1 where that is not known,
        split like the samples; or `None` if it is known of none.
    - `slack`: none.

    ??? cite "Reference"

        Dempster, Laird, Rubin (1977), Maximum Likelihood from Incomplete Data via the
        EM Algorithm. JRSS B 39(1), 1-38.
    """

    source: AbstractSource
    packing: AbstractPacking | None
    labels: Int[Array, "chunks batch"] | None = None
    slack: None = None

    @classmethod
    def create(
        cls,
        source: AbstractSource,
        covariances: AbstractCovariances,
        labels: Int[Array, "chunks batch"] | None = None,
    ) -> "Complete":
        """With packed features, if the family has a rule for them.

        **Arguments:**

        - `covariances`: only their family counts.
        - `labels`: see the attribute.
        """
        rule = packing(covariances, source)
        return cls(source=source, packing=rule, labels=labels)

    @property
    def is_exact(self) -> bool:
        return self.packing is None

    @property
    def counted(self) -> None:
        return None

    def expect(
        self,
        mixture: GaussianMixture,
        whitening: AbstractWhitening,
        pivot: Pivot,
        is_near: PerComponentFlag | None = None,
    ) -> Expectation:
        pivot = jnp.broadcast_to(pivot, mixture.means.shape)
        rule, order = self.packing, None
        extras = () if self.labels is None else (self.labels,)
        if rule is None or is_near is None:
            near = Near.of(mixture, whitening, pivot)
            return self.source.reduce(eqx.Partial(_expect_near, near), *extras)
        if _is_wide_faster(mixture):
            about = jnp.where(is_near, pivot, 0)
            is_near = jnp.broadcast_to(jnp.any(is_near), is_near.shape)
            theta = parameters(rule, mixture, whitening)
            args = rule, theta, mixture, whitening, about, is_near
            expect = eqx.Partial(_expect_either, *args)
        else:
            if mixture.n_components > _FEW:
                order = jnp.argsort(~is_near[0, :, 0, 0])
                given = (mixture, whitening, pivot, is_near)
                mixture, whitening, pivot, is_near = _reorder(given, order)
            near = Near.of(mixture, whitening, pivot, is_near)
            theta = parameters(rule, mixture, whitening)
            expect = eqx.Partial(_expect_split, rule, theta, near, order)
        statistics, found, log_likelihood = self.source.reduce(expect, *extras)
        far = moments(rule, statistics, mixture.n_features)
        found = choose(is_near, far, found)
        if order is not None:
            found = _reorder(found, jnp.argsort(order))
        return Expectation(found, log_likelihood)


# Sums of packed features, moments about pivots, and the log-likelihood.
_Sums: TypeAlias = tuple[Statistics, Moments, Scalar]


def _packed(
    rule: AbstractPacking,
    theta: Parameters,
    whitening: AbstractWhitening,
    chunk: Chunk,
) -> tuple[Features, Rows]:
    """Packed features, and joint log-densities by them."""
    # Without the barrier XLA may compute the features again inside each product.
    features = jax.lax.optimization_barrier(rule.features(chunk.columns))
    shared = rule.shared(whitening, chunk.columns)
    return features, linalg.matmul(theta, features) + shared


def _expect_split(
    rule: AbstractPacking,
    theta: Parameters,
    near: Near,
    order: Int[Array, " components"] | None,
    chunk: Chunk,
    *labels: ColumnLabels,
) -> _Sums:
    """Packed features of all components, and residuals of those that are near."""
    features, joint = _packed(rule, theta, near.whitening, chunk)
    # Of all components, since it takes longer to put parts together than to do some
    # work in vain.
    joint = _of_known(near.joint(joint, chunk), order, *labels)
    resp, log_likelihood = responsibilities(joint, chunk.weights)
    statistics = rows_product(features, resp)
    return statistics, near.moments(chunk, resp), log_likelihood


def _is_wide_faster(mixture: GaussianMixture) -> bool:
    """Whether packed features in float64 take less time than residuals of many
    components."""
    is_narrow = mixture.means.dtype == jnp.float32
    some = group_size(mixture.n_components, mixture.n_features)
    on_cpu = jax.default_backend() == "cpu"
    return is_narrow and on_cpu and some < mixture.n_components


def _expect_either(
    rule: AbstractPacking,
    theta: Parameters,
    mixture: GaussianMixture,
    whitening: AbstractWhitening,
    about: Pivot,
    is_wide: PerComponentFlag,
    chunk: Chunk,
    *labels: ColumnLabels,
) -> _Sums:
    """Packed features in float32, or moments about points in float64."""

    def narrow(theta, mixture, whitening, about, *chunk):
        del mixture, about
        return _expect_packed(rule, theta, whitening, *chunk)

    def wide(theta, *args):
        del theta
        return in_float64(_expect_about, *args)

    args = (theta, mixture, whitening, about, chunk, *labels)
    shapes = jax.eval_shape(narrow, *args), jax.eval_shape(wide, *args)
    (sums, _), (found, zero) = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes
    )
    flag = is_wide[0, 0, 0, 0]
    sums, log_likelihood = _run_if(~flag, narrow, (sums, zero), args)
    found, log_likelihood = _run_if(flag, wide, (found, log_likelihood), args)
    return sums, found, log_likelihood


def _run_if(
    flag: Flag, fn: Callable[..., _Tree], otherwise: _Tree, args: tuple[Any, ...]
) -> _Tree:
    """A loop that runs once or not at all: under `vmap` a condition computes both of
    its branches, and copies the data, for every lane."""

    def body(carry: tuple[Flag, _Tree]) -> tuple[Flag, _Tree]:
        # Tied to the carry: what does not change XLA computes before the loop, even if
        # the loop then runs zero times.
        _, tied = jax.lax.optimization_barrier((carry, args))
        return jnp.array(False), fn(*tied)

    return jax.lax.while_loop(lambda carry: carry[0], body, (flag, otherwise))[1]


def _expect_packed(
    rule: AbstractPacking,
    theta: Parameters,
    whitening: AbstractWhitening,
    chunk: Chunk,
    *labels: ColumnLabels,
) -> tuple[Statistics, Scalar]:
    features, joint = _packed(rule, theta, whitening, chunk)
    resp, log_likelihood = responsibilities(
        _of_known(joint, None, *labels), chunk.weights
    )
    # This order is up to 1.7 times faster on a CPU than its transpose.
    return rows_product(features, resp), log_likelihood


def _expect_about(
    mixture: GaussianMixture,
    whitening: AbstractWhitening,
    about: Pivot,
    chunk: Chunk,
    *labels: ColumnLabels,
) -> tuple[Moments, Scalar]:
    """Moments about a point for each component, and the log-likelihood."""
    covariances = mixture.covariances
    nothing = jnp.zeros_like(about[:, :1])
    # The chunk is all of its data: a rule may hold sums over that.
    source = InMemory(
        columns=chunk.columns[None],
        weights=chunk.weights[None],
        pivot=nothing,
        variances=nothing,
        resolution=nothing,
        total=jnp.sum(chunk.weights),
    )
    rule = packing(covariances, source)
    assert rule is not None
    theta = parameters(rule, mixture, whitening)
    args = rule, theta, whitening, chunk, *labels
    statistics, log_likelihood = _expect_packed(*args)
    found = moments(rule, statistics, mixture.n_features)
    first = found.first - found.count * about
    # Those about the means lack what the means lack.
    of = lambda gap: covariances.statistic(gap, found.count)
    move = lambda second, less, more: second - less + more
    gap = found.shift - about
    second = jax.tree.map(move, found.second, of(found.shift), of(gap))
    return Moments(found.count, first, second), log_likelihood


def _expect_near(near: Near, chunk: Chunk, *labels: ColumnLabels) -> Expectation:
    shape = (near.pivot.shape[Axis.components], chunk.weights.size)
    joint = near.joint(jnp.zeros(shape, chunk.weights.dtype), chunk)
    joint = _of_known(joint, None, *labels)
    resp, log_likelihood = responsibilities(joint, chunk.weights)
    return Expectation(near.moments(chunk, resp), log_likelihood)


def _of_known(
    joint: Rows, order: Int[Array, " components"] | None, *labels: ColumnLabels
) -> Rows:
    """Joint log-densities, -inf for components that a sample is known not to belong to.

    **Arguments:**

    - `order`: the numbers of the components; in order if not given.
    - `labels`: of the samples, or nothing.
    """
    if not labels:
        return joint
    (own,) = labels
    numbers = jnp.arange(joint.shape[0]) if order is None else order
    is_other = (own[None] >= 0) & (own[None] != numbers.astype(own.dtype)[:, None])
    return jnp.where(is_other, -jnp.inf, joint)


def _reorder(tree: _Tree, order: Int[Array, " components"]) -> _Tree:
    """Every leaf that has an entry for each component, in another order."""

    def take(leaf: Array) -> Array:
        if leaf.shape[Axis.components] == 1:
            return leaf
        return jnp.take(leaf, order, axis=int(Axis.components))

    return jax.tree.map(take, tree)


def responsibilities(joint: Rows, weights: ColumnWeights) -> tuple[Rows, Scalar]:
    """Responsibilities times sample weights, and the weighted log-likelihood.

    **Arguments:**

    - `joint`: the joint log-densities, shape `(components, batch)`.
    - `weights`: of the samples, shape `(batch,)`. A sample of weight zero adds nothing,
        whatever its density.
    """
    shares, top, total = _exponentials(joint)
    weights = weights[None]
    present = weights > 0
    resp = jnp.where(present, shares * (weights / total), 0)
    log_density = top + jnp.log(total)
    log_likelihood = jnp.sum(jnp.where(present, weights * log_density, 0))
    return resp, log_likelihood


def _exponentials(joint: Rows) -> tuple[Rows, Row, Row]:
    """Exponentials over the largest one, the logarithm of that, and their sum."""
    if joint.shape[0] != 2:
        top = linalg.largest(joint, 0)
        exponentials = jnp.exp(joint - top)
        return exponentials, top, jnp.sum(exponentials, axis=0, keepdims=True)
    # One of the two is one.
    first, second = joint[:1], joint[1:]
    is_first = first >= second
    other = jnp.exp(jnp.where(is_first, second - first, first - second))
    one = jnp.ones_like(other)
    exponentials = jnp.concatenate(
        [jnp.where(is_first, one, other), jnp.where(is_first, other, one)]
    )
    return exponentials, jnp.where(is_first, first, second), one + other
