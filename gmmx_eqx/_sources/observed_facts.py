"""What is known of samples of which not everything is known, as a whole."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._core import linalg
from .._core.aliases import PerFeature, Scalar
from .._core.cholesky import inverse_cholesky
from .abstract import AbstractFacts
from .layout import Groups


class ObservedFacts(AbstractFacts):
    """What is known of observed samples as a whole.

    **Attributes:**

    - `pivot`, `variances`, `resolution`, `total`: see
        [`gmmx_eqx.extend.AbstractFacts`][].
    - `counted`: the weight of the samples of which anything was seen.
    - `slack`: variances of independent noise that is a part of all noise, shape
        `(1, 1, features, 1)`; zero without such a part, and `None` without noise.
    - `misses`: whether any value may be missing.
    - `has_own_noise`: whether every sample has noise of its own.
    - `groups`: the room for groups of samples that share all but their values; `None`
        where samples of blocks are not grouped.
    """

    pivot: PerFeature
    variances: PerFeature
    resolution: PerFeature
    total: Scalar
    counted: Scalar
    slack: PerFeature | None
    misses: bool = eqx.field(static=True, default=True)
    has_own_noise: bool = eqx.field(static=True, default=True)
    groups: Groups | None = eqx.field(static=True, default=None)

    @property
    def is_exact(self) -> bool:
        """Whether samples are taken one by one, without packed features."""
        return self.has_own_noise or (self.misses and self.groups is None)


def centre(
    y: Float[Array, "n m"],
    weighted: Float[Array, "n m"],
    operator: Float[Array, "..."] | None,
    n_features: int,
) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
    """A point near the mean of what was seen, by least squares where that is not the
    features themselves; variances about it; and the size of the largest numbers."""
    y, weighted, operator = jax.lax.stop_gradient((y, weighted, operator))
    n, m = y.shape
    if operator is None:
        total = jnp.sum(weighted, axis=0)
        total = jnp.where(total == 0, 1, total)
        mean_of = lambda values: jnp.sum(weighted * values, axis=0) / total
        pivot = mean_of(y)
        pivot = pivot + mean_of(y - pivot[None])
        square = mean_of((y - pivot[None]) ** 2)
        size = jnp.max(jnp.where(weighted > 0, jnp.abs(y - pivot[None]), 0), axis=0)
        return pivot, square, jnp.abs(pivot) + size
    rows = jnp.broadcast_to(operator, (n, m, n_features)).reshape(n * m, n_features)
    share = weighted.reshape(-1, 1)
    gram = linalg.matmul((share * rows).T, rows)
    # What is not seen at all stays at zero.
    diagonal = jnp.diagonal(gram)
    some = 1e-4 * jnp.where(diagonal == 0, 1, diagonal)
    root = inverse_cholesky(gram + jnp.diag(some))
    solve = lambda column: linalg.matmul(root, linalg.matmul(root.T, column))
    pivot = jnp.zeros((n_features, 1), y.dtype)
    target = y.reshape(-1, 1)
    for _ in range(3):
        rest = target - linalg.matmul(rows, pivot)
        pivot = pivot + solve(linalg.matmul(rows.T, share * rest))
    rest = target - linalg.matmul(rows, pivot)
    touched = jnp.where(rows != 0, share, 0)
    below = jnp.sum(share * rows**2, axis=0)
    square = jnp.sum(touched * rest**2, axis=0) / jnp.where(below == 0, 1, below)
    return pivot[:, 0], square, jnp.abs(pivot[:, 0]) + 8 * jnp.sqrt(square)


def least_noise(
    present: Bool[Array, "n m"],
    operator: Float[Array, "..."] | None,
    noise: Float[Array, "..."],
    n_features: int,
) -> Float[Array, " d"]:
    r"""$\min R_{ii} / H_{ij}^2$ of every feature; infinite where nothing was seen of
    it."""
    n, m = present.shape
    own = noise if noise.shape[-1] == 1 else linalg.diagonal_of(noise)
    own = jnp.broadcast_to(own[..., 0], (n, m))
    if operator is None:
        seen, ratio = present, own
    else:
        squares = jnp.broadcast_to(operator, (n, m, n_features)) ** 2
        seen = present[..., None] & (squares > 0)
        ratio = own[..., None] / jnp.where(seen, squares, 1)
        seen, ratio = seen.reshape(n * m, -1), ratio.reshape(n * m, -1)
    return jnp.min(jnp.where(seen, ratio, jnp.inf), axis=0)


def worst_share(
    present: Bool[Array, "n m"],
    operator: Float[Array, "..."] | None,
    noise: Float[Array, "..."],
    least: Float[Array, " d"],
) -> Scalar:
    r"""$\max_n \operatorname{tr}(R_n^{-1} H \operatorname{diag}(c) H^T)$ for
    variances $c$, which are divided by it in `divide_slack`.

    **Arguments:**

    - `least`: $c$.
    """
    m = present.shape[1]
    eye = jnp.eye(m, dtype=noise.dtype)
    square = noise
    if noise.shape[-1] == 1:
        square = eye * noise if noise.ndim == 2 else eye[None] * noise
    square = square if square.ndim == 3 else square[None]
    both = present[:, :, None] & present[:, None]
    square = jnp.where(both, square, eye[None])
    root = inverse_cholesky(square)
    # The identity in the place of H, or H itself, and nothing where it was not seen.
    columns = eye if operator is None else operator
    columns = columns if columns.ndim == 3 else columns[None]
    columns = columns * jnp.sqrt(least)[None, None]
    columns = jnp.where(present[..., None], columns, 0)
    white = linalg.matmul(linalg.transpose(root), columns)
    return jnp.max(jnp.sum(white**2, axis=(1, 2)))


def divide_slack(least: Float[Array, " d"], worst: Scalar) -> Float[Array, " d"]:
    r"""Variances $c$ with $H \operatorname{diag}(c) H^T \le R$ for every sample: since
    the largest eigenvalue is less than the trace."""
    share = 1 / jnp.where(worst > 0, worst, 1)
    return jnp.where(jnp.isfinite(worst), least * share, 0)


def slack_of(
    present: Bool[Array, "n m"],
    operator: Float[Array, "..."] | None,
    noise: Float[Array, "..."],
    n_features: int,
) -> Float[Array, " d"]:
    r"""Variances $c$ with $H \operatorname{diag}(c) H^T \le R$ for every sample.

    Of independent noise of the features themselves, the least; otherwise in proportion
    to $\min R_{ii} / H_{ij}^2$.
    """
    least = least_noise(present, operator, noise, n_features)
    least = jnp.where(jnp.isfinite(least), least, 0)
    if noise.shape[-1] == 1 and operator is None:
        return least
    return divide_slack(least, worst_share(present, operator, noise, least))
