"""Trees of clusters, merged pair by pair."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._core.aliases import Columns, ColumnWeights, Count
from .criteria import AbstractCriterion, Centres


class Tree(eqx.Module):
    """The merges that lead from single samples to one cluster.

    A cluster is called by the number of its first sample. A sample of weight zero is in
    no cluster.

    **Attributes:**

    - `parent`: which cluster each sample's was merged into, shape `(samples,)`.
    - `merge`: by which merge, counted from zero; `samples` for those that never were.
    - `cost`: the cost of that merge.
    - `is_present`: which samples are in the tree.
    """

    parent: Int[Array, " samples"]
    merge: Int[Array, " samples"]
    cost: Float[Array, " samples"]
    is_present: Bool[Array, " samples"]

    def labels(self, n_clusters: Count) -> Int[Array, " samples"]:
        """The clusters when there were `n_clusters` of them, numbered by their first
        samples; -1 for samples that are not in the tree."""
        n_samples, dtype = len(self.parent), self.parent.dtype
        n_merges = jnp.sum(self.is_present, dtype=dtype) - n_clusters.astype(dtype)
        is_first = self.is_present & (self.merge >= n_merges)
        index = jnp.arange(n_samples, dtype=dtype)
        first = jnp.where(is_first, index, self.parent)
        # Each time twice as many generations up.
        climb = lambda _, first: first[first]
        first = jax.lax.fori_loop(0, n_samples.bit_length(), climb, first)
        number = jnp.cumsum(is_first, dtype=dtype) - 1
        return jnp.where(self.is_present, number[first], -1)


class SampleTree(eqx.Module):
    """The tree of some of the samples, `None` for all."""

    tree: Tree
    chosen: Int[Array, " chosen"] | None
    n_samples: int = eqx.field(static=True)

    def labels(self, n_clusters: Count) -> Int[Array, " samples"]:
        """Of all samples; -1 for those that are not in the tree."""
        labels = self.tree.labels(n_clusters)
        if self.chosen is None:
            return labels
        none = jnp.full(self.n_samples, -1, labels.dtype)
        return none.at[self.chosen].set(labels)


class _State(eqx.Module):
    """For every cluster, the cheapest pair of it and one that comes later.

    - `bound`: what the cheapest costs at least; infinite where there is none.
    - `nearest`: the other of the pair.
    - `is_exact`: whether these are known, or only that no pair is cheaper.
    """

    criterion: AbstractCriterion
    is_cluster: Bool[Array, " samples"]
    bound: Float[Array, " samples"]
    nearest: Int[Array, " samples"]
    is_exact: Bool[Array, " samples"]
    tree: Tree
    n_merges: Count


def agglomerate(
    family: type[AbstractCriterion], points: Columns, weights: ColumnWeights
) -> Tree:
    """The tree in which every merge is the cheapest; of equal ones that whose first
    cluster comes first, then that whose second does.

    A merge changes the costs of pairs with the new cluster alone, so that a cluster
    whose partner is gone has a bound, and is looked at again only if no other is
    cheaper (Müllner 2011, arXiv:1109.2378, "generic"). Costs of one cluster with all
    others are computed where they are needed: the matrix of all of them would be as
    large as the square of the data, for every data set side by side.

    **Arguments:**

    - `points`: shape `(features, samples)`.
    - `weights`: how often each sample counts; zero for those that are not there.
    """
    n_samples = points.shape[1]
    is_present = weights > 0
    index = jnp.arange(n_samples, dtype=jnp.int32)
    largest = float(jnp.finfo(points.dtype).max)
    centres = Centres(
        jnp.where(is_present, weights, 0), jnp.where(is_present, points, 0)
    )

    def turn(state):
        bound, nearest, is_exact = state.bound, state.nearest, state.is_exact
        i = _first(bound == jnp.min(bound), index)
        # Either the two are merged, or the costs of the one are computed anew.
        merges, j = is_exact[i], nearest[i]
        criterion = state.criterion.merged(i, j, merges)
        gone = merges & (index == j)
        is_cluster = state.is_cluster & ~gone
        tree = _grown(state.tree, i, gone, state.n_merges, bound[i])

        # Computed once: they are compared with their own minimum.
        costs = jax.lax.optimization_barrier(criterion.costs(i))
        costs = jnp.where(costs < largest, costs, largest)
        # Clusters before this one: it may be cheaper now than what they had.
        is_before = is_cluster & merges & (index < i)
        is_cheaper = costs < bound
        is_tie = (costs == bound) & is_exact & (i < nearest)
        is_best = is_before & (is_cheaper | is_tie)
        is_lost = (nearest == i) | (nearest == j) | criterion.moves_others
        is_exact = is_best | (is_exact & ~(merges & is_lost))
        nearest = jnp.where(is_best, i, nearest)
        bound = jnp.where(is_before & is_cheaper, costs, bound)
        bound = jnp.where(gone, jnp.inf, bound)
        # Those after it.
        later = jnp.where(is_cluster & (index > i), costs, jnp.inf)
        best = jnp.min(later)
        return _State(
            criterion,
            is_cluster,
            bound.at[i].set(best),
            nearest.at[i].set(_first(later == best, index)),
            is_exact.at[i].set(True),
            tree,
            state.n_merges + merges.astype(jnp.int32),
        )

    start = _State(
        family.create(centres),
        is_present,
        jnp.where(is_present, -jnp.inf, jnp.inf).astype(points.dtype),
        index,
        jnp.zeros(n_samples, bool),
        Tree(
            index,
            jnp.full(n_samples, n_samples, jnp.int32),
            jnp.zeros(n_samples, points.dtype),
            is_present,
        ),
        jnp.zeros((), jnp.int32),
    )
    n_merges = jnp.sum(is_present, dtype=jnp.int32) - 1
    unfinished = lambda state: state.n_merges < n_merges
    return jax.lax.while_loop(unfinished, turn, start).tree


def _first(mask: Bool[Array, " samples"], index: Int[Array, " samples"]) -> Count:
    # Plain reductions use the vector units of a CPU, `argmin` does not.
    return jnp.minimum(jnp.min(jnp.where(mask, index, len(index))), len(index) - 1)


def _grown(
    tree: Tree,
    i: Count,
    gone: Bool[Array, " samples"],
    n_merges: Count,
    cost: Float[Array, ""],
) -> Tree:
    # Identical samples cost nothing.
    cost = jnp.where(jnp.isfinite(cost), cost, 0)
    return Tree(
        jnp.where(gone, i, tree.parent),
        jnp.where(gone, n_merges, tree.merge),
        jnp.where(gone, cost, tree.cost),
        tree.is_present,
    )


def as_linkage(tree: Tree) -> Float[np.ndarray, "merges 4"]:
    """The merges in the format of `scipy.cluster.hierarchy`, of samples that are all in
    the tree but for the last ones."""
    parent, merge, cost, is_present = (
        np.asarray(leaf) for leaf in jax.tree.leaves(tree)
    )
    n_samples = int(np.sum(is_present))
    number, size = np.arange(n_samples), np.ones(n_samples)
    rows = np.zeros((n_samples - 1, 4))
    for row, j in enumerate(np.argsort(merge, kind="stable")[: n_samples - 1]):
        i = parent[j]
        size[i] += size[j]
        rows[row] = *sorted((number[i], number[j])), max(cost[j], 0), size[i]
        number[i] = n_samples + row
    rows[:, 2] = np.maximum.accumulate(rows[:, 2])
    return rows
