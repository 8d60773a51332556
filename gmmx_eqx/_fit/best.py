import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.results import RESULTS
from .solution import Solution, take


def best_lane(solutions: Solution) -> Int[Array, ""]:
    """The lane of the highest log-likelihood, along the first axis.

    A lane that converged or ran out of steps has a valid mixture and comes before one
    that failed otherwise, which comes before one that met a NaN. Of lanes that differ
    by rounding alone it is the first.
    """
    result = solutions.result
    valid = (result == RESULTS.successful) | (result == RESULTS.max_steps_reached)
    rank = jnp.where(valid, 2, jnp.where(result == RESULTS.nonfinite, 0, 1))
    candidate = rank == jnp.max(rank)
    value = jnp.where(candidate, solutions.log_likelihood, -jnp.inf)
    value = jnp.where(jnp.isnan(value), -jnp.inf, value)
    highest = jnp.max(value)
    rounding = 64 * jnp.finfo(value.dtype).eps * jnp.abs(highest)
    return jnp.argmax(value >= highest - rounding)


@eqx.filter_jit
def take_best(solutions: Solution) -> Solution:
    """The best lane of solutions with a leading axis."""
    return take(solutions, best_lane(solutions))
