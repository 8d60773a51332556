import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs, linalg
from .._core.aliases import Count
from .._core.likes import KeyLike
from .._sources import InMemory
from .abstract import AbstractInitialiser, nearest, Partition
from .k_means_plus_plus import KMeansPlusPlus
from .scaling import as_scaling, Scaling, ScalingMatrix
from .seeding import Centres, Mass, Points, squared_distances


MAX_STEPS = 100
TOL = 1e-4


class KMeans(AbstractInitialiser):
    """Each sample to the nearest centre of k-means, begun by k-means++.

    **Attributes:**

    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name.
    - `max_steps`: how often the centres are moved at most.
    - `tol`: stop when the squared moves of all centres add to less than this, in units
        of the scaled data's mean variance per feature.

    ??? cite "Reference"

        Lloyd (1982), Least Squares Quantization in PCM. IEEE Transactions on
        Information Theory 28(2), 129-137.
    """

    scaling: Scaling = eqx.field(
        static=True, converter=as_scaling, default=Scaling.auto
    )
    max_steps: int = MAX_STEPS
    tol: float = TOL

    def __check_init__(self) -> None:
        inputs.check_count(self.max_steps, "max_steps")
        inputs.as_nonnegative(self.tol, "tol")

    def partition_scaled(
        self,
        source: InMemory,
        scaling: ScalingMatrix,
        n_components: int,
        n_active: Count,
        key: KeyLike,
    ) -> Partition:
        seeding = KMeansPlusPlus(self.scaling)
        start = seeding.partition_scaled(source, scaling, n_components, n_active, key)
        points = linalg.matmul(scaling, source.columns)
        centres = lloyd(points, source.weights, start.centres, self.max_steps, self.tol)
        return Partition(scaling=scaling, centres=centres)


def lloyd(
    points: Points,
    weights: Mass,
    centres: Centres,
    max_steps: Count | int,
    tol: float,
) -> Centres:
    """Centres moved to the means of their samples, until they stay."""
    rows = jnp.swapaxes(points, 1, 2)
    if len(points) == 1 and points.dtype == jnp.float64:
        # Of many small data sets, sums in float64 then take half of the time. Without
        # the barrier it is the same product; float32 takes twice the time with it.
        rows = jax.lax.optimization_barrier(rows)

    def unsettled(carry):
        _, move, step = carry
        return (move > tol) & (step < max_steps)

    def improve(carry):
        centres, _, step = carry
        moved = _moved(points, rows, weights, centres)
        move = jnp.where(jnp.isfinite(centres), moved - centres, 0)
        return moved, jnp.sum(move**2), step + 1

    infinite = jnp.full((), jnp.inf, points.dtype)
    carry = (centres, infinite, jnp.array(0))
    centres, _, _ = jax.lax.while_loop(unsettled, improve, carry)
    return centres


def _moved(
    points: Points,
    rows: Float[Array, "chunks batch features"],
    weights: Mass,
    centres: Centres,
) -> Centres:
    """Every centre to the mean of its samples."""

    def of_chunk(total, chunk):
        points, rows, weights = chunk
        distances = squared_distances(points, centres)
        resp = weights[None] * nearest(distances)
        count = jnp.sum(resp, axis=1, keepdims=True)
        first = linalg.matmul(resp, rows)
        return (total[0] + count, total[1] + first), jnp.min(distances, axis=0)

    zeros = (jnp.zeros_like(centres[:, :1]), jnp.zeros_like(centres))
    (count, first), errors = jax.lax.scan(of_chunk, zeros, (points, rows, weights))
    moved = jnp.where(count > 0, linalg.safe_divide(first, count), centres)
    # One at a time: two centres on the same sample would be one too many.
    empty = (count[:, 0] == 0) & jnp.isfinite(centres[:, 0])
    is_first_empty = empty & (jnp.cumsum(empty) == 1)

    def fill(carry):
        # Tied to the carry: otherwise XLA would look for the sample before the loop.
        (moved, _), by_distance = jax.lax.optimization_barrier((carry, errors))
        # The sample that fits worst, for a centre that has none.
        worst = linalg.index_of_max((weights * by_distance).ravel(), 0)
        size = jnp.asarray(weights.shape[1], worst.dtype)
        sample = points[jax.lax.div(worst, size), :, jax.lax.rem(worst, size)]
        filled = jnp.where(is_first_empty[:, None], sample[None], moved)
        return filled, jnp.array(False)

    # A loop that runs once or not at all stands for a condition: under `vmap` a
    # condition computes both branches for every lane, and few have an empty centre.
    carry = moved, jnp.any(empty)
    moved, _ = jax.lax.while_loop(lambda carry: carry[1], fill, carry)
    return moved
