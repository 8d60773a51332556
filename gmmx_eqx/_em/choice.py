"""Which of the fast kernels a step of EM uses."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from .._core.aliases import Flag, Means, PerComponentFlag, Pivot
from .._covariances import AbstractWhitening
from .._mixture import GaussianMixture
from .._sources import AbstractSource
from .guard import all_that_count, amplifications, is_accurate
from .packed import expect_packed
from .packings import AbstractPacking
from .residual import Expectation
from .split import can_split, Split
from .wide import expect_wide, is_worth_trying, wide_is_accurate


class FastKernel(NamedTuple):
    """A way to the moments that is not accurate everywhere."""

    run: Callable[[], Expectation]
    # The point that the moments are about.
    pivot: Pivot
    # For each component of a mixture, given its means about the pivot and its
    # factorised covariances.
    is_good: Callable[[GaussianMixture, Means, AbstractWhitening], PerComponentFlag]

    def is_accurate(
        self, mixture: GaussianMixture, whitening: AbstractWhitening
    ) -> Flag:
        good = self.is_good(mixture, mixture.means - self.pivot, whitening)
        return all_that_count(mixture, good)


def fast_kernels(
    mixture: GaussianMixture,
    source: AbstractSource,
    packing: AbstractPacking,
    whitening: AbstractWhitening,
    guarded: bool,
) -> list[FastKernel]:
    """Those to be tried, the fastest first; if not `guarded`, the packed one."""
    packed = FastKernel(
        lambda: expect_packed(mixture, source, packing, whitening),
        jnp.zeros_like(source.pivot),
        lambda *args: is_accurate(amplifications(*args)),
    )
    kernels = [packed]
    if not guarded:
        return kernels
    if can_split(mixture):
        split = Split.of(mixture, whitening)
        run = lambda: split.expect(mixture, source, packing, whitening)
        kernels.append(FastKernel(run, split.pivot(mixture), split.is_accurate))
    if is_worth_trying(mixture):
        run = lambda: expect_wide(mixture, source, whitening)
        kernels.append(FastKernel(run, mixture.means, wide_is_accurate))
    return kernels
