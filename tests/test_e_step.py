"""Moments against NumPy, and rounding errors in float32 against float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.exceptions
import sklearn.mixture

import gmmx_eqx as gx
from gmmx_eqx._em import Complete
from gmmx_eqx._em.complete import responsibilities as responsibilities_of
from gmmx_eqx._em.guard import Amplification

from .helpers import every_family, leaves, make_data, make_mixture


pytestmark = pytest.mark.optimised

SEPARATE = ["full", "diag", "spherical"]
SHARED = ["tied", "tied_diag", "tied_spherical"]


def about_pivot(mixture, source):
    return eqx.tree_at(lambda m: m.means, mixture, mixture.means - source.pivot)


def expectation_of(mixture, source, is_near):
    whitening = mixture.covariances.whitening(mixture.n_features)
    e_step = Complete.create(source, mixture.covariances)
    return e_step.expect(mixture, whitening, mixture.means, is_near)


def responsibilities(mixture, x):
    """In float64, and the log-likelihood of each sample."""
    d = mixture.n_features
    dense = np.float64(mixture.covariances.dense(d))[0]
    dense = np.broadcast_to(dense, (mixture.n_components, d, d))
    residuals = x[:, None] - np.float64(mixture.means_numpy)
    solved = np.linalg.solve(dense[None], residuals[..., None])[..., 0]
    distance = np.sum(residuals * solved, axis=-1)
    log_det = np.linalg.slogdet(2 * np.pi * dense)[1]
    joint = np.log(mixture.weights_numpy) - 0.5 * (distance + log_det)
    top = joint.max(axis=1, keepdims=True)
    log_prob = top + np.log(np.exp(joint - top).sum(axis=1, keepdims=True))
    return np.exp(joint - log_prob), log_prob[:, 0]


@every_family
@pytest.mark.parametrize("near", ["none", "some", "all", None])
# In one chunk what is tested is the same, but for rounding.
@pytest.mark.parametrize("size", [64, pytest.param(700, marks=pytest.mark.x64)])
def test_moments_agree_with_numpy(name, near, size, dtype):
    """Whichever components are taken by residuals, in how many blocks and chunks."""
    x = jnp.asarray(make_data(700, 3), dtype)
    weight = jnp.asarray(np.arange(700) % 3, dtype)
    source = gx.extend.InMemory.from_data(x, weight, size)
    mixture = about_pivot(make_mixture(name, 5, 3), source)
    flags = {"none": [0] * 5, "some": [0, 1, 0, 0, 1], "all": [1] * 5}.get(near)
    if name.startswith("tied") and near == "some":
        flags = [1] * 5
    is_near = None if flags is None else jnp.array(flags, bool)[None, :, None, None]
    got = eqx.filter_jit(expectation_of)(mixture, source, is_near)
    centred = np.float64(x) - np.float64(source.pivot)[0, 0, :, 0]
    resp, log_prob = responsibilities(mixture, centred)
    resp = resp * np.float64(weight)[:, None]
    pivot = np.float64(mixture.means_numpy)
    if flags is not None:
        pivot = np.where(np.array(flags, bool)[:, None], pivot, 0)
    residuals = centred[:, None] - pivot
    tol = 1e-11 if dtype == np.float64 else 2e-4
    check = lambda a, b: np.testing.assert_allclose(a, b, tol, tol * np.abs(b).max())
    check(got.log_likelihood, np.sum(np.float64(weight) * log_prob))
    check(got.moments.count[0, :, 0, 0], resp.sum(axis=0))
    check(got.moments.first[0, :, :, 0], np.einsum("nk,nki->ki", resp, residuals))
    # The statistic of the family is linear in that of full covariances.
    second = mixture.covariances.statistic(
        jnp.asarray(residuals, dtype)[..., None],
        jnp.asarray(resp, dtype)[..., None, None],
    )
    check(got.moments.second, np.float64(second))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        *[(name, near) for name in SEPARATE for near in ("none", "some", "all")],
        # Of one covariance all are near if one is.
        *[(name, near) for name in SHARED for near in ("none", "all")],
    ],
)
def test_moments_of_many_components(name, near, dtype):
    """Those that are taken by residuals do not stand side by side, and in float32 all
    are taken in float64 if any are. Some samples have a label."""
    x = jnp.asarray(make_data(300, 3), dtype)
    label = np.where(np.arange(300) % 7 == 0, np.arange(300) % 19, -1)
    source = gx.extend.InMemory.from_data(x, None, 128)
    mixture = about_pivot(make_mixture(name, 19, 3), source)
    flags = {"none": [False] * 19, "some": np.arange(19) % 5 == 2, "all": [True] * 19}
    flags = np.array(flags[near])
    is_near = jnp.asarray(flags)[None, :, None, None]
    labels = source.split(jnp.asarray(label, jnp.int32))

    @eqx.filter_jit
    def expect(mixture, source, labels, is_near):
        whitening = mixture.covariances.whitening(3)
        e_step = Complete.create(source, mixture.covariances, labels)
        return e_step.expect(mixture, whitening, mixture.means, is_near)

    expectation = expect(mixture, source, labels, is_near)
    got = expectation.moments
    centred = np.float64(x) - np.float64(source.pivot)[0, 0, :, 0]
    resp, log_prob = responsibilities(mixture, centred)
    known = label >= 0
    log_prob[known] += np.log(resp[known, label[known]])
    resp[known] = np.eye(19)[label[known]]
    pivot = np.where(flags[:, None], np.float64(mixture.means_numpy), 0)
    residuals = centred[:, None] - pivot
    second = mixture.covariances.statistic(
        jnp.asarray(residuals, dtype)[..., None],
        jnp.asarray(resp, dtype)[..., None, None],
    )
    tol = 1e-11 if dtype == np.float64 else 2e-4
    check = lambda a, b: np.testing.assert_allclose(a, b, tol, tol * np.abs(b).max())
    check(expectation.log_likelihood, np.sum(log_prob))
    check(got.count[0, :, 0, 0], resp.sum(axis=0))
    check(got.first[0, :, :, 0], np.einsum("nk,nki->ki", resp, residuals))
    check(got.second, np.float64(second))


@pytest.mark.x32
def test_lanes_of_which_one_is_near():
    """As each by itself, where packed features would lose most digits of the one."""
    x = jnp.asarray(make_data(300, 10), jnp.float32).at[150:].add(1e4)
    source = gx.extend.InMemory.from_data(x, None, 128)
    lanes = [about_pivot(make_mixture("full", 5, 10, seed=i), source) for i in (0, 1)]
    lanes[1] = eqx.tree_at(
        lambda m: m.means, lanes[1], lanes[1].means.at[:, ::2].add(1e4)
    )
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
    is_near = jnp.zeros((2, 1, 5, 1, 1), bool).at[1].set(True)
    one = lambda mixture, is_near: expectation_of(mixture, source, is_near)
    together = eqx.filter_jit(jax.vmap(one))(stack, is_near)
    for i, mixture in enumerate(lanes):
        alone = eqx.filter_jit(one)(mixture, is_near[i])
        for a, b in zip(leaves(together), leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, 1e-5, 1e-5 * np.abs(b).max())


@pytest.mark.x64
def test_statistic_of_large_blocks(dtype):
    """More samples than one block of residuals holds, with a rest."""
    x = jnp.asarray(make_data(3001, 40), dtype)
    source = gx.extend.InMemory.from_data(x, None, 3001)
    mixture = about_pivot(make_mixture("full", 3, 40), source)
    every = jnp.ones((1, 3, 1, 1), bool)
    got = eqx.filter_jit(expectation_of)(mixture, source, every)
    centred = np.float64(source.columns[0]).T
    resp, _ = responsibilities(mixture, centred)
    residuals = centred[:, None] - np.float64(mixture.means_numpy)
    expected = np.einsum("nk,nki,nkj->kij", resp, residuals, residuals)
    np.testing.assert_allclose(got.moments.second[0], expected, 1e-9, 1e-9)


def narrow_components(n_narrow, seed=0):
    """Sixteen clusters in 4 dimensions, some of a thousandth of the others' width."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(16, 4))
    width = np.where(np.arange(16) < n_narrow, 1e-3, 1.0)
    label = np.arange(3200) % 16
    noise = width[label, None] * rng.normal(size=(3200, 4))
    return (centres[label] + noise).astype(np.float32), label


def covariance_error(x, label, name, n_steps):
    """Of a fit in float32, of each covariance in units of its own size, against the
    fit to the same numbers in float64."""
    solver = gx.EM(tol=0.0, max_steps=n_steps)
    values = []
    for dtype in (np.float32, np.float64):
        data = jnp.asarray(x, dtype)
        start = gx.GaussianMixture.from_labels(data, label, covariance_type=name)
        fit = gx.fit(start, data, solver=solver, reg_covar=0.0, throw=False)
        values.append(np.float64(fit.mixture.covariances.dense(x.shape[1]))[0])
    difference, exact = np.abs(values[0] - values[1]), np.abs(values[1])
    return (difference.max((1, 2)) / exact.max((1, 2))).max()


@pytest.mark.x64
@pytest.mark.parametrize("name", SEPARATE)
@pytest.mark.parametrize("n_narrow", [1, 2, 5, 16])
def test_narrow_components(name, n_narrow):
    x, label = narrow_components(n_narrow)
    assert covariance_error(x, label, name, 5) < 2e-4


@pytest.mark.x64
def test_many_features():
    """Two of sixteen components far for their widths, in 32 dimensions."""
    rng = np.random.default_rng(0)
    label = np.arange(4800) % 16
    width = np.where(label < 2, 0.05, 1.0)[:, None]
    x = 2 * rng.normal(size=(16, 32))[label] + width * rng.normal(size=(4800, 32))
    assert covariance_error(x.astype(np.float32), label, "full", 3) < 5e-5


@pytest.mark.x64
@pytest.mark.parametrize("n_clusters", [2, 5])
@pytest.mark.parametrize("ratio", [1.0, 1e1, 1e2, 1e3, 1e4, 1e5])
def test_float32_is_that_of_float64_at_any_separation(ratio, n_clusters):
    """Clusters `ratio` widths apart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 32)).astype(np.float32)
    label = np.arange(2000) * n_clusters // 2000
    x += np.float32(ratio) * np.eye(32, dtype=np.float32)[label]
    # Samples about the pivot are themselves rounded to eps times their distance.
    bound = max(5e-5, 0.1 * ratio * np.finfo(np.float32).eps)
    assert covariance_error(x, label, "full", 5) < bound


@pytest.mark.x64
def test_errors_are_within_the_bound():
    """In units of each covariance, against residuals in float64."""
    rng = np.random.default_rng(0)
    d, n_components, n = 8, 4, 2048
    eps = float(np.finfo(np.float32).eps)
    run = eqx.filter_jit(expectation_of)
    for separation in (1, 10, 100):
        for decades in (0.0, 1.5):
            bases = np.linalg.qr(rng.normal(size=(n_components, d, d)))[0]
            scales = 10 ** -rng.uniform(0, decades, (n_components, 1, d))
            factors = bases * scales
            label = np.arange(n) % n_components
            centres = separation * rng.normal(size=(n_components, d))
            noise = np.einsum("nij,nj->ni", factors[label], rng.normal(size=(n, d)))
            x = (centres[label] + noise).astype(np.float32)
            start = gx.GaussianMixture.from_labels(x, label)
            found = []
            for dtype, near in ((np.float32, False), (np.float32, True), (float, True)):
                mixture = gx.GaussianMixture.from_squeezed(
                    start.means_numpy.astype(dtype),
                    # The same numbers in both.
                    (factors @ factors.swapaxes(1, 2)).astype(np.float32).astype(dtype),
                    np.full(n_components, 1 / n_components, dtype),
                )
                source = gx.extend.InMemory.from_data(jnp.asarray(x, dtype), None, n)
                mixture = about_pivot(mixture, source)
                is_near = jnp.full((1, n_components, 1, 1), near)
                found.append(covariances_of(run(mixture, source, is_near)))
                whitening = mixture.covariances.whitening(d)
                bound = Amplification.of(mixture, whitening, mixture.means)
            packed, residuals, exact = found
            u = np.float64(whitening.upper)[0]

            def error(got, exact=exact, u=u):
                scaled = u.swapaxes(1, 2) @ (got - exact) @ u
                return np.linalg.norm(scaled, ord=2, axis=(1, 2))

            far = 32 * eps * np.float64(bound.far)[0, :, 0, 0]
            # A change as large as the covariance is no small change.
            assert np.all((error(packed) < far) | (far > 0.1))
            # Rounding of the samples themselves, about the pivot, remains.
            near = np.float64(bound.near)[0, :, 0, 0]
            rounded = np.sqrt(np.float64(bound.far)[0, :, 0, 0])
            assert np.all(error(residuals) < 16 * eps * (near + rounded))


def covariances_of(expectation):
    count, first, second = (
        np.float64(getattr(expectation.moments, name))[0]
        for name in ("count", "first", "second")
    )
    shift = first / count
    return second / count - shift * shift.swapaxes(1, 2)


@pytest.mark.x32
def test_fit_of_far_clusters_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1600, 32)) * rng.uniform(0.5, 2, size=32)
    x[::2, :4] += 100
    x = x.astype(np.float32)
    start = gx.GaussianMixture.from_labels(x, np.arange(1600) % 4)
    solver = gx.EM(tol=0.0, max_steps=8)
    got = gx.fit(start, x, solver=solver, reg_covar=1e-6, throw=False)
    weights = np.float64(start.weights_numpy)
    peer = sklearn.mixture.GaussianMixture(
        4,
        max_iter=8,
        tol=0.0,
        weights_init=weights / weights.sum(),
        means_init=np.float64(start.means_numpy),
        precisions_init=np.linalg.inv(np.float64(start.covariances.values_numpy)),
    )
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        peer.fit(np.float64(x))
    rtol = 1e-3
    mixture = got.mixture
    np.testing.assert_allclose(mixture.weights_numpy, peer.weights_, rtol)
    np.testing.assert_allclose(mixture.means_numpy, peer.means_, rtol, 10 * rtol)
    values = mixture.covariances.values_numpy
    np.testing.assert_allclose(values, peer.covariances_, rtol, 10 * rtol)


def test_lanes_of_which_each_needs_something_else(dtype):
    """Mapped over mixtures that lose nothing, something and everything."""
    x, label = narrow_components(1)
    x = jnp.asarray(x, dtype)
    source = gx.extend.InMemory.from_data(x, None, len(x))
    start = gx.GaussianMixture.from_labels(x, label, covariance_type="diag")
    start = about_pivot(start, source)
    values = start.covariances.values
    lanes = [jnp.full_like(values, 4.0), values, jnp.full_like(values, 1e-7)]
    mixtures = gx.stack(
        [eqx.tree_at(lambda m: m.covariances.values, start, v) for v in lanes]
    )
    step = gx.extend.EMStep.create(start.covariances, source, gx.Ridge(0.0))
    together, infos = eqx.filter_jit(eqx.filter_vmap(lambda m: step(m)))(mixtures)
    alone = eqx.filter_jit(lambda m: step(m))
    tol = 1e-10 if dtype == np.float64 else 1e-3
    for i in range(3):
        one, info = alone(mixtures[i])
        for a, b in zip(leaves(together[i]), leaves(one), strict=True):
            np.testing.assert_allclose(a, b, tol, tol * np.abs(b).max())
        np.testing.assert_allclose(infos.log_likelihood[i], info.log_likelihood, 1e-5)


def test_two_components_share_an_exponential():
    """Against SciPy: equal densities, some far apart, and components that a sample is
    known not to belong to."""
    joint = np.array(
        [
            [0.0, 3.0, -800.0, -np.inf, 5.0, -1e4],
            [0.0, 2.5, -2.0, 1.5, -np.inf, 1.0 - 1e4],
        ]
    )
    weights = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 0.0])

    def log_likelihood(joint):
        resp, value = responsibilities_of(joint, jnp.asarray(weights))
        return value, resp

    weights = weights.astype(jnp.zeros(()).dtype)
    given = jnp.asarray(joint, weights.dtype)
    gradient, resp = jax.grad(log_likelihood, has_aux=True)(given)
    value, _ = log_likelihood(given)
    # An exponential, a quotient, a logarithm and a sum of six, each to a few roundings.
    rtol = 16 * float(np.finfo(weights.dtype).eps)
    expected = weights * scipy.special.softmax(joint, axis=0)
    np.testing.assert_allclose(resp, expected, rtol, atol=1e-38)
    np.testing.assert_allclose(gradient, expected, rtol, atol=1e-38)
    exact = np.sum(weights * scipy.special.logsumexp(joint, axis=0))
    np.testing.assert_allclose(value, exact, rtol)
