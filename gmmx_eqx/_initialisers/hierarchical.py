import dataclasses
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from .._core import buckets, inputs, linalg
from .._core.aliases import ColumnWeights, Count, Data, Weighting
from .._core.describe import describe
from .._core.known import constant
from .._core.likes import DataLike, KeyLike, SampleWeightLike
from .._core.programs import program
from .._sources import chunk_size, InMemory
from .abstract import AbstractInitialiser
from .agglomeration import agglomerate, as_linkage, SampleTree
from .criteria import EEE, EII, VII, VVV
from .labelled_partition import LabelledPartition
from .scaling import Scaling, scaling_matrix, ScalingMatrix


_CRITERIA = {criterion.__name__: criterion for criterion in (EII, VII, EEE, VVV)}
_FAMILIES = {"tied_spherical": "EII", "spherical": "VII", "tied": "EEE", "full": "VVV"}


def as_model(model: str) -> str:
    name = _FAMILIES.get(model, model) if isinstance(model, str) else None
    if name not in _CRITERIA:
        known = ", ".join(map(repr, [*_CRITERIA, *_FAMILIES]))
        raise ValueError(f"`model` must be one of {known}; got {describe(model)}.")
    return name


def as_scaling_of_tree(scaling: str) -> Scaling:
    scalings = {scaling.value: scaling for scaling in Scaling if scaling != "auto"}
    if not isinstance(scaling, str) or scaling not in scalings:
        raise ValueError(
            f"`scaling` must be one of {', '.join(map(repr, scalings))}; got "
            f"{describe(scaling)}."
        )
    return scalings[scaling]


class Hierarchical(AbstractInitialiser):
    r"""The clusters of model-based agglomeration: from single samples on, the two are
    merged whose merging costs the classification likelihood least.

    One tree starts every number of components and every covariance family. It is built
    once for each data set, and what is random about a start is only which samples are
    in it, if there are more than `max_samples`. So several restarts are the same:
    `n_restarts=1` is enough.

    A merge costs what the criterion grows by. Cluster $k$ has $n_k$ samples and, about
    its mean, the scatter $W_k$; $W = \sum_k W_k$; $t_k = (\mathrm{tr} W_k + α) / n_k$,
    where $α$ is the trace of the scatter of all $n$ samples, divided by $n$ and the
    number of features.

    | `model` | family | criterion |
    |---|---|---|
    | `"VVV"` | `"full"` | $\sum_k n_k \log(\det(W_k / n_k) + t_k)$ |
    | `"EEE"` | `"tied"` | $\det(W / n) + \mathrm{tr}(W / n)$ |
    | `"VII"` | `"spherical"` | $\sum_k n_k \log t_k$ |
    | `"EII"` | `"tied_spherical"` | $\mathrm{tr} W$, Ward's criterion |

    The traces beside the determinants are for clusters of few samples, whose
    determinants are zero. Identical samples are merged before all others. Of merges
    that cost the same, the one whose first cluster has the first sample in the data is
    taken, then the one whose second has. Weights are numbers of identical samples.

    Time is about the square of the number of samples, and memory proportional to it.

    **Attributes:**

    - `model`: the criterion, by either name.
    - `scaling`: a [`gmmx_eqx.Scaling`][] or its name, except `auto`. `svd` is what
        mclust starts from by default.
    - `max_samples`: of how many samples the tree is. Of more, so many are drawn with
        the key, and only these are divided at the start.
    - `tree`: the tree of a data set, once it is known.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    table = gx.select(
        x, [1, 2, 3], n_restarts=1, initialiser=gx.Hierarchical(), key=jr.key(1)
    )
    print(table.best.n_components)
    ```

    ```text
    2
    ```

    ??? cite "Reference"

        Fraley (1998), Algorithms for Model-Based Gaussian Hierarchical Clustering. SIAM
        J. Sci. Comput. 20(1), 270-281.

        Banfield, Raftery (1993), Model-Based Gaussian and Non-Gaussian Clustering.
        Biometrics 49(3), 803-821.

        Ward (1963), Hierarchical Grouping to Optimize an Objective Function. JASA
        58(301), 236-244.
    """

    model: str = eqx.field(static=True, converter=as_model, default="VVV")
    scaling: Scaling = eqx.field(
        static=True, converter=as_scaling_of_tree, default=Scaling.svd
    )
    max_samples: int = eqx.field(static=True, default=2000)
    tree: SampleTree | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self) -> None:
        inputs.check_count(self.max_samples, "max_samples")

    def prepared(self, x: Data, weight: Weighting, key: KeyLike) -> "Hierarchical":
        if self.tree is not None:
            return self
        return dataclasses.replace(self, tree=_tree_of(self, x, weight, key))

    def partition_scaled(
        self,
        source: InMemory,
        scaling: ScalingMatrix,
        n_components: int,
        n_active: Count,
        key: KeyLike,
    ) -> LabelledPartition:
        tree = self.tree
        if tree is None:
            tree = _grow(self, source, scaling, key)
        labels = tree.labels(n_active)
        # The last chunk of another source may have another length.
        labels = source.split(labels[: source.weights.size])
        return LabelledPartition(labels, n_components)

    def labels(
        self,
        x: DataLike,
        n_components: int | Iterable[int],
        *,
        sample_weight: SampleWeightLike | None = None,
    ) -> Int[Array, "..."]:
        """The clusters of each sample, numbered by their first samples.

        **Arguments:**

        - `x`: the data, shape `(n_samples, n_features)`, with no more than
            `max_samples` samples.
        - `n_components`: how many clusters, or a sequence of such numbers.
        - `sample_weight`: how often each sample counts, shape `(n_samples,)`.

        **Returns:**

        Integers from zero on, as [`gmmx_eqx.GaussianMixture.from_labels`][] takes them,
        shape `(n_samples,)`; for a sequence `(n_samples, len(n_components))`. A sample
        of weight zero is in no cluster and has the label -1.

        **Raises:**

        `ValueError` for arguments that cannot be right, and if there are more samples
        than the tree may have: the others would have no label.

        **Example:**

        ```python
        x = [[0.0], [9.0], [0.1], [9.2], [5.0]]
        print(gx.Hierarchical("EII").labels(x, [2, 3]).T)
        ```

        ```text
        [[0 1 0 1 1]
         [0 1 0 1 2]]
        ```
        """
        x, weight = inputs.as_data(x, sample_weight, fits=True)
        given: Any = n_components
        several = np.ndim(given) > 0
        numbers = given if several else [given]
        counts = [inputs.check_count(n, "n_components") for n in numbers]
        if not counts:
            raise ValueError("`n_components` must hold at least one; it is empty.")
        inputs.check_enough_samples(x, weight, max(counts))
        tree = self._of_all(x, weight)
        labels = buckets.cut(_labels(tree, constant(counts)), len(x))
        return labels if several else labels[:, 0]

    def linkage(self, x: DataLike) -> Float[np.ndarray, "merges 4"]:
        """The tree in the format of `scipy.cluster.hierarchy.linkage`, which
        `scipy.cluster.hierarchy.dendrogram` draws.

        The height of a merge is its cost, or that of the costliest merge before it if
        that is more, and at least zero: costs of `VVV` and `VII` can fall from one
        merge to the next, and be negative. Costs of `EII` are half of the squares of
        scipy's heights for `"ward"`.

        **Arguments:**

        - `x`: the data, shape `(n_samples, n_features)`, with no more than
            `max_samples` samples.

        **Returns:**

        For each merge the numbers of the two clusters, its height and how many samples
        the new cluster has, shape `(n_samples - 1, 4)`. The n samples are the clusters
        0 ... n - 1, and n + i is what merge i makes.

        **Raises:**

        As `labels`.

        **Example:**

        ```python
        initialiser = gx.Hierarchical("EII", scaling="none")
        print(initialiser.linkage([[0.0], [9.0], [1.0]])[:, [0, 1, 3]])
        ```

        ```text
        [[0. 2. 2.]
         [1. 3. 3.]]
        ```
        """
        x, weight = inputs.as_data(x, fits=True)
        return as_linkage(self._of_all(x, weight).tree)

    def _of_all(self, x: Data, weight: Weighting) -> SampleTree:
        """The tree of data that must all be in it."""
        n_samples = len(x)
        if n_samples > self.max_samples:
            raise ValueError(
                f"`x` has {n_samples} samples, and a tree of this initialiser "
                f"`max_samples`, {self.max_samples}; the others would have no label. "
                "Use a larger `max_samples`, or a part of the data."
            )
        weight, _ = inputs.balance(weight)
        return _tree_of(self, *buckets.fill(x, weight), None)


# Numbers of more costs than a program of medium size has: XLA's default options double
# the time to compile and gain nothing.
_MOST = 2**20


def _n_costs(initialiser: Hierarchical, x: Data, *_: Any) -> int:
    return min(min(len(x), initialiser.max_samples) ** 2, _MOST)


@program(_n_costs)
def _tree_of(
    initialiser: Hierarchical, x: Data, weight: Weighting, key: Any
) -> SampleTree:
    source = InMemory.from_data(x, weight, chunk_size(x))
    scaling = scaling_matrix(source, initialiser.scaling)
    return _grow(initialiser, source, scaling, key)


@program()
def _labels(tree: SampleTree, counts: Int[Array, " n"]) -> Int[Array, "samples n"]:
    return jax.vmap(tree.labels, out_axes=1)(counts)


def _grow(
    initialiser: Hierarchical, source: InMemory, scaling: ScalingMatrix, key: Any
) -> SampleTree:
    columns = jnp.concatenate(list(source.columns), axis=1)
    points, weights = linalg.matmul(scaling, columns), source.weights.reshape(-1)
    chosen = None
    if weights.size > initialiser.max_samples:
        chosen = _choose(weights, initialiser.max_samples, key)
        points, weights = points[:, chosen], weights[chosen]
    tree = agglomerate(_CRITERIA[initialiser.model], points, weights)
    return SampleTree(tree, chosen, source.weights.size)


def _choose(weights: ColumnWeights, n_chosen: int, key: Any) -> Int[Array, " chosen"]:
    """Samples of positive weight, if there are enough, in the order of the data;
    without a key the first ones."""
    turn = jnp.zeros_like(weights) if key is None else jr.uniform(key, weights.shape)
    turn = jnp.where(weights > 0, turn, 2)
    return jnp.sort(jnp.argsort(turn)[:n_chosen])
