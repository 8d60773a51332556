"""Hierarchical starts: the trees of model-based agglomeration, against scipy, mclust
and an oracle that looks at every pair of clusters before every merge."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.cluster.hierarchy
import sklearn.base
import sklearn.datasets

import gmmx_eqx as gx
from gmmx_eqx._initialisers import hierarchical
from gmmx_eqx._initialisers.agglomeration import agglomerate
from gmmx_eqx._initialisers.criteria import EEE, EII, VII, VVV
from gmmx_eqx.sklearn import GaussianMixture

from .helpers import leaves, make_data, old_faithful
from .mclust_trees import FAITHFUL, IRIS


CRITERIA = {"EII": EII, "VII": VII, "EEE": EEE, "VVV": VVV}
MODELS = tuple(CRITERIA)
every_model = pytest.mark.parametrize("model", MODELS)

X = make_data(25, n_features=3)
WEIGHT = np.random.default_rng(0).integers(1, 4, 25)
FLOWERS = np.asarray(sklearn.datasets.load_iris(return_X_y=True)[0])
DATA = {
    "iris": (FLOWERS, IRIS),
    "faithful": (old_faithful(), FAITHFUL),
}


def canonical(labels) -> np.ndarray:
    """The same partition, its clusters numbered by their first samples."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def scatter(x: np.ndarray) -> np.ndarray:
    residuals = x - x.mean(axis=0)
    return residuals.T @ residuals


def criterion(model: str, clusters: list[np.ndarray], x: np.ndarray) -> float:
    """As published, of clusters as arrays of indices."""
    n, p = x.shape
    alpha = np.trace(scatter(x)) / (n * p)
    scatters = [scatter(x[cluster]) for cluster in clusters]
    pooled = sum(scatters)
    if model == "EII":
        return float(np.trace(pooled))
    if model == "EEE":
        return float(max(np.linalg.det(pooled / n), 0) + np.trace(pooled / n))
    total = 0.0
    for w, cluster in zip(scatters, clusters, strict=True):
        size = len(cluster)
        level = (np.trace(w) + alpha) / size
        if model == "VVV":
            level += max(np.linalg.det(w / size), 0)
        total += size * np.log(level)
    return total


def every_pair(model: str, x: np.ndarray) -> list[tuple[int, int]]:
    """The merges, as pairs of the clusters' first samples."""
    clusters = [np.array([i]) for i in range(len(x))]
    merges = []
    while len(clusters) > 1:
        costs = {}
        for i, j in itertools.combinations(range(len(clusters)), 2):
            union = np.concatenate([clusters[i], clusters[j]])
            rest = [c for k, c in enumerate(clusters) if k not in (i, j)]
            costs[i, j] = criterion(model, [union, *rest], x)
        i, j = min(costs, key=lambda pair: costs[pair])
        merges.append((int(clusters[i].min()), int(clusters[j].min())))
        clusters[i] = np.concatenate([clusters[i], clusters[j]])
        del clusters[j]
    return merges


_tree = jax.jit(agglomerate, static_argnums=0)


def tree_of(model: str, x, weight=None):
    weight = jnp.ones(len(x)) if weight is None else jnp.asarray(weight, float)
    columns = jnp.asarray(np.asarray(x, float).T)
    return _tree(CRITERIA[model], columns, weight)


def merges_of(tree) -> list[tuple[int, int]]:
    parent, merge = np.asarray(tree.parent), np.asarray(tree.merge)
    absorbed = [j for j in np.argsort(merge) if merge[j] < len(merge)]
    return [(int(parent[j]), int(j)) for j in absorbed]


@every_model
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_every_merge_is_the_cheapest_of_all_pairs(model, scale):
    """Small and large: beside the traces, determinants count for little or much."""
    x = scale * X
    tree = tree_of(model, x)
    assert merges_of(tree) == every_pair(model, x)
    # And costs are the growth of the criterion.
    clusters = [[i] for i in range(len(x))]
    for i, j in merges_of(tree):
        before = criterion(model, [np.array(c) for c in clusters if c], x)
        clusters[i], clusters[j] = clusters[i] + clusters[j], []
        after = criterion(model, [np.array(c) for c in clusters if c], x)
        rounding = 200 * np.finfo(tree.cost.dtype).eps * (1 + abs(after))
        assert abs(tree.cost[j] - (after - before)) < rounding


def test_EII_is_ward():
    x = make_data(60, n_features=3)
    initialiser = gx.Hierarchical("EII", scaling="standard")
    ward = scipy.cluster.hierarchy.linkage(x / x.std(axis=0), "ward")
    labels = np.asarray(initialiser.labels(x, range(1, 61)))
    for k, got in enumerate(labels.T, start=1):
        expected = scipy.cluster.hierarchy.cut_tree(ward, n_clusters=k)[:, 0]
        np.testing.assert_array_equal(got, canonical(expected))
    linkage = initialiser.linkage(x)
    assert scipy.cluster.hierarchy.is_valid_linkage(linkage)
    np.testing.assert_array_equal(linkage[:, [0, 1, 3]], ward[:, [0, 1, 3]])
    np.testing.assert_allclose(np.sqrt(2 * linkage[:, 2]), ward[:, 2], rtol=1e-4)


@pytest.mark.x64
@every_model
def test_a_linkage_is_drawn(model):
    initialiser = gx.Hierarchical(model)
    linkage = initialiser.linkage(X)
    drawn = scipy.cluster.hierarchy.dendrogram(linkage, no_plot=True)
    assert sorted(drawn["leaves"]) == list(range(25))
    cut = scipy.cluster.hierarchy.cut_tree(linkage, n_clusters=4)[:, 0]
    np.testing.assert_array_equal(initialiser.labels(X, 4), canonical(cut))


@pytest.mark.x64
@pytest.mark.parametrize(
    ("name", "model"), [(n, model) for n, (_, trees) in DATA.items() for model in trees]
)
def test_partitions_are_those_of_mclust(name, model):
    """Equal costs apart: Old Faithful has so many that `VII` and `VVV` differ."""
    x, trees = DATA[name]
    digits, coarser = trees[model]
    nine = np.array([int(digit) for digit in digits])
    labels = gx.Hierarchical(model).labels(x, range(2, 10))
    for k, cluster_of in enumerate((*coarser, "123456789")):
        expected = np.array([int(cluster_of[cluster - 1]) for cluster in nine])
        np.testing.assert_array_equal(labels[:, k], canonical(expected))


@pytest.mark.x64
def test_selection_is_that_of_mclust():
    """BIC of iris with full covariances, by `Mclust(x, 1:3, "VVV")`."""
    table = gx.select(
        FLOWERS,
        range(1, 4),
        ["full"],
        n_restarts=1,
        initialiser=gx.Hierarchical(),
        reg_covar=0.0,
        key=jr.key(0),
        solver=gx.EM(tol=1e-9, max_steps=1000),
    )
    bic = [cell.bic for cell in table.cells]
    # Its last steps change the log-likelihood by as much as 1e-5 of it.
    expected = [829.978154362, 574.017832270, 580.839630428]
    np.testing.assert_allclose(bic, expected, atol=2e-3)


@pytest.mark.x64
def test_one_tree_starts_every_fit(monkeypatch):
    grown = []
    original = hierarchical._tree_of
    monkeypatch.setattr(
        hierarchical, "_tree_of", lambda *args: grown.append(1) or original(*args)
    )
    initialiser = gx.Hierarchical()
    options = dict(initialiser=initialiser, key=jr.key(0))
    table = gx.select(FLOWERS, range(1, 5), ["full", "diag"], n_restarts=1, **options)
    assert len(grown) == 1
    labels = initialiser.labels(FLOWERS, range(1, 5))
    for cell in table.cells:
        start = gx.GaussianMixture.from_labels(
            FLOWERS,
            labels[:, cell.n_components - 1],
            covariance_type=cell.covariance_type,
        )
        end = gx.fit(start, FLOWERS)
        np.testing.assert_allclose(
            cell.solution.mean_log_likelihood, end.mean_log_likelihood, rtol=1e-8
        )
        for got, expected in zip(
            leaves(cell.solution.mixture), leaves(end.mixture), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)
    grown.clear()
    population = gx.fit_restarts(FLOWERS, 3, n_restarts=2, **options)
    assert len(grown) == 1
    np.testing.assert_array_equal(*population.solutions.log_likelihood)
    expected = next(
        c for c in table.cells if (c.n_components, c.covariance_type) == (3, "full")
    )
    np.testing.assert_allclose(
        population.best.log_likelihood, expected.solution.log_likelihood, rtol=1e-10
    )


@pytest.mark.x64
def test_every_data_set_has_its_own_tree():
    sets = [FLOWERS, FLOWERS[:100], FLOWERS[50:]]
    options = dict(initialiser=gx.Hierarchical(), key=jr.key(0))
    together = gx.fit_batch(sets, 2, **options)
    for x, got in zip(sets, together.log_likelihood, strict=True):
        alone = gx.fit_restarts(x, 2, n_restarts=1, **options).best
        np.testing.assert_allclose(got, alone.log_likelihood, rtol=1e-8)


@pytest.mark.x32
def test_the_estimator_starts_from_a_tree():
    initialiser = gx.Hierarchical("EEE")
    estimator = sklearn.base.clone(
        GaussianMixture(3, init_params=initialiser, tol=1e-6)
    )
    estimator.fit(FLOWERS)
    start = gx.GaussianMixture.from_labels(FLOWERS, initialiser.labels(FLOWERS, 3))
    expected = gx.fit(start, FLOWERS, solver=gx.EM(tol=1e-6))
    np.testing.assert_allclose(
        estimator.lower_bound_, expected.mean_log_likelihood, rtol=1e-4
    )


@pytest.mark.x64
@every_model
def test_order_of_samples_does_not_matter(model):
    order = np.random.default_rng(1).permutation(25)
    initialiser = gx.Hierarchical(model)
    labels = np.asarray(initialiser.labels(X, range(1, 26)))
    shuffled = np.asarray(initialiser.labels(X[order], range(1, 26)))
    for got, expected in zip(shuffled.T, labels[order].T, strict=True):
        np.testing.assert_array_equal(got, canonical(expected))


@pytest.mark.x64
@every_model
def test_samples_of_weight_zero_are_not_there(model):
    rng = np.random.default_rng(2)
    there = np.sort(rng.choice(40, 25, replace=False))
    x, weight = np.full((40, 3), np.nan), np.zeros(40)
    x[there], weight[there] = X, 1
    expected = [(int(there[i]), int(there[j])) for i, j in merges_of(tree_of(model, X))]
    assert merges_of(tree_of(model, x, weight)) == expected
    labels = np.asarray(gx.Hierarchical(model).labels(x, 4, sample_weight=weight))
    np.testing.assert_array_equal(labels[there], gx.Hierarchical(model).labels(X, 4))
    assert set(labels[weight == 0]) == {-1}


@pytest.mark.x64
@every_model
def test_weights_are_numbers_of_samples(model):
    initialiser = gx.Hierarchical(model)
    repeated = np.repeat(X, WEIGHT, axis=0)
    expected = initialiser.labels(repeated, range(1, 26))
    labels = initialiser.labels(X, range(1, 26), sample_weight=WEIGHT)
    np.testing.assert_array_equal(np.repeat(labels, WEIGHT, axis=0), expected)


@every_model
def test_identical_samples_come_first(model):
    x = np.concatenate([X, X[[3, 7, 7]]])
    tree = tree_of(model, x)
    assert merges_of(tree)[:3] == [(3, 25), (7, 26), (7, 27)]
    np.testing.assert_array_equal(tree.cost[25:], 0)
    same = tree_of(model, np.ones((4, 3)))
    assert merges_of(same) == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.x64
def test_of_equal_merges_that_of_the_first_samples_is_taken():
    """Of numbers that are exact, each as far from the next as the others."""
    line = np.arange(6.0)[:, None]
    assert merges_of(tree_of("EII", line))[:3] == [(0, 1), (2, 3), (4, 5)]
    # The first goes with 4, not with 2, which comes later; then 1 with 0.
    mixed = np.array([[3.0], [1.0], [4.0], [0.0], [2.0], [5.0]])
    assert merges_of(tree_of("EII", mixed))[:2] == [(0, 2), (1, 3)]


@pytest.mark.x64
@every_model
def test_mapped_trees_are_those_of_a_loop(model):
    sets = jnp.stack([jnp.asarray(X), 2 * X[::-1] ** 2])
    initialiser = gx.Hierarchical(model)
    run = lambda x: initialiser.labels(x, [2, 5])
    mapped = jax.jit(jax.vmap(run))(sets)
    for x, labels in zip(sets, mapped, strict=True):
        np.testing.assert_array_equal(run(x), labels)


@pytest.mark.x64
@every_model
def test_features_without_variance_change_nothing(model):
    x = np.concatenate([X, np.full((25, 1), 7.0)], axis=1)
    labels = gx.Hierarchical(model).labels(x, range(1, 10))
    expected = gx.Hierarchical(model).labels(X, range(1, 10))
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.x64
@pytest.mark.parametrize("scaling", ["svd", "standard", "whiten", "none"])
def test_units_do_not_matter(scaling):
    initialiser = gx.Hierarchical(scaling=scaling)
    units = 1e3 if scaling == "none" else np.array([1e3, 1.0, 1e-3])
    np.testing.assert_array_equal(
        initialiser.labels(units * X, range(1, 26)), initialiser.labels(X, range(1, 26))
    )


@pytest.mark.x64
def test_many_samples_start_from_some_of_them():
    x = make_data(200, n_features=3)
    small = gx.Hierarchical(max_samples=50)
    run = lambda key: gx.GaussianMixture.from_initialiser(small, x, 3, key=key)
    start, again, other = run(jr.key(0)), run(jr.key(0)), run(jr.key(1))
    shares = 50 * start.weights_numpy
    np.testing.assert_allclose(shares, shares.round(), atol=1e-9)
    np.testing.assert_array_equal(again.means_numpy, start.means_numpy)
    assert not np.allclose(other.means_numpy, start.means_numpy)
    # EM takes all samples.
    solution = gx.fit(start, x)
    assert not np.allclose(50 * solution.mixture.weights_numpy % 1, 0, atol=1e-3)


@pytest.mark.x64
def test_padding_takes_no_places_of_samples():
    """A program for 66 samples takes 80."""
    x = make_data(66, n_features=3)
    exact, larger = gx.Hierarchical(max_samples=66), gx.Hierarchical()
    np.testing.assert_array_equal(exact.labels(x, [2, 7]), larger.labels(x, [2, 7]))
    start = gx.GaussianMixture.from_initialiser(exact, x, 3, key=jr.key(0))
    expected = gx.GaussianMixture.from_labels(x, larger.labels(x, 3))
    np.testing.assert_allclose(start.means_numpy, expected.means_numpy, rtol=1e-12)


@pytest.mark.x32
def test_labels_of_one_sample_and_of_as_many_clusters():
    np.testing.assert_array_equal(gx.Hierarchical().labels([[1.0, 2.0]], 1), [0])
    np.testing.assert_array_equal(gx.Hierarchical().labels(X, 25), np.arange(25))
    assert gx.Hierarchical().linkage([[1.0, 2.0]]).shape == (0, 4)


@pytest.mark.x32
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gx.Hierarchical("XYZ"), "`model` must be one of 'EII'.*'XYZ'"),
        (lambda: gx.Hierarchical(scaling="auto"), "`scaling` must be one of 'none'"),
        (lambda: gx.Hierarchical(max_samples=0), "`max_samples` must be at least 1"),
        (lambda: gx.Hierarchical(max_samples=20).labels(X, 2), "`max_samples`, 20"),
        (lambda: gx.Hierarchical(max_samples=20).linkage(X), "`x` has 25 samples"),
        (lambda: gx.Hierarchical().labels(X, 26), "`x` must have at least"),
        (lambda: gx.Hierarchical().labels(X, []), "`n_components`.*empty"),
        (lambda: gx.Hierarchical().labels(X, 2.5), "`n_components` must be an int"),
        (lambda: gx.Hierarchical().labels(X, [2, 0]), "`n_components` must be at"),
        (lambda: gx.Hierarchical().labels(X[0], 2), "`x` must have shape"),
        (lambda: gx.Hierarchical().labels(np.nan * X, 2), "`x` must be finite"),
        (
            lambda: gx.Hierarchical().labels(X, 2, sample_weight=[1.0]),
            "`sample_weight` must have one number per sample",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.x32
def test_names_of_families_are_models():
    names = {"tied_spherical": "EII", "spherical": "VII", "tied": "EEE", "full": "VVV"}
    for name, model in names.items():
        assert gx.Hierarchical(name) == gx.Hierarchical(model)
