"""Passes over blocks: what EM needs of data as a whole."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._core.aliases import Data, Means, PerComponentFlag, PerFeature, Pivot, Scalar
from .._core.programs import program
from .._covariances import AbstractWhitening
from .._em import AbstractEM, AbstractEMState, Complete, EMStep, Expectation, StepInfo
from .._em.e_step import AbstractEStep
from .._em.step import Attempt
from .._mixture import GaussianMixture
from .._sources import AbstractSource, Blocks, InMemory, size_of_chunks, total_of
from .options import Options


class Facts(AbstractSource):
    """What is known of blocks as a whole. The samples are elsewhere."""

    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar

    @classmethod
    def of(cls, data: Blocks, dtype: jnp.dtype) -> "Facts":
        """By one pass, for sums of type `dtype`."""
        count, mean, square, low, high = 0.0, 0.0, 0.0, np.inf, -np.inf
        for block in data:
            found = jax.tree.map(np.float64, _facts(*block.arrays))
            own, own_mean, own_square, own_low, own_high = found
            if not np.all(np.isfinite(own_square)):
                data.check_finite(block)
            low, high = np.minimum(low, own_low), np.maximum(high, own_high)
            if own == 0:
                continue
            # Chan, Golub, LeVeque: about the mean of each, so that no digits cancel.
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

    def reduce(self, fn: Callable[..., Any], *extras: Any) -> Any:
        raise NotImplementedError("Blocks are read by the host, not by a program.")


@program()
def _facts(x: Data, weight: Float[Array, " batch"]) -> PyTree[Float[Array, "..."]]:
    """Weight, mean, sum of squares about it, least and largest of one block."""
    column = weight[:, None]
    present = column > 0
    count = jnp.sum(weight)
    divisor = jnp.where(count > 0, count, 1)
    anchor = x[jnp.argmax(weight > 0)][None]
    mean = (
        anchor[0]
        + jnp.sum(jnp.where(present, column * (x - anchor), 0), axis=0) / divisor
    )
    square = jnp.sum(jnp.where(present, column * (x - mean[None]) ** 2, 0), axis=0)
    low = jnp.min(jnp.where(present, x, jnp.inf), axis=0)
    high = jnp.max(jnp.where(present, x, -jnp.inf), axis=0)
    return count, mean, square, low, high


class Elsewhere(AbstractEStep):
    """E-step that the host makes, block by block."""

    source: Facts
    is_packed: bool

    @property
    def is_exact(self) -> bool:
        return not self.is_packed

    def expect(
        self,
        mixture: GaussianMixture,
        whitening: AbstractWhitening,
        pivot: Pivot,
        is_near: PerComponentFlag | None = None,
    ) -> Expectation:
        raise NotImplementedError("Blocks are read by the host, not by a program.")


class BlockStep:
    """A step of EM over blocks, on the host: the same as [`gmmx_eqx.extend.EMStep`][]'s
    over data in memory, but for rounding. Sums over blocks are in float64."""

    def __init__(self, step: EMStep, facts: Facts, data: Blocks, size: int):
        self.step = step
        self._facts = facts
        self._data = data
        # How many samples of a block to hold intermediate results of at once.
        self._size = size

    def __call__(self, mixture: GaussianMixture) -> tuple[GaussianMixture, StepInfo]:
        step = self.step
        looked = _look(step, mixture, _begin(step, mixture))
        while not bool(looked.done):
            args = (mixture, looked.whitening_before, looked.pivot, looked.is_near)
            expectation = self._expect(*args)
            new = _maximise(step, mixture, looked, expectation)
            looked = _look(step, mixture, looked.after(expectation, new))
        return looked.mixture, _info(step, mixture, looked)

    def _expect(self, *args: Any) -> Expectation:
        facts, data = self._facts, self._data

        def of_block(block: tuple[np.ndarray, np.ndarray]) -> Expectation:
            columns, weights = jax.device_put(block)
            return _expect(facts.source(columns, weights), *args)

        load = lambda number: data.columns(number, facts.pivot, self._size)
        total = total_of(of_block, data.ahead(load))
        dtype = facts.pivot.dtype
        return jax.tree.map(lambda leaf: jnp.asarray(leaf.astype(dtype)), total)


def step_over(
    data: Blocks, facts: Facts, mixture: GaussianMixture, options: Options
) -> BlockStep:
    """The step of EM of a family over blocks."""
    step = _step_elsewhere(facts, mixture, options)
    size = options.samples_per_chunk or _size(data)
    return BlockStep(step, facts, data, min(size, data.rows))


def _step_elsewhere(facts: Facts, mixture: GaussianMixture, options: Options) -> EMStep:
    """A step of EM whose E-step the host makes."""
    prior = options.prior
    return EMStep(
        Elsewhere(facts, _is_packed(mixture, facts)),
        options.ridge.resolve(facts.variances),
        options.frozen,
        options.equal_weights,
        None if prior is None else prior.resolve(mixture.covariances, facts),
    )


def _size(data: Blocks) -> int:
    """How many samples of a block to take at once, as in memory."""
    return size_of_chunks(data.rows, data.shape[1], data.dtype.itemsize)


def _is_packed(mixture: GaussianMixture, facts: Facts) -> bool:
    nothing = jnp.zeros((1, facts.n_features, 1), facts.pivot.dtype)
    source = facts.source(nothing, nothing[:, 0])
    return Complete.create(source, mixture.covariances).packing is not None


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
def _begin(step: EMStep, mixture: GaussianMixture) -> Attempt:
    return step.begin(mixture)


@program()
def _look(step: EMStep, mixture: GaussianMixture, last: Attempt) -> Attempt:
    return step.look(mixture, last)


@program()
def _maximise(
    step: EMStep, mixture: GaussianMixture, looked: Attempt, expectation: Expectation
) -> GaussianMixture:
    return step.maximise(mixture, looked.pivot, looked.is_near, expectation)


@program()
def _info(step: EMStep, mixture: GaussianMixture, end: Attempt) -> StepInfo:
    return step.info(mixture, end)


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
