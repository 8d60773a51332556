"""Passes over blocks: what EM needs of data as a whole."""

import functools as ft
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._core import inputs
from .._core.aliases import Data, Means, PerComponentFlag, PerFeature, Scalar
from .._core.programs import program
from .._covariances import AbstractCovariances, AbstractWhitening
from .._em import (
    AbstractEM,
    AbstractEMState,
    AbstractEStep,
    Attempt,
    Complete,
    Expectation,
    Incomplete,
    MStep,
    packed_length,
    StepInfo,
)
from .._em.incomplete import slack_for
from .._mixture import GaussianMixture
from .._sources import (
    AbstractFacts,
    Block,
    Blocks,
    Columns,
    each_block,
    Groups,
    InMemory,
    Layout,
    Observed,
    ObservedFacts,
    Records,
    size_of_chunks,
    total_of,
)
from .options import Options
from .pace import Pace


# How many samples to look at once to know what they are like.
_AT_ONCE = 2**12


class Facts(AbstractFacts):
    """What is known of blocks as a whole. The samples are elsewhere."""

    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar

    @classmethod
    def of(cls, data: Blocks, dtype: jnp.dtype, pace: Pace | None = None) -> "Facts":
        """By one pass, for sums of type `dtype`."""
        count, mean, square, low, high = 0.0, 0.0, 0.0, np.inf, -np.inf
        if pace is not None:
            pace(0)
        for number, found in enumerate(each_block(data, Blocks.load, _facts_of)):
            if pace is not None:
                pace(number + 1)
            counts, means, squares, lows, highs = jax.tree.map(np.float64, found)
            if not np.all(np.isfinite(squares)):
                data.load(number).check_finite()
            low = np.minimum(low, lows.min(axis=0))
            high = np.maximum(high, highs.max(axis=0))
            own = counts.sum()
            if own == 0:
                continue
            # Chan, Golub, LeVeque: about the mean of each, so that no digits cancel.
            own_mean = counts @ means / own
            own_square = squares.sum(axis=0) + counts @ (means - own_mean) ** 2
            total = count + own
            gap = own_mean - mean
            square = square + own_square + gap**2 * (count * own / total)
            mean = mean + gap * (own / total)
            count = total
        largest = np.maximum(np.abs(low), np.abs(high))
        eps = float(jnp.finfo(dtype).eps)
        resolution = (0.5 * eps * largest) ** 2
        as_feature = lambda row: jnp.asarray(row[None, None, :, None], dtype)
        return cls(
            as_feature(mean),
            as_feature(square / count),
            as_feature(resolution),
            jnp.asarray(count, dtype),
        )

    def source(self, columns: Array, weights: Array) -> InMemory:
        """One block of the samples, of which the rest is known."""
        return InMemory(
            columns, weights, self.pivot, self.variances, self.resolution, self.total
        )


def _facts_of(block: Block) -> PyTree[Float[Array, "..."]]:
    return _facts(*block.arrays)


@program()
def _facts(x: Data, weight: Float[Array, " batch"]) -> PyTree[Float[Array, "..."]]:
    """Weight, mean, sum of squares about it, least and largest of some samples of one
    block at a time, so that nothing of the size of the block is made of it."""
    n_samples, n_features = x.shape
    n_chunks = -(-n_samples // _AT_ONCE)
    size = -(-n_samples // n_chunks)
    padding = n_chunks * size - n_samples
    x = jnp.pad(x, ((0, padding), (0, 0))).reshape(n_chunks, size, n_features)
    weight = jnp.pad(weight, (0, padding)).reshape(n_chunks, size)
    return jax.lax.map(lambda own: _facts_of_chunk(*own), (x, weight))


def _facts_of_chunk(
    x: Data, weight: Float[Array, " batch"]
) -> PyTree[Float[Array, "..."]]:
    column = weight[:, None]
    present = column > 0
    count = jnp.sum(weight)
    divisor = jnp.where(count > 0, count, 1)
    # A sample without weight may be NaN.
    anchor = jnp.where(count > 0, x[jnp.argmax(present[:, 0])], 0)[None]
    mean = (
        anchor[0]
        + jnp.sum(jnp.where(present, column * (x - anchor), 0), axis=0) / divisor
    )
    square = jnp.sum(jnp.where(present, column * (x - mean[None]) ** 2, 0), axis=0)
    low = jnp.min(jnp.where(present, x, jnp.inf), axis=0)
    high = jnp.max(jnp.where(present, x, -jnp.inf), axis=0)
    return count, mean, square, low, high


# What is known of blocks as a whole; and a block as it is read, and as an E-step takes
# it.
AnyFacts: TypeAlias = Facts | ObservedFacts
ObservedBlock: TypeAlias = tuple[Observed, Layout | None]
Loaded: TypeAlias = Columns | ObservedBlock
OnDevice: TypeAlias = (
    tuple[
        Float[Array, "chunks features size"],
        Float[Array, "chunks size"],
        Int[Array, "chunks size"] | None,
    ]
    | ObservedBlock
)


class BlockStep:
    """A step of EM over blocks, on the host: the same as [`gmmx_eqx.extend.EMStep`][]'s
    over data in memory, but for rounding. Sums over blocks are in float64."""

    def __init__(
        self,
        m_step: MStep,
        facts: AnyFacts,
        data: Blocks,
        size: int,
        pace: Pace | None = None,
    ):
        self._pace = pace
        self.m_step = m_step
        self._facts = facts
        self._data = data
        # How many samples of a block to hold intermediate results of at once.
        self._size = size

    def __call__(self, mixture: GaussianMixture) -> tuple[GaussianMixture, StepInfo]:
        m_step = self.m_step
        if m_step.slack is not None:
            mixture = _raised(m_step, mixture)
        looked = _look(m_step, mixture, _begin(m_step, mixture))
        while not bool(looked.done):
            args = (mixture, looked.whitening_before, looked.pivot, looked.is_near)
            args = (*args, m_step.slack)
            expectation = self._expect(*args)
            new = _maximise(m_step, mixture, looked, expectation)
            looked = _look(m_step, mixture, looked.after(expectation, new))
        return looked.mixture, _info(m_step, mixture, looked)

    def _expect(self, *args: Any) -> Expectation:
        facts = self._facts
        load = loader_of(facts, self._size)
        of_block = ft.partial(_expect_block, facts, args)
        total = total_of(self._data, load, of_block, self._pace)
        dtype = facts.pivot.dtype
        return jax.tree.map(lambda leaf: jnp.asarray(leaf.astype(dtype)), total)


def loader_of(facts: AnyFacts, size: int) -> Callable[[Blocks, int], Loaded]:
    """How a block is read for an E-step."""
    if isinstance(facts, ObservedFacts):
        return ft.partial(_load_observed, facts.groups)
    return ft.partial(_load_columns, facts.pivot, size)


def _load_columns(pivot: PerFeature, size: int, data: Blocks, number: int) -> Columns:
    return data.columns(number, pivot, size)


def _load_observed(groups: Groups | None, data: Blocks, number: int) -> ObservedBlock:
    block = data.load(number)
    if groups is None:
        return block.observed, None
    return block.observed, Layout.of_gaps(np.isnan(block.x), groups)


def e_step_of(
    facts: AnyFacts,
    block: OnDevice,
    mixture: GaussianMixture,
    slack: PerFeature | None,
) -> AbstractEStep:
    """Of one block; of the mixture only its family and shape count."""
    arrays: Any = block
    if not isinstance(facts, ObservedFacts):
        columns, weights, labels = arrays
        source = facts.source(columns, weights)
        return Complete.create(source, mixture.covariances, labels)
    observed, layout = arrays
    known, observed = inputs.common_dtype(facts, observed)
    if layout is None:
        layout = Layout.in_order(observed, mixture.n_components, facts.misses)
    records = Records.create(observed, layout, mixture.n_features, facts=known)
    return Incomplete(records, slack)


def _expect_block(facts: AnyFacts, args: tuple[Any, ...], block: Loaded) -> Expectation:
    return _expect(on_device(block), facts, *args)


def on_device(block: Loaded) -> OnDevice:
    return jax.device_put(block)


def step_over(
    data: Blocks,
    facts: AnyFacts,
    mixture: GaussianMixture,
    options: Options,
    pace: Pace | None = None,
) -> BlockStep:
    """The step of EM of a family over blocks."""
    m_step = m_step_of(mixture.covariances, facts, options)
    size = samples_at_once(data, options, mixture.covariances)
    return BlockStep(m_step, facts, data, size, pace)


def m_step_of(
    covariances: AbstractCovariances, facts: AnyFacts, options: Options
) -> MStep:
    """All of a step but its passes; of `covariances` only the family counts."""
    prior, slack, noise = options.prior, None, None
    if isinstance(facts, ObservedFacts):
        is_exact = facts.is_exact
        noise = facts.slack
        slack = options.slack_beside(slack_for(covariances, noise))
    else:
        assert isinstance(facts, Facts)
        is_exact = packed_length(covariances, facts.n_features) is None
    return MStep(
        facts,
        is_exact,
        options.ridge_beside(facts.variances, noise),
        options.frozen,
        options.equal_weights,
        None if prior is None else prior.resolve(covariances, facts),
        slack,
    )


def samples_at_once(
    data: Blocks, options: Options, covariances: AbstractCovariances | None = None
) -> int:
    """How many samples of a block to take at once, as in memory. Of `covariances` only
    the family counts; as many as for full covariances if not given."""
    n_features = data.shape[1]
    n_packed = None
    if covariances is not None:
        n_packed = packed_length(covariances, n_features)
    size = size_of_chunks(data.rows, n_features, data.dtype.itemsize, n_packed)
    return min(options.samples_per_chunk or size, data.rows)


@program(lambda block, facts, mixture, *_: mixture.n_components * n_numbers(block))
def _expect(
    block: OnDevice,
    facts: AnyFacts,
    mixture: GaussianMixture,
    whitening: AbstractWhitening,
    pivot: Means,
    is_near: PerComponentFlag,
    slack: PerFeature | None,
) -> Expectation:
    e_step = e_step_of(facts, block, mixture, slack)
    return e_step.expect(mixture, whitening, pivot, is_near)


def n_numbers(block: OnDevice) -> int:
    """How many numbers the samples of a block hold."""
    return jax.tree.leaves(block)[0].size


@program()
def _raised(m_step: MStep, mixture: GaussianMixture) -> GaussianMixture:
    return m_step.raised(mixture)


@program()
def _begin(m_step: MStep, mixture: GaussianMixture) -> Attempt:
    return m_step.begin(mixture)


@program()
def _look(m_step: MStep, mixture: GaussianMixture, last: Attempt) -> Attempt:
    return m_step.look(mixture, last)


@program()
def _maximise(
    m_step: MStep, mixture: GaussianMixture, looked: Attempt, expectation: Expectation
) -> GaussianMixture:
    return m_step.maximise(mixture, looked.pivot, looked.is_near, expectation)


@program()
def _info(m_step: MStep, mixture: GaussianMixture, end: Attempt) -> StepInfo:
    return m_step.info(mixture, end)


@program()
def turn(
    solver: AbstractEM,
    mixture: GaussianMixture,
    state: AbstractEMState,
    new: GaussianMixture,
    info: StepInfo,
) -> tuple[GaussianMixture, AbstractEMState]:
    """A step of the solver, whose step of EM was made before."""
    return solver.step(lambda _: (new, info), mixture, state)
