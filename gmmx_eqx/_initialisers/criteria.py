"""What two clusters cost to merge: the loss of classification likelihood.

Each class holds what its criterion has to know of all clusters. A cluster is called by
the number of its first sample.
"""

import abc
from typing import ClassVar, TYPE_CHECKING, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import lapack, linalg
from .._core.aliases import Count, Flag, Scalar


if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # pyright #4965
else:
    from equinox import AbstractClassVar


Positions: TypeAlias = Float[Array, "features clusters"]
PerCluster: TypeAlias = Float[Array, " clusters"]
Scatters: TypeAlias = Float[Array, "features features clusters"]
Square: TypeAlias = Float[Array, "features features"]


class Centres(eqx.Module):
    """Sizes and means of clusters, to begin with the samples themselves."""

    count: PerCluster
    mean: Positions

    def offsets(self, i: Count) -> tuple[PerCluster, Positions]:
        """Between cluster `i` and each, whose scatter is `share * step stepᵀ`."""
        count = self.count[i] + self.count
        share = self.count[i] * self.count / count
        return share, self.mean - jnp.take(self.mean, i, axis=1)[:, None]

    def merged(self, i: Count, j: Count, merges: Flag) -> "Centres":
        count = self.count[i] + self.count[j]
        mean, other = jnp.take(self.mean, i, axis=1), jnp.take(self.mean, j, axis=1)
        # So that the mean of identical samples is that sample.
        between = mean + (other - mean) * (self.count[j] / count)
        return Centres(
            self.count.at[i].set(jnp.where(merges, count, self.count[i])),
            self.mean.at[:, i].set(jnp.where(merges, between, mean)),
        )


class AbstractCriterion(eqx.Module):
    """A criterion and the clusters that it is about."""

    centres: eqx.AbstractVar[Centres]
    # Whether a merge changes the costs of other pairs, all of which then grow.
    moves_others: AbstractClassVar[bool]

    @classmethod
    @abc.abstractmethod
    def create(cls, centres: Centres) -> "AbstractCriterion":
        """Of clusters that are one sample each."""

    @abc.abstractmethod
    def costs(self, i: Count) -> PerCluster:
        """Of merging cluster `i` with each. Minus infinity if all their samples are
        identical."""

    @abc.abstractmethod
    def merged(self, i: Count, j: Count, merges: Flag) -> "AbstractCriterion":
        """With cluster `j` in `i`, if `merges`."""


class EII(AbstractCriterion):
    """The trace of the pooled scatter: Ward's criterion."""

    centres: Centres
    moves_others: ClassVar[bool] = False

    @classmethod
    def create(cls, centres: Centres) -> "EII":
        return cls(centres)

    def costs(self, i: Count) -> PerCluster:
        share, step = self.centres.offsets(i)
        return share * jnp.sum(step**2, axis=0)

    def merged(self, i: Count, j: Count, merges: Flag) -> "EII":
        return EII(self.centres.merged(i, j, merges))


class VII(AbstractCriterion):
    r"""$\sum_k n_k \log((\mathrm{tr} W_k + α) / n_k)$."""

    centres: Centres
    trace: PerCluster
    level: PerCluster
    alpha: Scalar
    moves_others: ClassVar[bool] = False

    @classmethod
    def create(cls, centres: Centres) -> "VII":
        alpha = _singleton_trace(centres)
        level = _safe_log(alpha / centres.count)
        return cls(centres, jnp.zeros_like(level), level, alpha)

    def costs(self, i: Count) -> PerCluster:
        share, step = self.centres.offsets(i)
        trace = self.trace[i] + self.trace + share * jnp.sum(step**2, axis=0)
        count = self.centres.count
        level = _safe_log((trace + self.alpha) / (count[i] + count))
        return _growth(self.centres, self.level, level, i, trace)

    def merged(self, i: Count, j: Count, merges: Flag) -> "VII":
        share, step = (leaf[..., j] for leaf in self.centres.offsets(i))
        trace = self.trace[i] + self.trace[j] + share * jnp.sum(step**2)
        centres = self.centres.merged(i, j, merges)
        level = _safe_log((trace + self.alpha) / centres.count[i])
        return VII(
            centres,
            self.trace.at[i].set(jnp.where(merges, trace, self.trace[i])),
            self.level.at[i].set(jnp.where(merges, level, self.level[i])),
            self.alpha,
        )


class EEE(AbstractCriterion):
    r"""$|W / n| + \mathrm{tr}(W / n)$ of the pooled scatter of `n` samples, which while
    it is singular is its trace."""

    centres: Centres
    pooled: Square
    metric: Square
    n_samples: Scalar
    moves_others: ClassVar[bool] = True

    @classmethod
    def create(cls, centres: Centres) -> "EEE":
        n_features = len(centres.mean)
        pooled = jnp.zeros((n_features, n_features), centres.mean.dtype)
        n_samples = jnp.sum(centres.count)
        # So that features without variance change no determinant.
        is_flat = _total_scatter(centres) == 0
        pooled = pooled + jnp.diag(jnp.where(is_flat, n_samples, 0))
        return cls(centres, pooled, _metric(pooled, n_samples), n_samples)

    def costs(self, i: Count) -> PerCluster:
        share, step = self.centres.offsets(i)
        # By the law of determinants |A + vvᵀ| = |A| + vᵀ adj(A) v.
        return share * jnp.sum(step * linalg.matmul(self.metric, step), axis=0)

    def merged(self, i: Count, j: Count, merges: Flag) -> "EEE":
        share, step = (leaf[..., j] for leaf in self.centres.offsets(i))
        centres = self.centres.merged(i, j, merges)
        grown = self.pooled + share * step[:, None] * step[None]
        pooled = jnp.where(merges, grown, self.pooled)
        new = lambda: _metric(pooled, self.n_samples)
        metric = jax.lax.cond(merges, new, lambda: self.metric)
        return EEE(centres, pooled, metric, self.n_samples)


def _metric(pooled: Square, n_samples: Scalar) -> Square:
    eigenvalues, vectors = lapack.eigh(pooled / n_samples)
    eigenvalues = jnp.maximum(eigenvalues, 0)
    # The product of the other eigenvalues, also where they are zero.
    before = jnp.cumprod(eigenvalues)[:-1]
    after = jnp.cumprod(eigenvalues[::-1])[-2::-1]
    one = jnp.ones(1, eigenvalues.dtype)
    others = jnp.concatenate([one, before]) * jnp.concatenate([after, one])
    return linalg.matmul(vectors * ((others + 1) / n_samples)[None], vectors.T)


class VVV(AbstractCriterion):
    r"""$\sum_k n_k \log(|W_k / n_k| + (\mathrm{tr} W_k + α) / n_k)$."""

    centres: Centres
    scatter: Scatters
    level: PerCluster
    alpha: Scalar
    is_flat: Float[Array, " features"]
    moves_others: ClassVar[bool] = False

    @classmethod
    def create(cls, centres: Centres) -> "VVV":
        n_features, n_clusters = centres.mean.shape
        alpha = _singleton_trace(centres)
        dtype = centres.mean.dtype
        return cls(
            centres,
            jnp.zeros((n_features, n_features, n_clusters), dtype),
            _safe_log(alpha / centres.count),
            alpha,
            (_total_scatter(centres) == 0).astype(dtype),
        )

    def costs(self, i: Count) -> PerCluster:
        share, step = self.centres.offsets(i)
        scatter = jnp.take(self.scatter, i, axis=2)[..., None] + self.scatter
        scatter = scatter + share[None, None] * step[:, None] * step[None]
        count = self.centres.count
        level, trace = self._level(scatter, count[i] + count)
        return _growth(self.centres, self.level, level, i, trace)

    def merged(self, i: Count, j: Count, merges: Flag) -> "VVV":
        share, step = (leaf[..., j] for leaf in self.centres.offsets(i))
        one, other = (jnp.take(self.scatter, k, axis=2) for k in (i, j))
        scatter = one + other + share * step[:, None] * step[None]
        centres = self.centres.merged(i, j, merges)
        level, _ = self._level(scatter[..., None], centres.count[i][None])
        return VVV(
            centres,
            self.scatter.at[..., i].set(jnp.where(merges, scatter, one)),
            self.level.at[i].set(jnp.where(merges, level[0], self.level[i])),
            self.alpha,
            self.is_flat,
        )

    def _level(
        self, scatter: Scatters, count: PerCluster
    ) -> tuple[PerCluster, PerCluster]:
        trace = jnp.trace(scatter)
        inner = (trace + self.alpha) / count
        if len(scatter) > 1:
            # Features without variance change no determinant.
            values = scatter / count[None, None] + jnp.diag(self.is_flat)[..., None]
            is_one = jnp.sum(1 - self.is_flat) <= 1
            inner = inner + jnp.where(is_one, 0, _determinants(values))
        return _safe_log(inner), trace


def _determinants(values: Scatters) -> PerCluster:
    """Of positive semidefinite matrices; zero where rounding makes them negative."""

    def eliminate(j, carry):
        values, determinant = carry
        row = jax.lax.dynamic_index_in_dim(values, j, 0, keepdims=False)
        pivot = jnp.maximum(jax.lax.dynamic_index_in_dim(row, j, 0), 0)
        factor = row * jnp.where(pivot > 0, 1 / jnp.where(pivot > 0, pivot, 1), 0)
        return values - row[:, None] * factor[None], determinant * pivot[0]

    carry = values, jnp.ones_like(values[0, 0])
    _, determinants = jax.lax.fori_loop(0, len(values), eliminate, carry)
    return determinants


def _growth(
    centres: Centres, levels: PerCluster, level: PerCluster, i: Count, trace: PerCluster
) -> PerCluster:
    count = centres.count
    growth = count[i] * (level - levels[i]) + count * (level - levels)
    return jnp.where(trace == 0, -jnp.inf, growth)


def _safe_log(x: Array) -> Array:
    # Of clusters that are not there, and of samples that are all identical.
    return jnp.log(jnp.where(x > 0, x, 1))


def _total_scatter(centres: Centres) -> Float[Array, " features"]:
    count = centres.count
    mean = jnp.sum(count[None] * centres.mean, axis=1) / jnp.sum(count)
    return jnp.sum(count[None] * (centres.mean - mean[:, None]) ** 2, axis=1)


def _singleton_trace(centres: Centres) -> Scalar:
    """The trace that stands for that of a cluster of one sample: the trace of the total
    scatter, per sample and feature."""
    scatter = _total_scatter(centres)
    n_features = jnp.maximum(jnp.sum(scatter > 0), 1)
    n = jnp.sum(centres.count) * n_features.astype(scatter.dtype)
    return jnp.sum(scatter) / n
