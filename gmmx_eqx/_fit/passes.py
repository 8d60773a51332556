"""Passes over blocks: what EM needs of data as a whole."""

import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._core.aliases import Data, Means, PerComponentFlag, PerFeature, Scalar
from .._core.programs import program
from .._covariances import AbstractCovariances, AbstractWhitening
from .._em import (
    AbstractEM,
    AbstractEMState,
    Attempt,
    Complete,
    Expectation,
    MStep,
    StepInfo,
)
from .._mixture import GaussianMixture
from .._sources import (
    AbstractFacts,
    Block,
    Blocks,
    Columns,
    each_block,
    InMemory,
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
                data.check_finite(data.load(number))
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


class BlockStep:
    """A step of EM over blocks, on the host: the same as [`gmmx_eqx.extend.EMStep`][]'s
    over data in memory, but for rounding. Sums over blocks are in float64."""

    def __init__(
        self,
        m_step: MStep,
        facts: Facts,
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
        looked = _look(m_step, mixture, _begin(m_step, mixture))
        while not bool(looked.done):
            args = (mixture, looked.whitening_before, looked.pivot, looked.is_near)
            expectation = self._expect(*args)
            new = _maximise(m_step, mixture, looked, expectation)
            looked = _look(m_step, mixture, looked.after(expectation, new))
        return looked.mixture, _info(m_step, mixture, looked)

    def _expect(self, *args: Any) -> Expectation:
        facts = self._facts
        load = ft.partial(load_columns, facts.pivot, self._size)
        of_block = ft.partial(_expect_block, facts, args)
        total = total_of(self._data, load, of_block, self._pace)
        dtype = facts.pivot.dtype
        return jax.tree.map(lambda leaf: jnp.asarray(leaf.astype(dtype)), total)


def load_columns(pivot: PerFeature, size: int, data: Blocks, number: int) -> Columns:
    return data.columns(number, pivot, size)


def _expect_block(facts: Facts, args: tuple[Any, ...], block: Columns) -> Expectation:
    columns, weights = jax.device_put(block)
    return _expect(facts.source(columns, weights), *args)


def step_over(
    data: Blocks,
    facts: Facts,
    mixture: GaussianMixture,
    options: Options,
    pace: Pace | None = None,
) -> BlockStep:
    """The step of EM of a family over blocks."""
    m_step = m_step_of(mixture.covariances, facts, options)
    return BlockStep(m_step, facts, data, samples_at_once(data, options), pace)


def m_step_of(
    covariances: AbstractCovariances, facts: Facts, options: Options
) -> MStep:
    """All of a step but its passes; of `covariances` only the family counts."""
    prior = options.prior
    return MStep(
        facts,
        not _is_packed(covariances, facts),
        options.ridge.resolve(facts.variances),
        options.frozen,
        options.equal_weights,
        None if prior is None else prior.resolve(covariances, facts),
    )


def samples_at_once(data: Blocks, options: Options) -> int:
    """How many samples of a block to take at once, as in memory."""
    size = size_of_chunks(data.rows, data.shape[1], data.dtype.itemsize)
    return min(options.samples_per_chunk or size, data.rows)


def _is_packed(covariances: AbstractCovariances, facts: Facts) -> bool:
    nothing = jnp.zeros((1, facts.n_features, 1), facts.pivot.dtype)
    source = facts.source(nothing, nothing[:, 0])
    return not Complete.create(source, covariances).is_exact


@program(lambda source, mixture, *_: mixture.n_components * source.columns.size)
def _expect(
    source: InMemory,
    mixture: GaussianMixture,
    whitening: AbstractWhitening,
    pivot: Means,
    is_near: PerComponentFlag,
) -> Expectation:
    e_step = Complete.create(source, mixture.covariances)
    return e_step.expect(mixture, whitening, pivot, is_near)


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
