"""Fits to samples of which some belong to a known component."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special
import scipy.stats

import gmmx_eqx as gx
from gmmx_eqx._fit.random_starts import _in_order

from .dense import scatter_about
from .helpers import (
    every_family,
    leaves,
    make_data,
    make_mixture,
    parameters,
    start,
)


N, K = 200, 3
X = make_data(N, 2)
# Of the first forty samples the component is known.
KNOWN = np.where(np.arange(N) < 40, np.arange(N) % K, -1)
# Weights of which some are zero, so that a labelled sample is not there.
WEIGHT = np.random.default_rng(0).integers(0, 3, N).astype(float)


def reference_step(name, mixture, x, weight, labels, ridge):
    """A step of EM in NumPy, and the log-likelihood before it."""
    w, mu, sigma = parameters(mixture)
    x = np.float64(x)
    joint = np.stack(
        [
            np.log(w[k]) + scipy.stats.multivariate_normal.logpdf(x, mu[k], sigma[k])
            for k in range(len(w))
        ],
        axis=1,
    )
    density = scipy.special.logsumexp(joint, axis=1)
    resp = scipy.special.softmax(joint, axis=1)
    for n in np.flatnonzero(labels >= 0):
        resp[n] = np.eye(len(w))[labels[n]]
        density[n] = joint[n, labels[n]]
    resp = resp * weight[:, None]
    counts = resp.sum(0)
    means = resp.T @ x / counts[:, None]
    scatter = scatter_about(means, x, resp, name) + ridge * np.eye(x.shape[1])
    return (counts / counts.sum(), means, scatter), weight @ density


@every_family
@pytest.mark.x64
def test_a_step_is_that_of_numpy(name):
    """Where the components of some samples are known, of all and of none."""
    mixture = make_mixture(name, K, 2)
    for labels in (KNOWN, np.arange(N) % K, np.full(N, -1)):
        solution = gx.fit(
            mixture,
            X,
            labels=labels,
            sample_weight=WEIGHT,
            reg_covar=1e-3,
            solver=gx.EM(tol=0.0, max_steps=1),
            throw=False,
        )
        expected, value = reference_step(name, mixture, X, WEIGHT, labels, 1e-3)
        np.testing.assert_allclose(solution.log_likelihoods[0], value, rtol=1e-11)
        for got, wanted in zip(parameters(solution.mixture), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.x64
def test_components_in_another_order():
    """Of many components, in an order of its own, and in chunks."""
    k = 18
    mixture = make_mixture("full", k, 2)
    labels = np.where(np.arange(N) < 60, np.arange(N) % k, -1)
    solution = gx.fit(
        mixture,
        X,
        labels=labels,
        reg_covar=0.1,
        samples_per_chunk=64,
        solver=gx.EM(tol=0.0, max_steps=1),
        throw=False,
    )
    expected, value = reference_step("full", mixture, X, np.ones(N), labels, 0.1)
    np.testing.assert_allclose(solution.log_likelihoods[0], value, rtol=1e-11)
    for got, wanted in zip(parameters(solution.mixture), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.x64
def test_derivatives_are_those_of_finite_differences():
    begin = start("full", X, K)
    direction = np.random.default_rng(1).normal(size=X.shape)
    weight = jnp.ones(N)

    @jax.jit
    def fit(shift, extra, tol):
        solution = gx.fit(
            begin,
            X + shift * direction,
            labels=KNOWN,
            # Of a sample whose component is known.
            sample_weight=weight.at[1].add(extra),
            solver=gx.EM(tol=tol, max_steps=2000),
            throw=False,
        )
        return jnp.stack([solution.log_likelihood, *solution.mixture.means[0, :, 0, 0]])

    zero, step = jnp.zeros(()), 1e-4
    got = jax.jacobian(fit, argnums=(0, 1))(zero, zero, zero + 1e-14)
    for number, derivative in enumerate(got):
        ends = [
            # All steps are taken, to where rounding lets the means settle.
            fit(*(sign * step * (i == number) + zero for i in range(2)), zero)
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        # Differences have errors of the square of the step, and of rounding over it;
        # where the fit settles, it is off by the root of a log-likelihood's rounding.
        np.testing.assert_allclose(derivative, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.x64
def test_what_is_frozen_stays_and_weights_stay_equal():
    at = make_mixture("full", K, 2)
    frozen = gx.Frozen(means=[True, False, False])
    solution = gx.fit(at, X, labels=KNOWN, frozen=frozen, equal_weights=True)
    got, held = solution.mixture, at.means_numpy[0]
    np.testing.assert_array_equal(got.means_numpy[0], held)
    np.testing.assert_allclose(got.weights_numpy, 1 / K, rtol=1e-12)
    # No information is missing where every component is known.
    rate = lambda labels: gx.contraction_rate(got, X, labels=labels)
    assert rate(np.arange(N) % K) < 1e-12 < rate(KNOWN) < 1
    # Another step, in NumPy, moves nothing that is free.
    (_, means, _), value = reference_step("full", got, X, np.ones(N), KNOWN, 0.0)
    np.testing.assert_allclose(solution.log_likelihood, value, rtol=1e-11)
    np.testing.assert_allclose(got.means_numpy[1:], means[1:], atol=0.02)


# Four clusters, of which the second and the last have labels, as components 2 and 0.
CENTRES = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
CLUSTER = np.repeat(np.arange(4), 50)
CLUSTERS = CENTRES[CLUSTER] + np.random.default_rng(3).normal(size=(200, 2))
LABELS = np.where(np.arange(200) % 10 == 0, np.array([-1, 2, -1, 0])[CLUSTER], -1)


@pytest.mark.x32
@pytest.mark.parametrize(
    "initialiser", [None, gx.Hierarchical()], ids=["mixed", "tree"]
)
def test_restarts_put_components_in_the_places_of_their_labels(initialiser):
    population = gx.fit_restarts(
        CLUSTERS, 4, "full", 8, key=jr.key(0), labels=LABELS, initialiser=initialiser
    )
    means = population.best.mixture.means_numpy
    np.testing.assert_allclose(means[[2, 0]], CENTRES[[1, 3]], atol=0.6)
    left = means[[1, 3]][np.argsort(means[[1, 3], 1])]
    np.testing.assert_allclose(left, CENTRES[[0, 2]], atol=0.6)
    # Wherever it begins, a component has its labelled samples.
    for lane in population.solutions:
        proba = lane.mixture.predict_proba(CLUSTERS)
        assert np.all(proba[LABELS == 2, 2] > 0.5) and np.all(
            proba[LABELS == 0, 0] > 0.5
        )


@pytest.mark.x64
def test_frozen_means_do_not_move_components_that_have_labels():
    """The nearest of the others takes the place of a mean that is frozen."""
    means = np.array([[0.0, 0.0], [9.0, 9.0], [1.0, 1.0], [3.0, 3.0]])
    unit, equal = np.broadcast_to(np.eye(2), (4, 2, 2)), np.full(4, 0.25)
    begin = gx.GaussianMixture.from_squeezed(means, unit, equal)
    at = gx.GaussianMixture.from_squeezed(means[[0, 2, 2, 0]], unit, equal)
    frozen, ones = gx.Frozen(means=[True, True, False, False]), jnp.ones((1, 1, 2, 1))
    args = begin, at, frozen, ones
    # The first is nearest to the mean in its own place.
    np.testing.assert_array_equal(_in_order(*args).means_numpy, means[[0, 2, 1, 3]])
    got = _in_order(*args, jnp.array([-1, 2, 2, -1])).means_numpy
    np.testing.assert_array_equal(got, means[[0, 3, 2, 1]])


@pytest.mark.x64
def test_restarts_without_a_label_are_as_without_labels():
    options = {"n_restarts": 4, "key": jr.key(2)}
    plain = gx.fit_restarts(X, K, "full", **options)
    nothing = gx.fit_restarts(X, K, "full", labels=np.full(N, -1), **options)
    for got, wanted in zip(
        leaves(nothing.solutions.mixture), leaves(plain.solutions.mixture), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.x64
def test_a_batch_is_the_fits_of_its_sets():
    """Of sets of other lengths and labels, one of which has none."""
    rng = np.random.default_rng(4)
    order = rng.permutation(200)
    xs = [CLUSTERS, CLUSTERS[order[:160]] + 1, CLUSTERS[order[:120]]]
    nothing = np.full(120, -1)
    labels = [LABELS, (LABELS + 2 * (LABELS >= 0))[order[:160]] % 4, nothing]
    options = {"n_restarts": 4, "key": jr.key(0), "solver": gx.EM(tol=1e-11)}
    solutions = gx.fit_batch(xs, 4, "tied", labels=labels, **options)
    for got, x, own in zip(solutions, xs, labels, strict=True):
        alone = gx.fit_restarts(x, 4, "tied", labels=own, **options).best
        assert float(got.log_likelihood) == pytest.approx(float(alone.log_likelihood))
        known = np.unique(own[own >= 0])
        for k in known:
            np.testing.assert_allclose(
                got.mixture.means_numpy[k], alone.mixture.means_numpy[k], rtol=1e-4
            )
    # An array of sets of the same length.
    same = gx.fit_batch(
        np.stack([CLUSTERS] * 2), 4, "tied", labels=np.stack([LABELS] * 2), **options
    )
    np.testing.assert_allclose(same.log_likelihood, solutions.log_likelihood[0])


@pytest.mark.x64
def test_a_selection_with_labels():
    """Each cell is the best of its restarts; the ICL takes a label for what it says."""
    # One of a sample that looks like another component's.
    labels = np.r_[2, LABELS[1:]]
    options = {"n_restarts": 4, "solver": gx.EM(tol=1e-11), "key": jr.key(0)}
    table = gx.select(CLUSTERS, [3, 4], ["diag"], labels=labels, **options)
    blocks = gx.blocks(np.float64(CLUSTERS), rows=64, labels=labels)
    in_blocks = gx.select(blocks, [3, 4], ["diag"], **options)
    n, hard = len(labels), 0
    for k in (3, 4):
        cell = table["diag", k]
        alone = gx.fit_restarts(CLUSTERS, k, "diag", labels=labels, **options).best
        assert cell.log_likelihood == pytest.approx(float(alone.log_likelihood))
        w, mu, sigma = parameters(cell.solution.mixture)
        joint = np.stack(
            [
                np.log(w[j]) + scipy.stats.multivariate_normal.logpdf(CLUSTERS, *other)
                for j, other in enumerate(zip(mu, sigma, strict=True))
            ]
        )
        hard += np.sum((labels >= 0) & (joint.argmax(0) != labels))
        chosen = np.where(labels >= 0, joint[labels, np.arange(n)], joint.max(0))
        icl = cell.n_parameters * np.log(n) - 2 * chosen.sum()
        assert cell.icl == pytest.approx(icl)
        assert in_blocks["diag", k].icl == pytest.approx(icl)
        assert in_blocks["diag", k].bic == pytest.approx(cell.bic)
    assert hard > 0
    for data, own in (CLUSTERS, labels), (blocks, None):
        with pytest.raises(ValueError, match="`n_components` must be at least 3"):
            gx.select(data, [1, 3], key=jr.key(0), labels=own)


@pytest.mark.x64
def test_blocks_and_memory_agree():
    begin = start("full", X, K)
    data = gx.blocks(np.float64(X), rows=64, sample_weight=WEIGHT, labels=KNOWN)
    options = {"solver": gx.EM(tol=1e-9), "samples_per_chunk": 48}
    got = gx.fit(begin, data, **options)
    expected = gx.fit(begin, X, labels=KNOWN, sample_weight=WEIGHT, **options)
    assert got.n_steps == expected.n_steps
    for one, other in zip(leaves(got.mixture), leaves(expected.mixture), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)
    # Those of a part are the same.
    part = data.part(range(1, 3)).load(2)
    np.testing.assert_array_equal(part.labels, KNOWN[128:192])
    last = data.load(3).labels
    np.testing.assert_array_equal(last[:8], KNOWN[192:])
    assert np.all(last[8:] == -1)
    other = gx.blocks(np.float64(X), rows=64, sample_weight=WEIGHT, labels=-(KNOWN**0))
    assert other.fingerprint() != data.fingerprint()


@pytest.mark.x64
def test_a_mixture_of_labels_leaves_out_what_is_not_known():
    known = KNOWN >= 0
    weight = np.random.default_rng(0).uniform(1, 2, N)
    for sample_weight in (None, weight):
        got = gx.GaussianMixture.from_labels(
            X, KNOWN, reg_covar=0.0, sample_weight=sample_weight
        )
        w = np.ones(N) if sample_weight is None else sample_weight
        for k in range(K):
            own = KNOWN == k
            np.testing.assert_allclose(
                got.weights_numpy[k], w[own].sum() / w[known].sum(), rtol=1e-12
            )
            np.testing.assert_allclose(
                got.means_numpy[k], np.average(X[own], 0, w[own]), rtol=1e-10
            )
            np.testing.assert_allclose(
                got.covariances.values_numpy[k],
                np.cov(X[own].T, aweights=w[own], bias=True),
                rtol=1e-8,
            )


@pytest.mark.x32
def test_labels_that_cannot_be_right():
    mixture = make_mixture("full", K, 2)
    wrong = {
        "one per sample, shape \\(200,\\); got .* shape \\(3,\\)": [0, 1, 2],
        "integers, one per sample": np.zeros(N),
        "must lie in 0 ... 2, or be -1 .*span -2 ... 0": np.r_[
            -2, np.zeros(N - 1, int)
        ],
        "they span 0 ... 3": np.r_[3, np.zeros(N - 1, int)],
    }
    for message, labels in wrong.items():
        with pytest.raises(ValueError, match=f"`labels`.*{message}"):
            gx.fit(mixture, X, labels=labels)
        with pytest.raises(ValueError, match=f"`labels`.*{message}"):
            gx.fit_restarts(X, K, key=jr.key(0), labels=labels)
        with pytest.raises(ValueError, match=f"`labels.1.`.*{message}"):
            gx.fit_batch([X, X], K, key=jr.key(0), labels=[KNOWN, labels])
        with pytest.raises(ValueError, match=f"`labels`.*{message.split(' ... ')[0]}"):
            gx.fit(mixture, gx.blocks(X, labels=labels))
    with pytest.raises(ValueError, match="`labels` must hold one array for each of"):
        gx.fit_batch([X, X], K, key=jr.key(0), labels=[KNOWN])
    for fit in (
        lambda x: gx.fit(mixture, x, labels=KNOWN),
        lambda x: gx.fit_restarts(x, K, key=jr.key(0), labels=KNOWN),
        lambda x: gx.select(x, [K], key=jr.key(0), labels=KNOWN),
    ):
        with pytest.raises(ValueError, match="Blocks hold their own labels: "):
            fit(gx.blocks(X))
        with pytest.raises(ValueError, match="`labels` are for samples of which every"):
            fit(gx.Observed(X))
    with pytest.raises(ValueError, match="`labels` are for `gmmx_eqx.EM`"):
        gx.fit(mixture, X, labels=KNOWN, solver=gx.Stepwise())
    with pytest.raises(ValueError, match="`labels` are for `gmmx_eqx.EM`"):
        gx.fit(mixture, gx.blocks(X, labels=KNOWN), solver=gx.Stepwise())
    with pytest.raises(ValueError, match="`gmmx_eqx.Observed` and a `background`"):
        gx.fit(mixture, gx.Observed(X), solver=gx.Stepwise())
    with pytest.raises(ValueError, match="no sample to component 0"):
        gx.GaussianMixture.from_labels(X, np.full(N, -1))
    empty = gx.GaussianMixture(
        mixture.weights.at[0, :, 0, 0].set(jnp.array([0.0, 0.5, 0.5])),
        mixture.means,
        mixture.covariances,
    )
    with pytest.raises(
        ValueError, match="`labels` gives samples to component 0, whose"
    ):
        gx.fit(empty, X, labels=KNOWN)
    with pytest.raises(ValueError, match="gives samples to component 0, whose"):
        gx.fit(empty, gx.blocks(X, labels=KNOWN))
    # A sample of weight zero is not there.
    gx.fit(empty, X, labels=KNOWN, sample_weight=KNOWN != 0)
    # Within a program a label is not known before it runs.
    fit = lambda labels: gx.fit(mixture, X, labels=labels, throw=False)
    traced = jax.jit(fit)(jnp.asarray(np.r_[5, KNOWN[1:]]))
    assert traced.status == "nonfinite"
