"""The quantiles of a mixture of one feature."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from .._core import inputs, linalg
from .._core.aliases import Count, PerSample, PerSampleTotal, Samples
from .._core.axes import Axis
from .._core.likes import PointsLike
from .._core.programs import program
from .._mixture import AbstractGaussianMixture
from . import line
from .line import Line, Points


# Halving takes one step per bit of the distance between modes over the smallest width;
# Newton's method a handful.
_MOST_STEPS = 200


def quantile(mixture: AbstractGaussianMixture, q: PointsLike) -> Points:
    r"""The $x$ with $F(x) = q$, of a mixture of one feature, in the units of the data.

    **Arguments:**

    - `q`: probabilities, shape `(n,)` or `()`. At 0 and 1 the quantile is infinite.

    Solved in the logarithm of the smaller of $F$ and $1 - F$, to within rounding in
    both tails. Derivatives are the implicit function theorem's. Between two modes so
    far apart that $F$ is constant, the quantile is some point there.

    **Raises:**

    `ValueError` if a probability is not in [0, 1] (while tracing it becomes NaN).
    """
    line.check_line(mixture)
    q = line.as_points(q, mixture, "q")
    numbers = inputs.concrete(q)
    if numbers is not None and not np.all((numbers >= 0) & (numbers <= 1)):
        raise ValueError(
            "`q` must hold probabilities from 0 to 1; it spans "
            f"{np.min(numbers)} ... {np.max(numbers)}."
        )
    return _quantile(mixture, q)


@program()
def _quantile(mixture: AbstractGaussianMixture, q: Points) -> Points:
    parameters = line.as_line(mixture, q)
    inside = (q > 0) & (q < 1)
    samples = line.as_line_samples(jnp.where(inside, q, 0.5))
    x = _solve(*jax.lax.stop_gradient((parameters, samples)))
    x = attach(parameters, samples, x).reshape(q.shape)
    end = jnp.where(q == 0, -jnp.inf, jnp.where(q == 1, jnp.inf, jnp.nan))
    return jnp.where(inside, x, end)


@jax.custom_jvp
def attach(parameters: Line, q: Samples, x: Samples) -> Samples:
    r"""`x`, with the derivatives that it has as the solution of $F(x) = q$: none in the
    `x` handed in.

    $dx = \sum_k r_k (dμ_k + z_k dσ_k) + (dq - \sum_k (Φ(z_k) - F) dw_k) / p(x)$ with
    the responsibilities $r_k$. The weights' derivatives are those of weights divided by
    their sum.
    """
    del parameters, q
    return x


@attach.defjvp
def _attach_jvp(primals, tangents):
    parameters, q, x = primals
    d_parameters, d_q, _ = tangents
    x = attach(parameters, q, x)
    z = parameters.standardise(x)
    log_density = parameters.log_density(x)
    log_prob = linalg.log_mix(log_density, parameters.weights)
    joint = log_density + linalg.safe_log(parameters.weights)
    resp = jax.nn.softmax(joint, axis=Axis.components)
    # Where a density underflows the derivatives are the largest number, not infinite.
    biggest = math.log(float(jnp.finfo(x.dtype).max)) - 1
    over_density = lambda log: jnp.exp(jnp.minimum(log - log_prob, biggest))
    excess = _excess(parameters, x, z)
    by_weight = jnp.sign(excess) * over_density(linalg.safe_log(jnp.abs(excess)))
    moved = resp * (d_parameters.means + z * d_parameters.scales)
    tangent = jnp.sum(
        moved - by_weight * d_parameters.weights,
        axis=Axis.components,
        keepdims=True,
    )
    return x, tangent + over_density(jnp.zeros_like(log_prob)) * d_q


def _excess(parameters: Line, x: Samples, z: PerSample) -> PerSample:
    r"""$Φ(z_k) - F(x)$, from the tail in which its digits are not lost."""
    below = parameters.cumulative(x, upper=False)
    above = parameters.cumulative(x, upper=True)
    return jnp.where(below < above, ndtr(z) - below, above - ndtr(-z))


class _State(NamedTuple):
    low: PerSampleTotal
    high: PerSampleTotal
    x: PerSampleTotal
    step: PerSampleTotal
    last_step: PerSampleTotal
    n_steps: Count


def _solve(parameters: Line, q: PerSampleTotal) -> PerSampleTotal:
    """Newton's method, held inside a bracket that halves when Newton's steps do not."""
    upper = q > 0.5
    log_q = jnp.log(jnp.where(upper, 1 - q, q))
    epsilon = float(jnp.finfo(q.dtype).eps)
    # The quantile lies between those of the components.
    z = ndtri(q)
    slack = 1e-3 * (1 + jnp.abs(z))
    present = parameters.weights > 0
    over = lambda reduce, z, absent: reduce(
        jnp.where(present, parameters.means + z * parameters.scales, absent),
        axis=Axis.components,
        keepdims=True,
    )
    low = over(jnp.min, z - slack, jnp.inf)
    high = over(jnp.max, z + slack, -jnp.inf)
    narrowest = jnp.min(
        jnp.where(present, parameters.scales, jnp.inf),
        axis=Axis.components,
        keepdims=True,
    )

    def unfinished(state: _State):
        tol = epsilon * jnp.maximum(jnp.abs(state.x), narrowest)
        return jnp.any(jnp.abs(state.step) > tol) & (state.n_steps < _MOST_STEPS)

    def step(state: _State) -> _State:
        x = state.x
        below = parameters.log_cumulative(x, upper=False)
        above = parameters.log_cumulative(x, upper=True)
        log_tail = jnp.where(upper, above, below)
        residual = jnp.where(upper, log_q - log_tail, log_tail - log_q)
        low = jnp.where(residual < 0, x, state.low)
        high = jnp.where(residual < 0, state.high, x)
        newton = -residual * jnp.exp(log_tail - parameters.log_prob(x))
        halving = 0.5 * (high - low)
        # Comparisons with NaN are false: then it halves.
        inside = (x + newton >= low) & (x + newton <= high)
        fast = jnp.abs(newton) <= 0.5 * jnp.abs(state.last_step)
        move = jnp.where(inside & fast, newton, low + halving - x)
        return _State(low, high, x + move, move, state.step, state.n_steps + 1)

    width = high - low
    start = _State(low, high, low + 0.5 * width, width, width, jnp.array(0))
    return jax.lax.while_loop(unfinished, step, start).x
