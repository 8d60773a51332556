r"""What samples of which not everything is known say about every component.

$T = H Σ H^T + R$ is factorised for each component and sample, or once for samples that
share $H$ and $R$. Samples are on the last axis, where they fill the vector units.
"""

import functools as ft
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Means
from .._core.cholesky import inverse_cholesky
from .._covariances import AbstractCovariances
from .._sources import Record


# Up to so many outputs the factorisation is written out, number by number.
_UNROLLED = 6

Dense = Float[Array, "k d d"]
# Lower triangular, or their elements; of size one on the last axis for a group.
Factors = Float[Array, "k m m _"]


class Seen(eqx.Module):
    r"""One block of samples, as every component expects them.

    **Attributes:**

    - `log_density`: of what was seen, in nats, shape `(components, batch)`.
    - `pull`: $T^{-1} (y - H μ)$, shape `(components, outputs, batch)`, in inverse units
        of $y$; zero where a value is missing.
    - `factor`: $L^{-1}$ for $T = L L^T$, with the identity for missing values.
    """

    log_density: Float[Array, "k n"]
    pull: Float[Array, "k m n"]
    factor: Factors

    def precision_at(self, i: int, j: int) -> Float[Array, "k _"]:
        """An element of $T^{-1}$."""
        f = self.factor
        first = max(i, j)
        return _sum([f[:, k, i] * f[:, k, j] for k in range(first, f.shape[1])])

    @property
    def precision(self) -> Float[Array, "k m m _"]:
        """$T^{-1}$."""
        rows = jnp.moveaxis(self.factor, -1, 1)
        square = linalg.matmul(linalg.transpose(rows), rows)
        return jnp.moveaxis(square, 1, -1)


def dense_of(covariances: AbstractCovariances, n_components: int, d: int) -> Dense:
    """Square matrices, one for each component."""
    dense = covariances.dense(d)
    return jnp.broadcast_to(dense, (1, n_components, d, d))[0]


def see(means: Means, dense: Dense, record: Record) -> Seen:
    """What a block of samples is to every component.

    **Arguments:**

    - `means`: about the samples' pivot.
    """
    factor = inverse_factor(expected(dense, record))
    residuals = record.values[None] - seen_means(means, record)
    present = record.present
    count = jnp.asarray(record.values.shape[0], means.dtype)
    if present is not None:
        residuals = jnp.where(present[None], residuals, 0)
        count = jnp.sum(present, axis=0)[None].astype(means.dtype)
    m = residuals.shape[1]
    if m > _UNROLLED:
        if factor.shape[-1] == 1:
            lower = factor[..., 0]
            white = linalg.matmul(lower, residuals)
            pull = linalg.matmul(linalg.transpose(lower), white)
        else:
            white = jnp.sum(factor * residuals[:, None], axis=2)
            pull = jnp.sum(factor * white[:, :, None], axis=1)
        rows = [white[:, i] for i in range(m)]
    else:
        at = lambda i, j: factor[:, i, j]
        rows = [
            _sum([at(i, j) * residuals[:, j] for j in range(i + 1)]) for i in range(m)
        ]
        columns = [_sum([at(i, j) * rows[i] for i in range(j, m)]) for j in range(m)]
        pull = jnp.stack(columns, axis=1)
    distance = _sum([row**2 for row in rows])
    log_density = _half_log_det(factor) - 0.5 * (distance + count * linalg.LOG_2PI)
    return Seen(log_density, pull, factor)


def _sum(terms: list[Array]) -> Array:
    return ft.reduce(operator.add, terms)


def _half_log_det(factor: Factors) -> Float[Array, "k _"]:
    """One logarithm for each sample: of a product relative to that of the first, which
    no unit of the data makes too large."""
    m = factor.shape[1]
    first = [factor[:, i, i, :1] for i in range(m)]
    first = [jnp.where(number > 0, number, 1) for number in first]
    relative = _product([factor[:, i, i] / first[i] for i in range(m)])
    return jnp.log(relative) + _sum([jnp.log(n) for n in first])


def _product(terms: list[Array]) -> Array:
    return ft.reduce(operator.mul, terms)


def seen_means(means: Means, record: Record) -> Float[Array, "k m _"]:
    r"""$H μ$."""
    own = means[0]
    if record.operator is None:
        return own
    # A sum over few features, for every sample.
    return jnp.sum(record.operator[None] * own[:, None], axis=2)


def expected(dense: Dense, record: Record) -> Float[Array, "k m m _"]:
    r"""$H Σ H^T + R$, and one on the diagonal for missing values."""
    total = dense[..., None]
    operator = record.operator
    if operator is not None:
        half = jnp.sum(operator[None, :, :, None] * total[:, None], axis=2)
        total = jnp.sum(half[:, :, None] * operator[None, None], axis=3)
    noise = record.noise
    m = total.shape[1]
    eye = jnp.eye(m, dtype=total.dtype)[..., None]
    if noise is not None:
        square = noise if noise.shape[1] == m else noise * eye
        total = total + square[None]
    if record.present is None:
        return total
    both = record.present[:, None] & record.present[None]
    return jnp.where(both[None], total, eye[None])


def inverse_factor(values: Float[Array, "k m m n"]) -> Float[Array, "k m m n"]:
    """$L^{-1}$, lower triangular, for $T = L L^T$; NaN where $T$ is not positive
    definite."""
    m = values.shape[1]
    if m > _UNROLLED:
        upper = inverse_cholesky(jnp.moveaxis(values, -1, 1))
        return jnp.moveaxis(linalg.transpose(upper), 1, -1)
    lower: list[list[Array]] = []
    scale: list[Array] = []
    for i in range(m):
        row: list[Array] = []
        for j in range(i):
            rest = values[:, i, j]
            for k in range(j):
                rest = rest - row[k] * lower[j][k]
            row.append(rest * scale[j])
        rest = values[:, i, i]
        for k in range(i):
            rest = rest - row[k] ** 2
        scale.append(linalg.inverse_sqrt(rest))
        lower.append(row)
    # Computed once, or XLA computes what comes before for every number that needs it.
    lower, scale = jax.lax.optimization_barrier((lower, scale))
    inverse: list[list[Array]] = []
    for i in range(m):
        row = []
        for j in range(i):
            rest = lower[i][j] * scale[j]
            for k in range(j + 1, i):
                rest = rest + lower[i][k] * inverse[k][j]
            row.append(-rest * scale[i])
        inverse.append([*row, scale[i]])
    zero = jnp.zeros_like(scale[0])
    rows = [jnp.stack([*row, *[zero] * (m - len(row))], axis=1) for row in inverse]
    return jnp.stack(rows, axis=1)
