"""Solvers that learn from parts of the data."""

import dataclasses
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

import gmmx_eqx as gx
from gmmx_eqx._em.running import own_moments, recentred
from gmmx_eqx._sources import InMemory
from gmmx_eqx.sklearn import GaussianMixture

from .families import BY_NAME
from .helpers import make_data, make_mixture


N, ROWS, K, D = 900, 200, 3, 2
RIDGE = 1e-3
WHOLE = gx.Stepwise(exponent=0.0, passes=1, samples_per_update=N)


def make_x(seed=0, dtype=float):
    return make_data(N, D, seed=seed).astype(jax.dtypes.canonicalize_dtype(dtype))


def start(x, family="full"):
    return gx.GaussianMixture.from_k_means(x, K, key=jr.key(0), covariance_type=family)


def check_same(got, expected, rtol):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.max(jnp.abs(other)))
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)


def em(mixture, x, n_steps, **options):
    solver = gx.EM(tol=0.0, max_steps=n_steps)
    return gx.fit(mixture, x, solver=solver, throw=False, **options).mixture


@pytest.mark.x64
@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "volume"])
def test_rate_one_and_one_part_are_em(name):
    """Of every family: all data with a rate of one is a step of EM; of which a pass of
    incremental EM with a single part is another."""
    x = make_x()
    mixture = start(x, gx.LowRank(1) if name == "low_rank" else name)
    options = {"reg_covar": RIDGE}
    got = gx.fit(mixture, x, solver=WHOLE, **options)
    assert got.status == "passes_taken" and int(got.n_steps) == 1
    check_same(got.mixture, em(mixture, x, 1, **options), 1e-8)
    np.testing.assert_allclose(got.log_likelihood, got.mixture.log_prob(x).sum(), 1e-9)
    if name in ("full", "tied", "low_rank", "VEI"):
        one = gx.Incremental(passes=3, samples_per_update=N)
        got = gx.fit(mixture, x, solver=one, **options)
        check_same(got.mixture, em(mixture, x, 3, **options), 1e-7)


def reference(x, weights, means, covariances, rates):
    """Stepwise EM as in the article, about the origin, a batch at a time."""
    count = weights.copy()
    first = weights[:, None] * means
    second = weights[:, None, None] * (
        covariances + means[:, :, None] * means[:, None, :]
    )
    for batch, rate in zip(x, rates, strict=True):
        joint = np.stack(
            [
                w * scipy.stats.multivariate_normal(m, c).pdf(batch)
                for w, m, c in zip(weights, means, covariances, strict=True)
            ]
        )
        resp = joint / joint.sum(axis=0) / len(batch)
        count = (1 - rate) * count + rate * resp.sum(axis=1)
        first = (1 - rate) * first + rate * resp @ batch
        own = np.einsum("kn,ni,nj->kij", resp, batch, batch)
        second = (1 - rate) * second + rate * own
        weights, means = count / count.sum(), first / count[:, None]
        covariances = second / count[:, None, None]
        covariances = covariances - means[:, :, None] * means[:, None, :]
        covariances = covariances + RIDGE * np.eye(x.shape[-1])
    return weights, means, covariances


def arrays_of(mixture):
    return (
        np.float64(mixture.weights_numpy),
        np.float64(mixture.means_numpy),
        np.float64(mixture.covariances.values_numpy),
    )


def updated(mixture, batches, solver, **options):
    state = solver.init(mixture)
    for batch in batches:
        state = solver.update(state, batch, reg_covar=RIDGE, **options)
    return state


@pytest.mark.x64
def test_updates_are_the_articles():
    x = np.float64(make_x()).reshape(9, 100, D)
    mixture = start(x.reshape(N, D))
    rates = (np.arange(9) + 2.0) ** -0.7
    arrays = (
        mixture.weights_numpy,
        mixture.means_numpy,
        mixture.covariances.values_numpy,
    )
    expected = reference(x, *map(np.float64, arrays), rates)
    state = updated(mixture, x, gx.Stepwise(exponent=0.7))
    for one, other in zip(arrays_of(state.mixture), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    assert int(state.n_updates) == 9 and state.result == gx.RESULTS.successful


@pytest.mark.x32
def test_far_from_the_origin_in_float32():
    """As the same data about the origin, but for the rounding of the data itself."""
    rng = np.random.default_rng(0)
    # Numbers that float32 holds exactly, also moved.
    x = np.round(rng.normal(size=(9, 100, 2)) * 64) / 64
    x[:, ::2] += 4
    x, far = np.float32(x), np.float32(2**14)
    mixture = start(x.reshape(N, 2))
    moved = gx.affine(mixture, jnp.eye(2), jnp.full(2, far))
    near = updated(mixture, x, gx.Stepwise()).mixture
    got = updated(moved, x + far, gx.Stepwise()).mixture
    # The means of the mixture are rounded to 2^-10.
    np.testing.assert_allclose(got.means - far, near.means, rtol=0, atol=1e-2)
    got, near = got.covariances.values, near.covariances.values
    np.testing.assert_allclose(got, near, rtol=0, atol=1e-2)


@pytest.mark.x64
def test_transforms():
    """`vmap` of `init` and `update` is a loop, and a scan in `jit` too."""
    x = jnp.asarray(make_x().reshape(3, 3, 100, D))
    solver = gx.Stepwise()
    mixtures = [start(make_x(seed), "diag") for seed in range(3)]

    def learn(mixture, batches):
        step = lambda state, x: (solver.update(state, x, reg_covar=RIDGE), None)
        return jax.lax.scan(step, solver.init(mixture), batches)[0]

    many = eqx.filter_jit(eqx.filter_vmap(learn))(gx.stack(mixtures), x)
    for lane, mixture in enumerate(mixtures):
        alone = updated(mixture, x[lane], solver)
        got = jax.tree.map(lambda leaf, i=lane: leaf[i], many)
        # First moments are about the means: rounding alone.
        of = lambda s: (s.mixture, s.moments.count, s.moments.second, s.n_updates)
        check_same(of(got), of(alone), 1e-10)


@pytest.mark.x64
def test_what_teaches_nothing():
    """A batch without weight, and samples without: as if they were not there. A NaN is
    left out, and known."""
    x = make_x()
    solver, mixture = gx.Stepwise(), start(x)
    state = updated(mixture, [x[:100]], solver)
    update = jax.jit(lambda s, x, w: solver.update(s, x, w, reg_covar=RIDGE))
    # In `jit` all weights may turn out to be zero, or numbers NaN.
    same = update(state, x[:100], jnp.zeros(100))
    check_same(same, state, 0)
    half = update(state, x[:100], jnp.asarray(np.repeat([1.0, 0.0], 50)))
    check_same(half.mixture, updated(mixture, [x[:100], x[:50]], solver).mixture, 1e-9)
    bad = update(state, jnp.full((100, D), jnp.nan), jnp.ones(100))
    assert bad.result == gx.RESULTS.nonfinite
    check_same(bad.mixture, state.mixture, 0)
    check_same(bad.moments, state.moments, 0)
    with pytest.raises(ValueError, match="`x` must be finite"):
        solver.update(state, np.full((5, D), np.nan))


@pytest.mark.x64
@pytest.mark.parametrize("solver", [gx.Stepwise(), gx.Incremental(passes=3)])
def test_blocks_frozen_and_equal_weights(solver):
    x = make_x()
    mixture = gx.affine(start(x), jnp.eye(D), jnp.full(D, 3.0))
    data = gx.blocks(x, rows=ROWS)
    best = em(mixture, x, 200).score(x)
    frozen = gx.Frozen(means=[True, False, False])
    for given in (x, data):
        fit = lambda given=given, **options: gx.fit(
            mixture, given, solver=solver, **options
        )
        solution = fit()
        assert solution.status == "passes_taken" and not solution.converged
        assert int(solution.n_steps) == solver.passes
        score = solution.mixture.score(x)
        np.testing.assert_allclose(solution.mean_log_likelihood, score, rtol=1e-10)
        assert best - score < 0.1 * (best - mixture.score(x))
        held = fit(frozen=frozen).mixture
        np.testing.assert_array_equal(held.means[:, 0], mixture.means[:, 0])
        assert not np.any(held.means[:, 1:] == mixture.means[:, 1:])
        weights = fit(equal_weights=True).mixture.weights_squeezed
        np.testing.assert_allclose(weights, 1 / K, rtol=1e-12)
    # The last block is short: 4 of 200 and one of 100.
    assert len(data) == 5


@pytest.mark.x64
def test_one_solver_after_the_other():
    x = make_x()
    mixture = start(x)
    passes = gx.fit(mixture, x, solver=gx.Stepwise())
    solver = gx.InTurn(gx.Stepwise(), gx.EM(tol=0.0, max_steps=2), gx.SQUAREM(1e-9))
    whole = gx.fit(mixture, x, solver=solver)
    assert whole.status == "successful"
    n = int(whole.n_steps)
    history = np.asarray(whole.log_likelihoods)
    np.testing.assert_allclose(history[2], passes.log_likelihood, rtol=1e-12)
    second = em(passes.mixture, x, 1).log_prob(x).sum()
    np.testing.assert_allclose(history[3], second, rtol=1e-12)
    np.testing.assert_allclose(history[n:], whole.log_likelihood, rtol=1e-14)
    from_there = gx.fit(passes.mixture, x, solver=gx.EM(1e-9, 2000))
    assert whole.log_likelihood > from_there.log_likelihood - 1e-5 * N


@pytest.mark.x64
def test_free_energy_never_falls():
    """Of incremental EM, from responsibilities that SciPy finds."""
    x = np.float64(make_x())
    mixture = start(x)
    solver = gx.Incremental(samples_per_update=N // 3)
    parts = x.reshape(3, N // 3, D)
    facts = InMemory.from_data(jnp.asarray(x), None, N)
    m_step = gx.extend.MStep(facts, False, jnp.zeros((1, 1, D, 1)), None, False, None)
    about = lambda mixture, by: dataclasses.replace(mixture, means=mixture.means + by)
    centred = [
        dataclasses.replace(
            facts,
            columns=(jnp.asarray(part) - facts.pivot.ravel()[None]).T[None],
            weights=jnp.ones((1, N // 3)),
        )
        for part in parts
    ]
    state = solver.begin(about(mixture, -facts.pivot), 3)
    visit, finish = eqx.filter_jit(solver.visit), eqx.filter_jit(solver.finish)

    def joint(mixture, part):
        return np.stack(
            [
                np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(part)
                for w, m, c in zip(
                    mixture.weights_numpy,
                    mixture.means_numpy,
                    mixture.covariances.values_numpy,
                    strict=True,
                )
            ]
        )

    resp, energies = [None] * 3, []
    for _ in range(3):
        for i in (1, 0, 2):
            logs = joint(about(state.mixture, facts.pivot), parts[i])
            resp[i] = scipy.special.softmax(logs, axis=0)
            state = visit(state, jnp.array(i), centred[i], m_step)
            if state.is_first:
                continue
            now = about(state.mixture, facts.pivot)
            energies.append(
                sum(
                    np.sum(r * joint(now, part)) + np.sum(scipy.special.entr(r))
                    for r, part in zip(resp, parts, strict=True)
                )
            )
        state = finish(state, m_step)
    assert np.all(np.diff(energies) >= -1e-9 * np.abs(energies[0]))
    assert energies[-1] > energies[0]


@pytest.mark.x64
@pytest.mark.parametrize("name", BY_NAME)
def test_moments_about_another_point(name):
    """Those of a mixture itself are those of its M-step; and there and back again."""
    mixture = make_mixture(name, n_components=K, n_features=4)
    moments = own_moments(mixture)
    ridge = jnp.zeros((1, 1, 4, 1))
    family = BY_NAME[name]
    dense = lambda covariances: family.dense(covariances, K, 4)
    if name != "low_rank":
        again = mixture.covariances.estimate(moments, ridge)
        expected = dense(mixture.covariances)
        np.testing.assert_allclose(dense(again), expected, rtol=1e-9, atol=1e-10)
        kept = mixture.covariances
        by = jnp.ones_like(mixture.means)
        there = recentred(moments, kept, by)
        np.testing.assert_allclose(there.shift, -by, rtol=1e-12)
        check_same(recentred(there, kept, -by), moments, 1e-12)


@pytest.mark.x64
@pytest.mark.parametrize("first", [gx.Stepwise(passes=4), gx.Incremental(passes=4)])
def test_checkpoints(first, tmp_path):
    """Interrupted in a pass, or in what follows: the same end, bit for bit."""
    x = make_x()
    mixture = start(x)
    solver = gx.InTurn(first, gx.EM(tol=0.0, max_steps=4))
    options = {"solver": solver, "throw": False}

    class Source:
        shape, dtype, left = x.shape, x.dtype, 10**9

        def __getitem__(self, index):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return x[index]

    source = Source()
    data = gx.blocks(source, rows=ROWS)
    expected = gx.fit(mixture, data, **options)
    assert int(expected.n_steps) == 8
    for n_reads in (90, 110):
        # 64 of them look at whether the data has changed.
        source.left = n_reads
        with pytest.raises(KeyboardInterrupt):
            gx.fit(mixture, data, checkpoint=tmp_path, **options)
    source.left = 10**9
    got = gx.fit(mixture, data, checkpoint=tmp_path, **options)
    check_same(got.mixture, expected.mixture, 0)
    np.testing.assert_array_equal(got.log_likelihoods, expected.log_likelihoods)
    with pytest.raises(ValueError, match="other options"):
        other = gx.InTurn(dataclasses.replace(first, key=jnp.zeros(2, jnp.uint32) + 1))
        gx.fit(mixture, data, solver=other, checkpoint=tmp_path)


@pytest.mark.x32
def test_progress():
    told = []

    class Listener(gx.extend.AbstractProgress):
        def begin(self, unit, total):
            told.append(unit)

        def update(self, n_done, log_likelihood, change):
            told.append(n_done)

        def end(self):
            told.append("end")

    x = make_x()
    solver = gx.InTurn(gx.Stepwise(), gx.EM(tol=0.0, max_steps=2))
    for data in (x, gx.blocks(x, rows=ROWS)):
        told.clear()
        options = {"solver": solver, "throw": False, "progress": Listener()}
        gx.fit(start(x), data, **options)
        assert told == ["step", 0, 1, 2, 3, 4, "end"]


BAD = {
    "exponent": (lambda x: gx.Stepwise(exponent=1.5), "`exponent` must be at most one"),
    "negative": (lambda x: gx.Stepwise(exponent=-1), "`exponent`"),
    "passes": (lambda x: gx.Stepwise(passes=0), "`passes` must be at least 1"),
    "samples": (lambda x: gx.Incremental(samples_per_update=0.5), "samples_per_update"),
    "key": (lambda x: gx.Incremental(key=3), "`key` must be one random key"),
    "no solvers": (lambda x: gx.InTurn(), "`solvers` must be at least one"),
    "no solver": (lambda x: gx.InTurn(gx.EM(), 3), "`solvers` must be solvers"),
    "features": (
        lambda x: gx.Stepwise().update(gx.Stepwise().init(start(x)), x[:, :1]),
        "has 1 features, but the mixture has 2",
    ),
    "restarts": (
        lambda x: gx.fit_restarts(x, 2, key=jr.key(0), solver=gx.Stepwise()),
        "got `Stepwise`, which is for `gmmx_eqx.fit`",
    ),
}


@pytest.mark.x32
@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        call(make_x())


@pytest.mark.x32
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_estimator_learns_in_batches(dtype):
    """As the updates are, with the estimator pickled in between; and on from a fit."""
    x = np.asarray(make_data(N, D)).astype(dtype)
    estimator = GaussianMixture(K, random_state=0, reg_covar=RIDGE)
    means = x[:K] + 1
    estimator.set_params(
        means_init=means,
        weights_init=np.full(K, 1 / K),
        precisions_init=np.stack([np.eye(D)] * K),
    )
    for batch in np.split(x, 9):
        estimator = pickle.loads(pickle.dumps(estimator.partial_fit(batch)))
    assert estimator.means_.dtype == dtype and estimator.n_iter_ == 9
    batches = np.float64(x).reshape(9, 100, D)
    rates = (np.arange(9) + 2.0) ** -0.6
    begin = np.full(K, 1 / K), np.float64(means), np.stack([np.eye(D)] * K)
    expected = reference(batches, *begin, rates)
    got = estimator.weights_, estimator.means_, estimator.covariances_
    rtol = 1e-8 if dtype == np.float64 else 1e-3
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)
    fitted = GaussianMixture(K, random_state=0).fit(x)
    score = fitted.score(x)
    fitted.partial_fit(x[:300])
    assert fitted.n_iter_ == 1 and not fitted.converged_
    assert fitted.score(x) > score - 0.2
    with pytest.raises(ValueError, match="features"):
        fitted.partial_fit(x[:, :1])
