"""Linear equations in the space of a mixture's parameters, without their matrix."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Scalar
from .._mixture import GaussianMixture
from .metric import inner, Metric


# How many earlier directions a new one is made orthogonal to. In a symmetric problem
# one is enough; steps of low-rank covariances are not symmetric, and with eight of them
# the residual stopped falling.
_MEMORY = 32
_MAX_STEPS = 2000


def solve(
    operator: Callable[[GaussianMixture], GaussianMixture],
    b: GaussianMixture,
    metric: Metric,
) -> GaussianMixture:
    """The solution of `operator(x) == b` with the smallest residual in the metric,
    direction by direction; NaN where that does not become small.

    ??? cite "Reference"

        Vinsome (1976), Orthomin, an Iterative Method for Solving Sparse Sets of
        Simultaneous Linear Equations. SPE 5729. For a symmetric operator it is the
        method of conjugate residuals.
    """
    # Squares of a small or a large loss would leave the range of float32. In the metric
    # rather than by size: units must not matter.
    root = lambda leaf: jnp.sqrt(jnp.abs(leaf))
    sizes = jax.tree.map(lambda a, m: jnp.max(root(a) * root(m)), b, metric(b))
    unit_b = jnp.max(jnp.stack(jax.tree.leaves(sizes)))
    b = jax.tree.map(lambda leaf: linalg.safe_divide(leaf, unit_b), b)
    size = inner(b, metric(b))
    tol = float(jnp.finfo(size.dtype).eps) ** 1.5 * size
    empty = jax.tree.map(lambda leaf: jnp.zeros((_MEMORY, *leaf.shape), leaf.dtype), b)
    zero = jax.tree.map(jnp.zeros_like, b)

    def unfinished(carry):
        _, _, _, _, square, n_steps = carry
        return (square > tol) & (n_steps < _MAX_STEPS)

    def step(carry):
        x, r, directions, images, _, n_steps = carry
        image = operator(r)
        weighted = metric(image)
        overlap = jax.vmap(lambda other: inner(other, weighted))(images)
        direction = _less(r, overlap, directions)
        image = _less(image, overlap, images)
        weighted = metric(image)
        norm = jnp.sqrt(inner(image, weighted))
        unit = lambda leaf: linalg.safe_divide(leaf, norm)
        direction, image = jax.tree.map(unit, (direction, image))
        length = unit(inner(r, weighted))
        x = _add(x, length, direction)
        r = _add(r, -length, image)
        slot = n_steps % _MEMORY
        put = lambda leaves, leaf: leaves.at[slot].set(leaf)
        directions = jax.tree.map(put, directions, direction)
        images = jax.tree.map(put, images, image)
        return x, r, directions, images, inner(r, metric(r)), n_steps + 1

    carry = (zero, b, empty, empty, size, jnp.array(0))
    x, *_, square, _ = jax.lax.while_loop(unfinished, step, carry)
    # False for a NaN.
    solved = square <= tol
    return jax.tree.map(lambda leaf: jnp.where(solved, leaf * unit_b, jnp.nan), x)


def _add(a: GaussianMixture, scale: Scalar, b: GaussianMixture) -> GaussianMixture:
    return jax.tree.map(lambda a, b: a + scale * b, a, b)


def _less(x: GaussianMixture, overlap: jax.Array, others: GaussianMixture):
    """What is left of `x` without its parts along `others`."""
    part = lambda leaf: jnp.tensordot(
        overlap, leaf, axes=1, precision=jax.lax.Precision.HIGHEST
    )
    return jax.tree.map(lambda leaf, leaves: leaf - part(leaves), x, others)
