r"""How the log-density of a family is linear in features of the sample.

$\log w_k N(x | μ_k, Σ_k) = θ_k^T φ(x)$ with $φ$ made of products of coordinates. Two
matrix products with the same $φ$ are then the whole E-step. Arrays are 2-D here, with
samples as columns.
"""

import abc
import functools as ft
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Columns, Scalar, Values
from .._core.axes import Axis
from .._covariances import (
    AbstractCovariances,
    AbstractIndependent,
    AbstractMatrices,
    AbstractWhitening,
    has_features_alike,
    is_tied,
    moments_about,
)
from .._mixture import GaussianMixture
from .._moments import Moments
from .._sources import AbstractSource, Chunk, InMemory


Features: TypeAlias = Float[Array, "packed batch"]
Parameters: TypeAlias = Float[Array, "components packed"]
Statistics: TypeAlias = Float[Array, "packed components"]
Shared: TypeAlias = Float[Array, "one=1 batch"]


class AbstractPacking(eqx.Module):
    """Rule for one family. All is about the source's pivot."""

    @abc.abstractmethod
    def features(self, columns: Columns) -> Features:
        r"""$φ(x)$ of every sample; the last two parts are $x$ and 1."""

    @abc.abstractmethod
    def quadratic(self, whitening: AbstractWhitening) -> Float[Array, "_ _"]:
        r"""Part of $θ_k$ that belongs to products of coordinates, shape
        `(components or 1, products)`."""

    @abc.abstractmethod
    def shared(self, whitening: AbstractWhitening, columns: Columns) -> Shared | Scalar:
        r"""Term of the log-density that is the same for all components."""

    @abc.abstractmethod
    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        r"""Statistic of the family, from $\sum_n r_{nk} φ(x_n)$ without its last two
        parts: one number for each feature or for all of them, or square matrices."""


def parameters(
    packing: AbstractPacking, mixture: GaussianMixture, whitening: AbstractWhitening
) -> Parameters:
    r"""$θ$: the log-density of every component at every sample is $θ φ$."""
    means = mixture.means
    _, n_components, n_features, _ = means.shape
    linear = whitening.solve(means)
    square = jnp.sum(linear * means, axis=Axis.features, keepdims=True)
    constant = -0.5 * whitening.log_det - 0.5 * (n_features * linalg.LOG_2PI + square)
    # The logarithm of a weight of zero, but a number: -inf times zero would be NaN in
    # derivatives. Its exponential is zero all the same.
    lowest = 0.5 * float(jnp.finfo(means.dtype).min)
    constant = jnp.where(mixture.weights > 0, constant + mixture.log_weights, lowest)
    quadratic = packing.quadratic(whitening)
    quadratic = jnp.broadcast_to(quadratic, (n_components, quadratic.shape[1]))
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

    def quadratic(self, whitening: AbstractWhitening) -> Float[Array, "_ _"]:
        precisions = whitening.precision[0]
        rows, cols = np.triu_indices(precisions.shape[-1])
        # Each product off the diagonal stands for two equal terms.
        factor = jnp.asarray(np.where(rows == cols, -0.5, -1.0), precisions.dtype)
        return factor[None] * precisions[:, rows, cols]

    def shared(self, whitening: AbstractWhitening, columns: Columns) -> Scalar:
        return jnp.zeros((), columns.dtype)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        n_features = (round((8 * products.shape[0] + 1) ** 0.5) - 1) // 2
        position = np.zeros((n_features, n_features), dtype=int)
        rows, cols = np.triu_indices(n_features)
        position[rows, cols] = position[cols, rows] = np.arange(rows.size)
        return jnp.moveaxis(products[position], -1, 0)[None]


class IndependentPacking(AbstractPacking):
    r"""$φ = [x_i^2, x, 1]$ or, where all features have the same variance,
    $φ = [|x|^2, x, 1]$.

    **Attributes:**

    - `alike`: whether all features have the same variance.
    """

    alike: bool = eqx.field(static=True)

    def features(self, columns: Columns) -> Features:
        if self.alike:
            square = jnp.sum(columns**2, axis=0, keepdims=True)
            return jnp.concatenate([square, _with_one(columns)])
        every = np.arange(columns.shape[0])
        return _products(columns, every, every)

    def quadratic(self, whitening: AbstractWhitening) -> Float[Array, "_ _"]:
        return -0.5 * whitening.precision_diagonal[0, :, :, 0]

    def shared(self, whitening: AbstractWhitening, columns: Columns) -> Scalar:
        return jnp.zeros((), columns.dtype)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        return products.T[None, :, :, None]


class TiedPacking(AbstractPacking):
    r"""$φ = [x, 1]$: the quadratic term is the same for all components, and so is
    $\sum_n w_n x_n x_n^T$, which does not change from step to step.

    **Attributes:**

    - `total`: the family's statistic of all samples.
    """

    total: Values

    def features(self, columns: Columns) -> Features:
        return _with_one(columns)

    def quadratic(self, whitening: AbstractWhitening) -> Float[Array, "_ _"]:
        return jnp.zeros((1, 0), self.total.dtype)

    def shared(self, whitening: AbstractWhitening, columns: Columns) -> Shared:
        whitened = whitening.whiten(columns[None, None])[0, 0]
        return -0.5 * jnp.sum(whitened**2, axis=0, keepdims=True)

    def second(self, products: Statistics) -> Float[Array, "1 _ _ _"]:
        return self.total


# `singledispatch` rather than a method, so that a family defined outside this package
# can have a packed kernel without editing `AbstractCovariances`.
@ft.singledispatch
def packing(
    covariances: AbstractCovariances, source: AbstractSource
) -> AbstractPacking | None:
    """Packing of a family, or `None` where it has no rule: the residual kernel then
    does all the work. Register one with `gmmx_eqx.extend.packing.register(Family)`."""
    del covariances, source
    return None


@packing.register(AbstractMatrices)
def _(covariances, source):
    return _tied(covariances, source) if is_tied(covariances) else FullPacking()


@packing.register(AbstractIndependent)
def _(covariances, source):
    if is_tied(covariances):
        return _tied(covariances, source)
    return IndependentPacking(alike=has_features_alike(covariances))


def packed_length(covariances: AbstractCovariances, n_features: int) -> int | None:
    """How many packed features a sample has, or `None` where the family has no rule. Of
    `covariances` only the family counts."""

    def features(columns: Columns) -> Features | None:
        nothing = columns[None, None]
        source = InMemory(
            columns=columns[None],
            weights=columns[:1],
            pivot=nothing,
            variances=nothing,
            resolution=nothing,
            total=jnp.sum(columns),
        )
        rule = packing(covariances, source)
        return None if rule is None else rule.features(columns)

    dtype = jax.tree.leaves(covariances)[0].dtype
    sample = jax.ShapeDtypeStruct((n_features, 1), dtype)
    packed = jax.eval_shape(features, sample)
    return None if packed is None else packed.shape[0]


def _tied(covariances: AbstractCovariances, source: AbstractSource) -> TiedPacking:
    about = jnp.zeros_like(source.pivot)

    def total(chunk: Chunk):
        resp = chunk.weights[None]
        return moments_about(covariances, chunk.columns, about, resp).second

    return TiedPacking(total=source.reduce(total))
