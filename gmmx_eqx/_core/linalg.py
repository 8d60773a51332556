"""Every numerical guard of the library, each with the reason for it."""

import functools as ft
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .aliases import LogDensity, LogDensityTotal, Weights
from .axes import Axis


LOG_2PI = math.log(2 * math.pi)


def matmul(a: Array, b: Array) -> Array:
    # Accelerators multiply in less than float32 by default, and a covariance built
    # from such products need not be positive definite.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def transpose(x: Float[Array, "... i j"]) -> Float[Array, "... j i"]:
    return jnp.swapaxes(x, -1, -2)


@jax.custom_jvp
def residuals(
    columns: Float[Array, "*_lead d n"], means: Float[Array, "*_more d one=1"]
) -> Float[Array, "*_both d n"]:
    """`columns - means`.

    Its derivative is written out as an array of its own: where a product of several
    matrices has a broadcast operand, which the change of the means alone would be,
    jaxlib 0.10.2 reads beyond its end on a CPU.
    """
    return columns - means


@residuals.defjvp
def _residuals_jvp(primals, tangents):
    columns, means = primals
    d_columns, d_means = tangents
    out = columns - means
    # Not folded away: zero times a number that is not finite is not zero.
    return out, 0 * out + (d_columns - d_means)


def symmetrise(values: Float[Array, "... d d"]) -> Float[Array, "... d d"]:
    # (r x) xᵀ rounds its two triangles differently.
    return 0.5 * (values + transpose(values))


def diagonal(column: Float[Array, "... d 1"]) -> Float[Array, "... d d"]:
    """A diagonal matrix from its diagonal, kept as a column."""
    eye = jnp.eye(column.shape[-2], dtype=column.dtype)
    return column * jnp.expand_dims(eye, tuple(range(column.ndim - 2)))


def diagonal_of(values: Float[Array, "... d d"]) -> Float[Array, "... d 1"]:
    """The diagonal of a matrix, as a column."""
    return jnp.diagonal(values, axis1=-2, axis2=-1)[..., None]


def map_diagonal(
    fn: Callable[[Array], Array], values: Float[Array, "... d d"]
) -> Float[Array, "... d d"]:
    """The matrices with `fn` of their diagonals."""
    # Not by adding the difference, which would round a small result to the size of its
    # argument.
    diagonal = diagonal_of(values)
    eye = jnp.eye(values.shape[-1], dtype=bool)
    eye = jnp.expand_dims(eye, tuple(range(values.ndim - 2)))
    return jnp.where(eye, fn(diagonal), values)


def safe_log(x: Array) -> Array:
    """The logarithm, -inf at zero, with a derivative of zero there instead of NaN."""
    positive = x > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def inverse_sqrt(variance: Array) -> Array:
    """`1 / sqrt(variance)`, NaN where the variance is not positive: an infinity would
    pass for a very sure component."""
    return jnp.where(variance > 0, 1, jnp.nan) / jnp.sqrt(variance)


def safe_divide(x: Array, by: Array) -> Array:
    """`x / by`, and `x` where `by` is zero."""
    return x / jnp.where(by == 0, 1, by)


def index_of_max(values: Array, axis: int) -> Array:
    """As `jnp.argmax`, but zero where there is a NaN.

    Two plain reductions: XLA's own reduction to a pair of value and index does not use
    the vector units of a CPU, and takes three times as long.
    """
    size = values.shape[axis]
    # XLA may compute the numbers once for each reduction and round them differently.
    # Then none of them would be equal to the largest one.
    values = lax.optimization_barrier(values)
    top = jnp.max(values, axis=axis, keepdims=True)
    index = jnp.arange(size, dtype=jnp.int32)
    index = jnp.expand_dims(
        index, [i for i in range(values.ndim) if i != axis % values.ndim]
    )
    first = jnp.min(jnp.where(values == top, index, size), axis=axis)
    return jnp.where(first == size, 0, first)


@ft.partial(jax.custom_jvp, nondiff_argnums=(1,))
def largest(values: Array, axis: int) -> Array:
    """As `jnp.max` along an axis that stays, with the derivative of the first of the
    largest numbers.

    The derivative of `jnp.max` compares the numbers with their maximum. Where XLA
    computes them anew for it, and rounds them differently, that is 0 / 0.
    """
    return jnp.max(values, axis=axis, keepdims=True)


@largest.defjvp
def _largest_jvp(axis, primals, tangents):
    (values,), (d_values,) = primals, tangents
    top = jnp.expand_dims(index_of_max(lax.stop_gradient(values), axis), axis)
    is_top = top == lax.broadcasted_iota(top.dtype, values.shape, axis % values.ndim)
    change = jnp.where(is_top, d_values, 0)
    return largest(values, axis), jnp.sum(change, axis=axis, keepdims=True)


@jax.custom_jvp
def log_mix(log_density: LogDensity, weights: Weights) -> LogDensityTotal:
    r"""$\log \sum_k w_k \exp(a_k)$ over the components, with right derivatives.

    The derivative in $w_k$ is $\exp(a_k) / \sum_j w_j \exp(a_j)$, which is neither zero
    nor NaN at $w_k = 0$, as it would be through `logsumexp(a + log(w))`. Where it
    exceeds the largest number of its type it is that number.
    """
    joint = log_density + safe_log(weights)
    top = jnp.max(joint, axis=Axis.components, keepdims=True)
    # All components can underflow, or all weights be zero; -inf - -inf would be NaN.
    shift = jnp.where(jnp.isfinite(top), top, 0)
    total = jnp.sum(jnp.exp(joint - shift), axis=Axis.components, keepdims=True)
    # An infinite `top` is its own answer; the guard keeps a NaN a NaN.
    return jnp.where(jnp.isinf(top), top, shift + safe_log(total) + 0 * total)


@log_mix.defjvp
def _log_mix_jvp(primals, tangents):
    log_density, weights = primals
    d_log_density, d_weights = tangents
    top = jnp.max(log_density + safe_log(weights), axis=Axis.components, keepdims=True)
    shift = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    # About `top`: far from all modes the result is so large that its own rounding
    # would change the responsibilities.
    relative = log_density - shift
    out = log_mix(relative, weights)
    floor = jnp.where(jnp.isfinite(out), out, 0)
    biggest = math.log(float(jnp.finfo(out.dtype).max)) - 1
    ratio = jnp.exp(jnp.minimum(relative - floor, biggest))
    # A product, so that the second derivative at a weight of zero is right; `biggest`
    # keeps it from being infinite times zero for an overwhelming component.
    resp = ratio * weights
    tangent = jnp.sum(
        resp * d_log_density + ratio * d_weights, axis=Axis.components, keepdims=True
    )
    return shift + out, tangent


@jax.custom_jvp
def responsibilities(log_density: LogDensity, weights: Weights) -> LogDensity:
    r"""$w_k \exp(a_k) / \sum_j w_j \exp(a_j)$, with right derivatives.

    As for `log_mix`, those in the weights are right at a weight of zero.
    """
    return jnp.exp(_relative(log_density, weights) + safe_log(weights))


@responsibilities.defjvp
def _responsibilities_jvp(primals, tangents):
    log_density, weights = primals
    d_log_density, d_weights = tangents
    resp = responsibilities(log_density, weights)
    # An overwhelming component of weight zero has an infinite ratio. Smaller than the
    # largest number, so that products with cotangents are finite.
    biggest = 0.75 * math.log(float(jnp.finfo(resp.dtype).max))
    ratio = jnp.exp(jnp.minimum(_relative(log_density, weights), biggest))
    change = resp * d_log_density + ratio * d_weights
    total = jnp.sum(change, axis=Axis.components, keepdims=True)
    return resp, change - resp * total


def _relative(log_density: LogDensity, weights: Weights) -> LogDensity:
    r"""$a_k - \log \sum_j w_j \exp(a_j)$."""
    top = jnp.max(log_density + safe_log(weights), axis=Axis.components, keepdims=True)
    # About `top`: far from all modes the total is so large that its rounding would
    # change the responsibilities.
    relative = log_density - lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    total = log_mix(relative, weights)
    return relative - jnp.where(jnp.isfinite(total), total, 0)
