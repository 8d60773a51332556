"""Which of the fast kernels a step of EM uses."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._core.aliases import Flag, Means, Pivot, Values
from .._mixture import GaussianMixture
from .._sources import AbstractSource
from .guard import packed_is_accurate
from .packed import expect_packed
from .packings import AbstractPacking
from .residual import Expectation
from .wide import expect_wide, is_fastest, is_second, wide_is_accurate


class FastKernel(NamedTuple):
    """A way to the moments that is not accurate everywhere."""

    run: Callable[[], Expectation]
    # The point that the moments are about.
    pivot: Pivot
    # Of a mixture, its means about the pivot, and its `precisions_cholesky`.
    is_accurate: Callable[[GaussianMixture, Means, Values], Flag]


def fast_kernels(
    mixture: GaussianMixture,
    source: AbstractSource,
    packing: AbstractPacking,
    u: Values,
) -> list[FastKernel]:
    """Those to be tried, the fastest first."""
    packed = FastKernel(
        lambda: expect_packed(mixture, source, packing, u),
        jnp.zeros_like(source.pivot),
        packed_is_accurate,
    )
    wide = FastKernel(
        lambda: expect_wide(mixture, source, u), mixture.means, wide_is_accurate
    )
    if is_fastest(mixture):
        return [wide]
    return [packed, wide] if is_second(mixture) else [packed]


def first_accurate(
    kernels: list[FastKernel], mixture: GaussianMixture, u: Values
) -> tuple[Expectation, Pivot, list[Flag]]:
    """The moments by the first of `kernels` that is accurate for `mixture`, the point
    that they are about, and which it was. Zeros if none is."""
    shapes = jax.eval_shape(kernels[0].run)
    expectation = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    pivot, used, free = mixture.means, [], jnp.array(True)
    for kernel in kernels:
        good = kernel.is_accurate(mixture, mixture.means - kernel.pivot, u)
        used.append(free & good)
        free &= ~good
        pivot = jnp.where(used[-1], kernel.pivot, pivot)
        # A loop that runs once or not at all, rather than a condition: under `vmap` a
        # condition would copy the data, and its features, for every lane.
        expectation, _ = jax.lax.while_loop(
            lambda carry: carry[1],
            lambda _, run=kernel.run: (run(), jnp.array(False)),
            (expectation, used[-1]),
        )
    return expectation, pivot, used
