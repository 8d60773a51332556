"""Components of many mixtures in the order of those of one."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._core.axes import Axis
from .._core.programs import program
from .._covariances import take_components
from .._mixture import GaussianMixture
from .._ops import gaussians, pairwise


def matched(mixtures: GaussianMixture, like: GaussianMixture) -> GaussianMixture:
    r"""Mixtures with their components in such an order that the sum of the
    Bhattacharyya distances, $-\log \int \sqrt{p q}$, to those of `like` is least.

    **Arguments:**

    - `mixtures`: with a leading axis.
    """
    costs = np.asarray(_distances(mixtures, like), np.float64)
    k = like.n_components
    # Of a fit that failed any order will do.
    costs = np.nan_to_num(costs, nan=0, posinf=np.finfo(np.float64).max / (2 * k))
    order = np.tile(np.arange(k), (len(costs), 1))
    # Where every component is nearest to itself there is no better order.
    best = np.argmin(costs, axis=1)
    moved = np.any(best != np.arange(k), axis=1)
    if not moved.any():
        return mixtures
    for lane in np.flatnonzero(moved):
        order[lane] = assignment(costs[lane])
    return _reordered(mixtures, jnp.asarray(order))


def assignment(cost: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """Which row each column gets, no row twice, so that the sum of costs is least.

    ??? cite "Reference"

        Jonker, Volgenant (1987), A Shortest Augmenting Path Algorithm for Dense and
        Sparse Linear Assignment Problems. Computing 38, 325-340.
    """
    n = len(cost)
    # One column more, from which the path to a row begins.
    row_price, column_price = np.zeros(n), np.zeros(n + 1)
    row_of = np.full(n + 1, -1)
    for row in range(n):
        row_of[n], column = row, n
        least, before = np.full(n, np.inf), np.full(n, n)
        done = np.zeros(n + 1, bool)
        while row_of[column] >= 0:
            done[column] = True
            own = row_of[column]
            reduced = cost[own] - row_price[own] - column_price[:n]
            shorter = ~done[:n] & (reduced < least)
            least[shorter], before[shorter] = reduced[shorter], column
            following = int(np.argmin(np.where(done[:n], np.inf, least)))
            step = least[following]
            row_price[row_of[done]] += step
            column_price[done] -= step
            least[~done[:n]] -= step
            column = following
        while column != n:
            row_of[column] = row_of[before[column]]
            column = before[column]
    return row_of[:n]


@program()
def _distances(
    mixtures: GaussianMixture, like: GaussianMixture
) -> Float[Array, "lanes components components"]:
    """Components of each mixture on the middle axis, those of `like` on the last."""

    def one(mixture: GaussianMixture) -> Float[Array, "components components"]:
        p, q = gaussians.pair(mixture, like)
        k = mixture.n_components
        return gaussians.table(pairwise.bhattacharyya(p, q), (k, k))

    return jax.vmap(one)(mixtures)


@program()
def _reordered(
    mixtures: GaussianMixture, order: Int[Array, "lanes components"]
) -> GaussianMixture:
    def one(
        mixture: GaussianMixture, order: Int[Array, " components"]
    ) -> GaussianMixture:
        take = lambda leaf: jnp.take(leaf, order, axis=Axis.components)
        covariances = take_components(mixture.covariances, order)
        return GaussianMixture(take(mixture.weights), take(mixture.means), covariances)

    return jax.vmap(one)(mixtures, order)
