r"""The information that samples have about the free parameters of a mixture."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._core import chunks, inputs, lapack, linalg
from .._core.aliases import Data, Flag, PerDatum, SampleWeight, Scalar
from .._core.axes import Axis
from .._covariances import log_density
from .._fit.options import Options
from .._mixture import densities, GaussianMixture
from .coordinates import Coordinates, Numbers


Square = Float[Array, "parameters parameters"]
Scores = Float[Array, "batch parameters"]
Chart: TypeAlias = Callable[[Numbers], GaussianMixture]

# What derivatives of one chunk of samples in all parameters may hold.
_CHUNK_BYTES, _SMALLEST = 8 * 2**20, 16
# In units of rounding: an eigenvalue of the information that is below has no digit.
_ROUNDINGS = 32


class Information(NamedTuple):
    r"""Sums over samples, with their weights $w_n$ and the log-densities $\ell_n$; with
    a prior, $\frac{w_n}{\sum w}$ times its log-density is a part of $w_n \ell_n$.

    - `observed`: $-\sum_n w_n \nabla^2 \ell_n$.
    - `outer`: $\sum_n w_n \nabla \ell_n \nabla \ell_n^T$.
    - `score`: $\sum_n w_n \nabla \ell_n$, nothing but rounding at a maximum.
    """

    observed: Square
    outer: Square
    score: Numbers


class Inverse(NamedTuple):
    """The inverse of an information matrix, and what is wrong with it.

    - `matrix`: the inverse.
    - `is_regular`: whether the information is positive definite.
    - `weakest`: the coordinates of which least is known.
    """

    matrix: Square
    is_regular: Flag
    weakest: Numbers


def log_prob(mixture: GaussianMixture, x: Data) -> PerDatum:
    """Log-densities, inside of a program and of all samples at once."""
    whitening = mixture.covariances.whitening(mixture.n_features, tolerant=True)
    density = log_density(whitening, mixture.means, inputs.as_samples(x))
    return densities.log_prob(density, mixture.weights)


def scores(coordinates: Coordinates, x: Data) -> Scores:
    """The gradient of the log-density of every sample in all coordinates."""
    chart = coordinates.chart()
    own = lambda x: _scores(coordinates, chart, x)
    return chunks.map_chunks(own, x, _size(coordinates, x))


def information(
    coordinates: Coordinates, x: Data, weight: SampleWeight, options: Options
) -> Information:
    """That of the samples at the fitted mixture, and of the prior in the options."""
    own = _of_samples(coordinates, x, weight)
    prior = options.prior
    if prior is None:
        return own
    source = options.source(x, weight, coordinates.mixture.covariances, of_lanes=False)
    log_prior = prior.resolve(coordinates.mixture.covariances, source)
    chart = coordinates.chart()

    def value(numbers: Numbers) -> Scalar:
        mixture = chart(numbers)
        covariances, means = mixture.covariances, mixture.means - source.pivot
        whitening = covariances.whitening(mixture.n_features, tolerant=True)
        return log_prior.log_prob(mixture.weights, means, covariances, whitening)

    gradient = jax.grad(value)
    along = lambda direction: jax.jvp(gradient, (coordinates.origin,), (direction,))
    second = jax.vmap(along)(_eye(coordinates))[1]
    score = own.score + gradient(coordinates.origin)
    # Of scores that are each moved by the same part of the prior's.
    moved = own.score[:, None] * own.score[None] - score[:, None] * score[None]
    outer = own.outer - moved / jnp.sum(weight)
    return Information(own.observed - second, outer, score)


def _of_samples(coordinates: Coordinates, x: Data, weight: SampleWeight) -> Information:
    chart = coordinates.chart()

    def of_chunk(chunk: tuple[Data, SampleWeight]) -> Information:
        x, weight = chunk
        own = _scores(coordinates, chart, x)
        weighted = weight[:, None] * own

        def total(numbers: Numbers) -> Scalar:
            return jnp.sum(weight * log_prob(chart(numbers), x))

        along = lambda direction: jax.jvp(
            jax.grad(total), (coordinates.origin,), (direction,)
        )
        _, second = jax.vmap(along)(_eye(coordinates))
        outer = linalg.matmul(linalg.transpose(own), weighted)
        return Information(-second, outer, jnp.sum(weighted, axis=0))

    size = _size(coordinates, x)
    n_samples = x.shape[0]
    if n_samples <= 2 * size:
        return of_chunk((x, weight))
    padding = -n_samples % size
    # Copies of the first sample, which count nothing.
    x = jnp.concatenate([x, jnp.broadcast_to(x[:1], (padding, x.shape[1]))])
    weight = jnp.pad(weight, (0, padding))
    split = lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:])
    parts = jax.tree.map(split, (x, weight))
    shapes = jax.eval_shape(of_chunk, jax.tree.map(lambda leaf: leaf[0], parts))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    add = lambda total, part: (jax.tree.map(jnp.add, total, of_chunk(part)), None)
    return jax.lax.scan(add, zero, parts)[0]


def inverse(matrix: Square) -> Inverse:
    """The inverse of an information matrix, in units in which its diagonal is one."""
    diagonal = jnp.diagonal(matrix)
    positive = jnp.where(diagonal > 0, diagonal, 1)
    units = 1 / jnp.sqrt(positive)
    relative = 0.5 * (matrix + matrix.T) * (units[:, None] * units[None])
    # A NaN would have a library routine return anything.
    finite = jnp.all(jnp.isfinite(relative))
    relative = jnp.where(finite, relative, jnp.eye(units.size, dtype=units.dtype))
    values, vectors = lapack.eigh(relative)
    rounding = _ROUNDINGS * units.size * float(jnp.finfo(units.dtype).eps)
    is_regular = finite & jnp.all(diagonal > 0) & (values[0] > rounding)
    scaled = units[:, None] * vectors
    inverted = linalg.matmul(scaled / values[None], scaled.T)
    return Inverse(inverted, is_regular, scaled[:, 0])


def mover(coordinates: Coordinates, direction: Numbers) -> Int[Array, ""]:
    """The component that changes most, relative to its own widths and weight, if
    coordinates change in a direction."""
    mixture, chart = coordinates.mixture, coordinates.chart()

    def dense(numbers: Numbers) -> tuple[Array, Array, Array]:
        moved = chart(numbers)
        matrices = moved.covariances.dense(moved.n_features)
        return moved.weights, moved.means, matrices

    _, (weights, means, matrices) = jax.jvp(dense, (coordinates.origin,), (direction,))
    whiten = mixture.covariances.whitening(mixture.n_features).whiten
    half = linalg.transpose(whiten(matrices))
    over = (Axis.features, Axis.features_covar)
    squares = lambda array: jnp.sum(array**2, over, keepdims=True)
    change = squares(whiten(means)) + 0.5 * squares(whiten(half))
    change = change + (weights / mixture.weights) ** 2
    return jnp.argmax(change[0, :, 0, 0])


def _scores(coordinates: Coordinates, chart: Chart, x: Data) -> Scores:
    along = lambda direction: jax.jvp(
        lambda numbers: log_prob(chart(numbers), x),
        (coordinates.origin,),
        (direction,),
    )
    return jax.vmap(along)(_eye(coordinates))[1].T


def _eye(coordinates: Coordinates) -> Square:
    return jnp.eye(coordinates.size, dtype=coordinates.mixture.means.dtype)


def _size(coordinates: Coordinates, x: Data) -> int:
    means = coordinates.mixture.means
    bytes_per_sample = coordinates.size * means.size * x.dtype.itemsize
    return chunks.length(bytes_per_sample, _CHUNK_BYTES, _SMALLEST)
