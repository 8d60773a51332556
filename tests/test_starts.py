"""Starts: random but driven by a key, distinct, and good enough for EM."""

import functools as ft
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import sklearn.cluster
import sklearn.datasets
import sklearn.metrics

import gmmx_eqx as gx
from gmmx_eqx._initialisers.k_means import lloyd

from .helpers import (
    every_family,
    leaves,
    make_data,
    squeezed_values,
)
from .test_bad_input import changed, refused


INITIALISERS = (
    gx.KMeans,
    gx.KMeansPlusPlus,
    gx.RandomPoints,
    gx.RandomResponsibilities,
    gx.Mixed,
)
every_initialiser = pytest.mark.parametrize("initialiser", INITIALISERS)

X = make_data(60)
UNIFORM = np.full((60, 3), 1 / 3)
LABELS = np.arange(60) % 3
MIXTURE = gx.GaussianMixture
IRIS = np.asarray(sklearn.datasets.load_iris(return_X_y=True)[0])


@eqx.filter_jit
def centres_of(initialiser, x, weight, keys):
    """Five centres for each key, in scaled units: `(keys, components, features)`."""
    source = gx.extend.InMemory.from_data(x, weight, x.shape[0])
    return jax.vmap(lambda key: initialiser.partition(source, 5, key=key).centres)(keys)


def centres(initialiser, x, key, weight=None) -> list[np.ndarray]:
    """The distinct ones among the centres of each of sixteen starts."""
    weight = jnp.ones(len(x)) if weight is None else jnp.asarray(weight, dtype=float)
    x = jnp.asarray(x, dtype=float)
    found = np.asarray(centres_of(initialiser, x, weight, jr.split(key, 16)))
    return [np.unique(start, axis=0) for start in found]


def tied_start(initialiser, key):
    """Of iris; `initialiser` is a class."""
    run = ft.partial(MIXTURE.from_initialiser, covariance_type="tied", reg_covar=0.0)
    return run(initialiser(), IRIS, 4, key=key)


@pytest.mark.x32
@every_initialiser
def test_key_decides(initialiser, getkey):
    key = getkey()
    start, again = tied_start(initialiser, key), tied_start(initialiser, key)
    for got, expected in zip(leaves(again), leaves(start), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(start.weights_numpy.sum(), 1, rtol=1e-6)
    assert start.weights_numpy.min() > 0
    assert np.linalg.eigvalsh(start.covariances.values_numpy).min() > 0


@pytest.mark.x64
@pytest.mark.parametrize("initialiser", [gx.KMeans, gx.RandomResponsibilities])
def test_mapped_starts_are_those_of_a_loop(initialiser, getkey):
    keys = jr.split(getkey(), 3)
    mapped = eqx.filter_vmap(lambda key: tied_start(initialiser, key))(keys)
    for i, key in enumerate(keys):
        for got, expected in zip(
            leaves(mapped), leaves(tied_start(initialiser, key)), strict=True
        ):
            rtol = 1e4 * np.finfo(got.dtype).eps
            np.testing.assert_allclose(got[i], expected, rtol, rtol)


@pytest.mark.x32
@every_initialiser
def test_keys_differ(initialiser, getkey):
    starts = centres(initialiser(), X, getkey())
    # k-means may well come to one end from many beginnings.
    few = 0 if initialiser in (gx.KMeans, gx.Mixed) else 8
    assert len({start.tobytes() for start in starts}) > few


@pytest.mark.x32
@every_initialiser
def test_centres_are_distinct(initialiser, getkey):
    few = np.random.default_rng(0).normal(size=(5, 2))
    # As many distinct points as centres, some of them once and some of them often.
    enough = np.repeat(few, [1, 1, 2, 28, 28], axis=0)
    starts = centres(initialiser(), enough, getkey())
    assert [len(start) for start in starts] == [5] * 16
    # More centres than distinct points: all points are found, and nothing is NaN.
    for start in centres(initialiser(), np.repeat(few[:3], 20, axis=0), getkey()):
        assert np.isfinite(start).all()
        # A mean of equal points is one of them but for rounding.
        assert len(np.unique(np.round(start, 3), axis=0)) == 3


@pytest.mark.x32
@every_initialiser
def test_weight_zero_is_never_chosen(initialiser, getkey):
    """Not even if it is far away, which k-means++ likes best."""
    weight = (np.arange(60) % 3 > 0).astype(float)
    moved = np.where(weight[:, None] > 0, X, 1e3 + X)
    starts = centres(initialiser(), moved, getkey(), weight)
    # In scaled units, where those of weight zero are hundreds away.
    assert max(np.abs(start).max() for start in starts) < 20


@pytest.mark.x64
def test_k_means_is_as_good_as_sklearn(getkey):
    x = make_data(400, n_features=3, n_clusters=6)
    n_seeds = 20
    initialiser = gx.KMeans(scaling=gx.Scaling.none)
    run = lambda key: MIXTURE.from_initialiser(initialiser, x, 6, key=key).means
    means = eqx.filter_vmap(run)(jr.split(getkey(), n_seeds))
    # Shape (seeds, samples, components).
    distances = ((x[:, None] - np.asarray(means)[..., 0]) ** 2).sum(-1)
    ours = distances.min(-1).sum(-1)
    options: dict[str, Any] = {"n_init": 1}
    k_means = ft.partial(sklearn.cluster.k_means, x, 6, **options)
    theirs = np.array([k_means(random_state=seed)[2] for seed in range(n_seeds)])
    # Two means of `n_seeds` each, compared within what chance allows.
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(n_seeds)
    assert np.mean(ours) <= np.mean(theirs) * (1 + 1e-4) + 3 * error
    # And the best of them is the same optimum.
    np.testing.assert_allclose(ours.min(), theirs.min(), rtol=1e-2)


@pytest.mark.x32
@every_initialiser
def test_tied_start_leaves_the_single_gaussian(initialiser, getkey):
    """scikit-learn's `k-means++` and `random_from_data` stay at -379.91, where all
    means are the same."""
    solver = gx.EM(tol=1e-6, max_steps=2000)
    run = ft.partial(gx.fit, x=IRIS, solver=solver, reg_covar=0.0, throw=False)
    starts = [tied_start(initialiser, getkey()) for _ in range(8)]
    ends = [float(run(start).log_likelihood) for start in starts]
    assert min(ends) > -379.91 + 30
    # The best known, and nothing above it.
    np.testing.assert_allclose(max(ends), -223.05, atol=0.1)


def agreement(scaling, x, label, keys) -> float:
    """How well starts find the clusters: 1 if they do, about 0 if not at all."""
    run = ft.partial(MIXTURE.from_initialiser, gx.KMeans(scaling=scaling), x, 2)
    score = sklearn.metrics.adjusted_rand_score
    return float(np.median([score(label, run(key=key).predict(x)) for key in keys]))


@pytest.mark.x64
@pytest.mark.parametrize("shape", ["scales", "correlation"])
def test_scaled_starts_find_what_plain_k_means_does_not(shape, getkey):
    rng = np.random.default_rng(3)
    label = rng.integers(2, size=300)
    x = rng.normal(size=(300, 2))
    x[:, 0] += 8 * label
    if shape == "scales":
        x[:, 1] *= 1e4
        enough = (gx.Scaling.standard, gx.Scaling.whiten)
    else:
        # Apart across a narrow ridge that is not along an axis.
        x = (x * [0.01, 1]) @ np.array([[1, -1], [1, 1]])
        enough = (gx.Scaling.whiten,)
    keys = jr.split(getkey(), 8)
    assert agreement(gx.Scaling.none, x, label, keys) < 0.5
    for scaling in (*enough, gx.KMeans().scaling):
        assert agreement(scaling, x, label, keys) > 0.95


def expected_parameters(name, x, resp):
    """Weights, means and squeezed covariances, in NumPy's float64."""
    nk = resp.sum(0)
    means = resp.T @ x / nk[:, None]
    residuals = x[:, None] - means
    scatter = np.einsum("nk,nki,nkj->kij", resp, residuals, residuals)
    full = scatter / nk[:, None, None]
    weights = nk / nk.sum()
    return weights, means, squeezed_values(name, full, weights)


@every_family
def test_from_responsibilities(name, dtype):
    rng = np.random.default_rng(0)
    resp = rng.dirichlet(np.ones(3), size=60)
    weight = rng.integers(3, size=60).astype(float)
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    kwargs = {"covariance_type": name, "reg_covar": 0.0, "sample_weight": weight}
    got = MIXTURE.from_responsibilities(X, resp, **kwargs)
    weights, means, values = expected_parameters(name, X, weight[:, None] * resp)
    np.testing.assert_allclose(got.weights_numpy, weights, rtol)
    np.testing.assert_allclose(got.means_numpy, means, rtol, rtol)
    np.testing.assert_allclose(got.covariances.values_numpy, values, rtol, rtol)


@every_family
def test_from_labels(name, dtype):
    one_hot = np.eye(3)[LABELS]
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    run = ft.partial(MIXTURE.from_labels, X, covariance_type=name, reg_covar=0.0)
    weights, means, values = expected_parameters(name, X, one_hot)
    traced = jax.jit(lambda labels: run(labels, n_components=3))(jnp.asarray(LABELS))
    for got in (
        run(LABELS),
        run(LABELS.tolist()),
        run(LABELS.astype(np.uint8)),
        traced,
    ):
        np.testing.assert_allclose(got.weights_numpy, weights, rtol)
        np.testing.assert_allclose(got.means_numpy, means, rtol, rtol)
        np.testing.assert_allclose(got.covariances.values_numpy, values, rtol, rtol)


BAD_RESPONSIBILITIES = {
    "one axis": (UNIFORM[:, 0], [r"\(60,\)", "n_components"]),
    "too few": (UNIFORM[:3], [r"\(3, 3\)", r"\b60\b"]),
    "no components": (UNIFORM[:, :0], [r"\(60, 0\)"]),
    "a NaN": (changed(UNIFORM, (2, 0), np.nan), ["nan|NaN", r"\b2\b"]),
    "negative": (changed(UNIFORM, 2, [-1, 1, 1]), ["-1", "negative"]),
    "rows of two": (2 * UNIFORM, [r"\b2\b", "sum to one"]),
    "an empty component": (np.eye(3)[LABELS % 2], ["component 2", "Drop"]),
}


@pytest.mark.x32
@pytest.mark.parametrize("case", BAD_RESPONSIBILITIES)
def test_bad_responsibilities(case):
    resp, shown = BAD_RESPONSIBILITIES[case]
    refused(lambda: MIXTURE.from_responsibilities(X, resp), "resp", *shown)


BAD_LABELS = {
    "floats": (LABELS / 2, None, ["float", "integer"]),
    "text": (["a"] * 60, None, ["<U1", "integer"]),
    "two axes": (LABELS[:, None], None, [r"\(60, 1\)"]),
    "too few": (LABELS[:3], None, [r"\(3,\)", r"\b60\b"]),
    "none": (LABELS[:0], None, [r"\(0,\)"]),
    "negative": (LABELS - 2, None, ["-2"]),
    "too large": (LABELS, 2, [r"0 \.\.\. 1", r"0 \.\.\. 2"]),
    "a gap": (2 * LABELS, None, ["component 1", "Drop"]),
}


@pytest.mark.x32
@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case):
    labels, n_components, shown = BAD_LABELS[case]
    call = lambda: MIXTURE.from_labels(X, labels, n_components)
    refused(call, "labels", *shown)


def soft(resp) -> bool:
    """Whether samples are shared among components."""
    return bool(np.any((resp > 0.01) & (resp < 0.99)))


@pytest.mark.x32
def test_mixed_starts_are_their_kinds_in_turn(getkey):
    """By what tells them apart: centres that are means, or samples, or responsibilities
    that are shared."""
    x = jnp.asarray(X, dtype=float)
    source = gx.extend.InMemory.from_data(x, None, len(x))
    points = source.columns[0].T
    found = []
    for turn in range(8):
        partition = gx.Mixed("standard", turn).partition(source, 3, key=getkey())
        scaled = np.asarray(points @ partition.scaling.T)
        distances = np.abs(scaled[:, None] - np.asarray(partition.centres)).max(-1)
        resp = partition(gx.extend.Chunk(source.columns[0], source.weights[0]))
        found.append((bool(np.all(distances.min(0) < 1e-5)), soft(np.asarray(resp))))
    k_means, chosen, shared = (False, False), (True, False), (True, True)
    assert found == 2 * [k_means, chosen, shared, chosen]


@pytest.mark.x32
def test_many_fits_take_turns(getkey):
    """A first lane by k-means, as without the others, and then other kinds."""
    key = getkey()
    run = ft.partial(gx.fit_restarts, X, 3, key=key, solver=gx.EM(max_steps=0))
    default, k_means = run(n_restarts=3), run(n_restarts=3, initialiser=gx.KMeans())
    values = np.asarray(default.solutions.log_likelihood)
    expected = np.asarray(k_means.solutions.log_likelihood)
    rtol = 1e4 * np.finfo(values.dtype).eps
    np.testing.assert_allclose(values[0], expected[0], rtol)
    assert np.all(np.abs(values[1:] - expected[1:]) > 1e-3)
    # Also in every data set of a batch, and in every cell of a table.
    batch = gx.fit_batch([X, 2 * X], 3, key=key, solver=gx.EM(max_steps=0))
    start = gx.fit_batch(
        [X, 2 * X], 3, key=key, solver=gx.EM(max_steps=0), initialiser=gx.KMeans()
    )
    np.testing.assert_allclose(batch.log_likelihood, start.log_likelihood, rtol)


@pytest.mark.x64
def test_mixed_starts_find_what_k_means_does_not(getkey):
    """A wide cluster behind a narrow one, which k-means always cuts in two; the
    optimum is that of the labels that the data was made with."""
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=400)
    x = np.where(label, 0.1, 3.0)[:, None] * rng.normal(size=(400, 2))
    truth = gx.fit(MIXTURE.from_labels(x, label), x)
    run = ft.partial(gx.fit_restarts, x, 2, n_restarts=16, key=getkey())
    best = float(run().best.log_likelihood)
    np.testing.assert_allclose(best, truth.log_likelihood, atol=0.1)


@pytest.mark.x64
def test_a_centre_without_samples_takes_the_worst():
    """By hand, in chunks, beside a lane in which no centre is empty. A sample of weight
    zero is not the worst."""
    points = jnp.array([[[0.0, 1.0, 2.0, 500.0]], [[10.0, 11.0, 30.0, 7.0]]])
    weights = jnp.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    centres = jnp.array([[[1.0], [1000.0]], [[1.0], [20.0]]])
    run = lambda centres, steps: lloyd(points, weights, centres, steps, 1e-4)
    once = jax.vmap(run, (0, None))(centres, 1)
    np.testing.assert_allclose(once[:, :, 0], [[9.0, 30.0], [3.25, 20.5]])
    end = jax.vmap(run, (0, None))(centres, 100)
    np.testing.assert_allclose(end[:, :, 0], [[4.8, 30.0], [4.8, 30.0]])
