r"""How the log-density of a family is linear in features of the sample.

$\log w_k N(x | μ_k, Σ_k) = θ_k^T φ(x)$ with $φ$ made of products of coordinates. Two
matrix products with the same $φ$ are then the whole E-step. Arrays are 2-D here, with
samples as columns.
"""

import abc
import functools as ft
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Columns, Scalar, Values
from .._core.axes import Axis
from .._covariances import (
    AbstractCovariances,
    DiagCovariances,
    factor,
    FullCovariances,
    SphericalCovariances,
    TiedCovariances,
)
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource, Chunk


Features: TypeAlias = Float[Array, "packed batch"]
Parameters: TypeAlias = Float[Array, "components packed"]
Statistics: TypeAlias = Float[Array, "packed components"]
Shared: TypeAlias = Float[Array, "one=1 batch"]


class AbstractPacking(eqx.Module):
    """The rule for one family. All is about the source's pivot."""

    @abc.abstractmethod
    def features(self, columns: Columns) -> Features:
        r"""$φ(x)$ of every sample; the last two parts are $x$ and 1."""

    @abc.abstractmethod
    def quadratic(self, u: Values) -> Float[Array, "_ _"]:
        r"""The part of $θ_k$ that belongs to products of coordinates, shape
        `(components or 1, products)`. `u` is the family's `precisions_cholesky`."""

    @abc.abstractmethod
    def shared(self, u: Values, columns: Columns) -> Shared | Scalar:
        r"""A term of the log-density that is the same for all components."""

    @abc.abstractmethod
    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        r"""The family's second moment, from $\sum_n r_{nk} φ(x_n)$ without its last two
        parts."""


def parameters(
    packing: AbstractPacking, mixture: GaussianMixture, u: Values
) -> Parameters:
    r"""$θ$: the log-density of every component at every sample is $θ φ$."""
    n_features = mixture.n_features
    means = mixture.means
    if factor.is_diagonal(u):
        linear = u**2 * means
    else:
        whitened = linalg.matmul(jnp.swapaxes(u, -1, -2), means)
        linear = linalg.matmul(u, whitened)
    log_det = factor.log_det(u)
    if Axis.features in mixture.covariances.shared_axes:
        log_det = n_features * log_det
    square = jnp.sum(linear * means, axis=Axis.features, keepdims=True)
    constant = log_det - 0.5 * (n_features * linalg.LOG_2PI + square)
    # The logarithm of a weight of zero, but a number: -inf times zero would be NaN in
    # derivatives. Its exponential is zero all the same.
    lowest = 0.5 * float(jnp.finfo(means.dtype).min)
    constant = jnp.where(mixture.weights > 0, constant + mixture.log_weights, lowest)
    quadratic = packing.quadratic(u)
    quadratic = jnp.broadcast_to(quadratic, (means.shape[1], quadratic.shape[1]))
    parts = (quadratic, linear[0, :, :, 0], constant[0, :, :, 0])
    return jnp.concatenate(parts, axis=1)


def moments(
    packing: AbstractPacking, statistics: Statistics, n_features: int
) -> Moments:
    n_products = statistics.shape[0] - n_features - 1
    products, first, count = jnp.split(
        statistics, [n_products, n_products + n_features]
    )
    return Moments(
        count=count.T[None, :, :, None],
        first=first.T[None, :, :, None],
        second=packing.second(products),
    )


def _with_one(columns: Columns) -> Float[Array, "features+1 batch"]:
    return jnp.concatenate([columns, jnp.ones_like(columns[:1])])


def _products(columns: Columns, rows: np.ndarray, cols: np.ndarray) -> Features:
    """$[x_i x_j, x, 1]$ for given $i$ and $j$: all are products of two numbers of
    $[x, 1]$. XLA writes them six times as fast as it puts them together from parts."""
    every = np.arange(columns.shape[0])
    one = every.size
    factors = _with_one(columns)
    left = factors[np.concatenate([rows, every, [one]])]
    right = factors[np.concatenate([cols, np.full_like(every, one), [one]])]
    return left * right


class FullPacking(AbstractPacking):
    r"""$φ = [x_i x_j \text{ for } i \le j, x, 1]$."""

    def features(self, columns: Columns) -> Features:
        return _products(columns, *np.triu_indices(columns.shape[0]))

    def quadratic(self, u: Values) -> Float[Array, "_ _"]:
        precisions = linalg.matmul(u, jnp.swapaxes(u, -1, -2))[0]
        rows, cols = np.triu_indices(precisions.shape[-1])
        # Each product off the diagonal stands for two equal terms.
        factor = jnp.asarray(np.where(rows == cols, -0.5, -1.0), precisions.dtype)
        return factor[None] * precisions[:, rows, cols]

    def shared(self, u: Values, columns: Columns) -> Scalar:
        return jnp.zeros((), columns.dtype)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        n_features = (round((8 * products.shape[0] + 1) ** 0.5) - 1) // 2
        position = np.zeros((n_features, n_features), dtype=int)
        rows, cols = np.triu_indices(n_features)
        position[rows, cols] = position[cols, rows] = np.arange(rows.size)
        return jnp.moveaxis(products[position], -1, 0)[None]


class DiagPacking(AbstractPacking):
    r"""$φ = [x_i^2, x, 1]$."""

    def features(self, columns: Columns) -> Features:
        every = np.arange(columns.shape[0])
        return _products(columns, every, every)

    def quadratic(self, u: Values) -> Float[Array, "_ _"]:
        return -0.5 * u[0, :, :, 0] ** 2

    def shared(self, u: Values, columns: Columns) -> Scalar:
        return jnp.zeros((), columns.dtype)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        return products.T[None, :, :, None]


class SphericalPacking(AbstractPacking):
    r"""$φ = [|x|^2, x, 1]$."""

    def features(self, columns: Columns) -> Features:
        square = jnp.sum(columns**2, axis=0, keepdims=True)
        return jnp.concatenate([square, _with_one(columns)])

    def quadratic(self, u: Values) -> Float[Array, "_ _"]:
        return -0.5 * u[0, :, :, 0] ** 2

    def shared(self, u: Values, columns: Columns) -> Scalar:
        return jnp.zeros((), columns.dtype)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        return products.T[None, :, :, None]


class TiedPacking(AbstractPacking):
    r"""$φ = [x, 1]$: the quadratic term is the same for all components, and so is
    $\sum_n w_n x_n x_n^T$, which does not change from step to step."""

    total: Float[Array, "features features"]

    def features(self, columns: Columns) -> Features:
        return _with_one(columns)

    def quadratic(self, u: Values) -> Float[Array, "_ _"]:
        return jnp.zeros((1, 0), u.dtype)

    def shared(self, u: Values, columns: Columns) -> Shared:
        whitened = linalg.matmul(u[0, 0].T, columns)
        return -0.5 * jnp.sum(whitened**2, axis=0, keepdims=True)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        return self.total[None, None]


# `singledispatch` rather than a method, so that a family defined outside this package
# can have a packed kernel without editing `AbstractCovariances`.
@ft.singledispatch
def packing(
    covariances: AbstractCovariances, source: AbstractSource
) -> AbstractPacking | None:
    """The packing of a family, or `None` where it has no rule: the residual kernel then
    does all the work. Register one with `gmmx_eqx.packing.register(Family)`."""
    del covariances, source
    return None


@packing.register(FullCovariances)
def _(covariances, source):
    del covariances, source
    return FullPacking()


@packing.register(DiagCovariances)
def _(covariances, source):
    del covariances, source
    return DiagPacking()


@packing.register(SphericalCovariances)
def _(covariances, source):
    del covariances, source
    return SphericalPacking()


@packing.register(TiedCovariances)
def _(covariances, source):
    del covariances
    about = jnp.zeros_like(source.pivot)

    def scatter(chunk: Chunk):
        resp = chunk.weights[None]
        return TiedCovariances.moments_about(chunk.columns, about, resp).second

    return TiedPacking(total=source.reduce(scatter)[0, 0])
