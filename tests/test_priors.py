"""Fits with priors: what is maximised, by whom else, and what does not collapse."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import sklearn.mixture

import gmmx_eqx as gx

from .families import BY_NAME, every_family_of_any_fields
from .helpers import leaves, make_data, make_mixture, old_faithful, parameters, start


# Cases of each of the families. With 60, a thousand in all, none falls either.
N_CASES, N_SAMPLES, K, D = 16, 24, 3, 2


def log_prior(prior: gx.Prior, mixture: gx.GaussianMixture) -> float:
    """By scipy, in the form of the mixture's family."""
    weights, means, dense = parameters(mixture)
    family = BY_NAME[str(mixture.covariances.type)]
    own, total = prior.components, 0.0
    if prior.weights is not None:
        alpha = np.full(len(weights), float(prior.weights.concentration))
        total += scipy.stats.dirichlet(alpha).logpdf(weights / weights.sum())
    if own is None:
        return total
    n_features = own.n_features
    kappa, nu = float(own.shrinkage), float(own.degrees_of_freedom)
    scale = np.float64(own.scale)
    if own.divided:
        scale = scale / len(weights) ** (2 / n_features)
    for mean, covariance in zip(means, dense, strict=True):
        normal = scipy.stats.multivariate_normal(own.mean, covariance / kappa)
        total += normal.logpdf(mean)
    form = "full" if family.values is None else family.values.form
    if isinstance(mixture.covariances, gx.families.VEICovariances):
        form = "diag"
    if isinstance(mixture.covariances, gx.families.EVICovariances):
        form = "diag"
    tied = family.values is not None and family.values.tied
    for covariance in dense[:1] if tied else dense:
        if form == "full":
            total += scipy.stats.invwishart(nu, scale).logpdf(covariance)
            continue
        variances, scales = np.diagonal(covariance), np.diagonal(scale)
        if form == "spherical":
            variances, scales = variances[:1], np.mean(scales, keepdims=True)
        total += np.sum(
            scipy.stats.invgamma(nu / 2, scale=scales / 2).logpdf(variances)
        )
    return total


def log_likelihood(mixture: gx.GaussianMixture, x) -> float:
    """By scipy."""
    rows = [
        np.log(weight) + scipy.stats.multivariate_normal(mean, covariance).logpdf(x)
        for weight, mean, covariance in zip(*parameters(mixture), strict=True)
    ]
    return float(np.sum(scipy.special.logsumexp(rows, axis=0)))


def random_prior(seed):
    """Of any strength, which may contradict the data."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(D, D))
    scale = factor @ factor.T + 0.1 * np.eye(D)
    return gx.Prior(
        gx.Dirichlet(rng.uniform(1, 4)),
        gx.NormalInverseWishart(
            5 * rng.normal(size=D),
            10 ** rng.uniform(-2, 1),
            D - 1 + 10 ** rng.uniform(-1, 1),
            10 ** rng.uniform(-1, 1) * scale,
        ),
    )


coordinates_of = lambda free: (free.log_ratios, free.shifts, free.shapes)
unconstrained = eqx.filter_jit(gx.UnconstrainedMixture.from_mixture)


@eqx.filter_jit
def mixture_at(free, direction, length):
    move = lambda a, b: a + length * b
    moved = jax.tree.map(move, coordinates_of(free), direction)
    return eqx.tree_at(coordinates_of, free, moved).mixture


@pytest.mark.x64
@every_family_of_any_fields
def test_the_objective_never_falls_and_is_stationary_at_the_end(name):
    """For random data, starts and priors; the objective at the end by scipy, and its
    derivatives in random directions."""
    xs = jnp.asarray([make_data(N_SAMPLES, D, 2, seed) for seed in range(N_CASES)])
    starts = gx.stack([make_mixture(name, K, D, seed) for seed in range(N_CASES)])
    priors = [random_prior(seed) for seed in range(N_CASES)]
    every = jax.tree.map(lambda *own: jnp.stack(own), *priors)
    solver = gx.EM(tol=1e-14, max_steps=300)
    fit = lambda start, x, prior: gx.fit(
        start, x, prior=prior, solver=solver, throw=False
    )
    solutions = eqx.filter_jit(eqx.filter_vmap(fit))(starts, xs, every)
    assert set(solutions.status) <= {"successful", "max_steps_reached"}
    for lane, solution in enumerate(solutions):
        history = np.asarray(solution.objectives)[: int(solution.n_steps) + 1]
        rounding = 1e-11 * np.abs(history).max()
        assert np.all(np.diff(history) > -rounding), lane
    if name == "volume":
        return
    for lane in range(3):
        solution, x, prior = solutions[lane], np.asarray(xs[lane]), priors[lane]
        known = log_prior(prior, solution.mixture)
        np.testing.assert_allclose(solution.log_prior, known, rtol=1e-9)
        np.testing.assert_allclose(
            solution.log_likelihood, log_likelihood(solution.mixture, x), rtol=1e-9
        )
        if solution.status != "successful":
            continue
        free = unconstrained(solution.mixture)
        rng, step = np.random.default_rng(lane), 1e-3
        direction = jax.tree.map(
            lambda leaf, rng=rng: jnp.asarray(rng.normal(size=leaf.shape)),
            coordinates_of(free),
        )

        def at(length, free=free, direction=direction, x=x, prior=prior):
            mixture = mixture_at(free, direction, jnp.asarray(length))
            return log_likelihood(mixture, x) + log_prior(prior, mixture)

        behind, here, ahead = at(-step), at(0.0), at(step)
        curvature = (ahead - 2 * here + behind) / step**2
        assert curvature < 0
        # The distance to the maximum, in steps of the direction.
        assert abs((ahead - behind) / (2 * step * curvature)) < 1e-3


@pytest.mark.x64
@pytest.mark.parametrize(
    "name, n_components, log_likelihood",
    [
        ("full", 2, -1130.509264),
        ("tied", 3, -1126.427179),
        ("diag", 2, -1229.215690),
        ("spherical", 2, -1709.580830),
    ],
)
def test_of_mclust(name, n_components, log_likelihood):
    """Printed by mclust 6 for Old Faithful, with `priorControl()`."""
    x = old_faithful()
    prior = gx.Prior.from_data(x)
    if name == "diag":
        # For a model without orientation it takes the mean of the variances.
        variance = np.mean(np.var(x, axis=0, ddof=1))
        own = gx.NormalInverseWishart(
            x.mean(0), 0.01, 4.0, variance * np.eye(2), divided=True
        )
        prior = gx.Prior(None, own)
    solution = gx.fit(
        start(name, x, n_components), x, prior=prior, solver=gx.EM(1e-14, 20000)
    )
    np.testing.assert_allclose(solution.log_likelihood, log_likelihood, atol=1e-5)
    if name == "full":
        largest = int(np.argmax(solution.mixture.weights_numpy))
        np.testing.assert_allclose(
            solution.mixture.weights_numpy[largest], 0.6439242705, rtol=1e-7
        )
        np.testing.assert_allclose(
            solution.mixture.covariances.values_numpy[largest].ravel()[[0, 1, 3]],
            [0.165608532, 0.9314112061, 34.9063643],
            rtol=1e-7,
        )


@pytest.mark.x64
def test_a_sweep_over_strengths_is_one_program_with_derivatives():
    x = jnp.asarray(old_faithful(), float)
    begin = start("full", x, 2)
    base = gx.Prior.from_data(x)

    def log_likelihood(log_shrinkage, degrees):
        own = gx.NormalInverseWishart(
            base.components.mean,
            jnp.exp(log_shrinkage),
            degrees,
            base.components.scale,
            divided=True,
        )
        prior = gx.Prior(gx.Dirichlet(1 + 0.1 * degrees), own)
        solver = gx.EM(1e-15, 3000)
        solution = gx.fit(begin, x, prior=prior, solver=solver, throw=False)
        return solution.log_likelihood, solution.objective

    @ft.partial(eqx.debug.assert_max_traces, max_traces=1)
    def both(log_shrinkage, degrees):
        value = log_likelihood(log_shrinkage, degrees)
        slopes = jax.jacfwd(log_likelihood, (0, 1))(log_shrinkage, degrees)
        return value, slopes

    step = 1e-3
    shrinkage = jnp.asarray([-1.0, 2.0, 2.0 + step, 2.0 - step, 2.0, 2.0])
    degrees = jnp.asarray([4.0, 5.0, 5.0, 5.0, 5.0 + step, 5.0 - step])
    values, slopes = jax.jit(jax.vmap(both))(shrinkage, degrees)
    for value, (by_shrinkage, by_degrees) in zip(values, slopes, strict=True):
        assert np.isfinite(value).all()
        ahead, behind = (value[2] - value[3]), (value[4] - value[5])
        np.testing.assert_allclose(by_shrinkage[1], ahead / (2 * step), rtol=1e-4)
        np.testing.assert_allclose(by_degrees[1], behind / (2 * step), rtol=1e-4)


def clumps() -> np.ndarray:
    """Handfuls of points, some of them equal, of which plain fits collapse."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 4))
    x = np.repeat(centres, rng.integers(2, 7, size=12), axis=0)
    x[10:] += 0.01 * rng.normal(size=x[10:].shape)
    return x


@pytest.mark.x32
def test_nothing_collapses():
    x = clumps()
    fits = {"key": jr.key(0), "n_restarts": 8, "initialiser": gx.RandomPoints()}
    free = gx.fit_restarts(x, 12, reg_covar=0.0, **fits)
    assert np.any(free.solutions.status == "component_collapsed")
    held = gx.fit_restarts(x, 12, prior=gx.Prior.from_data(x), **fits)
    assert set(held.solutions.status) <= {"successful", "max_steps_reached"}
    objectives = np.asarray(held.solutions.objective)
    np.testing.assert_allclose(held.best.objective, objectives.max(), rtol=1e-5)
    # The scale of the prior is that of each number of components.
    table = gx.select(
        x, [1, 4, 12], ["full"], 4, key=jr.key(0), prior=gx.Prior.from_data(x)
    )
    assert all(cell.n_converged for cell in table.cells)
    one = next(cell for cell in table.cells if cell.n_components == 1)
    alone = gx.fit(start("full", x, 1), x, prior=gx.Prior.from_data(x))
    np.testing.assert_allclose(
        one.solution.log_likelihood, alone.log_likelihood, rtol=1e-4
    )


@pytest.mark.x32
def test_clusters_of_a_handful_and_of_hundreds():
    """As in an index for retrieval. Covariances are at least what the prior alone would
    leave of them; those of scikit-learn end on its ridge."""
    rng, d = np.random.default_rng(0), 6
    sizes = np.exp(rng.uniform(np.log(3), np.log(500), size=20)).astype(int)
    widths = np.exp(rng.uniform(np.log(0.02), np.log(0.5), size=20))
    x = np.repeat(rng.normal(size=(20, d)), sizes, axis=0)
    x = x + np.repeat(widths, sizes)[:, None] * rng.normal(size=x.shape)
    x = x.astype(np.float32)
    table = gx.select(
        x,
        [8, 16, 32],
        ["full"],
        1,
        key=jr.key(0),
        initialiser=gx.KMeans(),
        prior=gx.Prior.from_data(x),
    )
    assert [cell.status for cell in table.cells] == ["successful"] * 3
    for cell in table.cells:
        weights, _, dense = parameters(cell.solution.mixture)
        scale = np.cov(x.T) / cell.n_components ** (2 / d)
        for w, covariance in zip(weights, dense, strict=True):
            least = scale / (2 * d + 4 + w * len(x))
            ratios = scipy.linalg.eigvalsh(covariance, least)
            # Of numbers that float32 has.
            assert ratios.min() > 1 - 1e-3
    theirs = sklearn.mixture.GaussianMixture(32, random_state=0).fit(x)
    assert np.linalg.eigvalsh(theirs.covariances_).min() < 2 * theirs.reg_covar


@pytest.mark.x32
@pytest.mark.parametrize("solver", [gx.EM, gx.SQUAREM])
def test_components_of_few_samples_are_dropped(solver):
    x = make_data(300, n_clusters=2)
    begin = start("full", x, 6)
    prior = gx.Prior(
        gx.Dirichlet(0.5), gx.Prior.from_data(x).components, drop_below=40.0
    )
    solution = gx.fit(begin, x, prior=prior, solver=solver(1e-5, 2000))
    weights = solution.mixture.weights_numpy
    assert solution.status == "successful"
    assert np.sum(weights == 0) >= 1
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    counts = np.sum(np.asarray(solution.mixture.predict_proba(x)), axis=0)
    assert np.all(counts[weights > 0] > 39)
    # The largest stays.
    alone = gx.Prior(drop_below=1e6)
    only = gx.fit(begin, x, prior=alone, solver=solver(1e-5, 2000)).mixture
    assert np.sum(only.weights_numpy > 0) == 1


@pytest.mark.x32
def test_blocks_and_memory_agree(tmp_path):
    x = np.float32(make_data(200))
    begin = start("tied", x, 3)
    prior = gx.Prior(gx.Dirichlet(3.0), gx.Prior.like_sklearn(x).components)
    in_memory = gx.fit(begin, x, prior=prior)
    in_blocks = gx.fit(begin, gx.blocks(x, 64), prior=prior)
    assert in_blocks.status == in_memory.status == "successful"
    for one, other in zip(leaves(in_blocks), leaves(in_memory), strict=True):
        if one.ndim > 1:
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(in_blocks.log_prior, in_memory.log_prior, rtol=1e-4)
    path = tmp_path / "solution.safetensors"
    gx.save(path, in_memory)
    assert gx.load(path).objective == in_memory.objective
    with pytest.raises(ValueError, match="`?objectives"):
        in_memory.log_likelihoods  # noqa: B018  # a property that raises


@pytest.mark.x64
def test_frozen_means():
    """The covariance is then the most probable one about the mean as it is."""
    x, prior = make_data(80), random_prior(3)
    begin = make_mixture("full", 1, 2, seed=4)
    frozen = gx.Frozen(means=True)
    solution = gx.fit(begin, x, prior=prior, frozen=frozen, solver=gx.EM(1e-14))
    own, mean = prior.components, begin.means_numpy[0]
    gap = np.asarray(own.mean) - mean
    scatter = (x - mean).T @ (x - mean) + float(own.shrinkage) * np.outer(gap, gap)
    divisor = float(own.degrees_of_freedom) + len(x) + 2 + 2
    expected = (np.asarray(own.scale) + scatter) / divisor
    np.testing.assert_allclose(
        solution.mixture.covariances.values_numpy[0], expected, rtol=1e-9
    )


@pytest.mark.x64
def test_priors_of_data():
    x = make_data(50, 3)
    weight = np.random.default_rng(0).integers(1, 4, size=50)
    for make in (gx.Prior.from_data, gx.Prior.like_sklearn):
        whole = make(np.repeat(x, weight, axis=0))
        weighted = make(x, sample_weight=weight)
        traced = jax.jit(make)(jnp.asarray(np.repeat(x, weight, axis=0)))
        for one, *others in zip(*map(leaves, (whole, weighted, traced)), strict=True):
            for other in others:
                np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            make(x).components.scale, np.cov(x.T), rtol=1e-12, atol=1e-12
        )


@pytest.mark.x32
def test_what_cannot_be_a_prior():
    x = make_data(60)
    mean, scale, begin = x.mean(0), np.cov(x.T), start("full", x, 2)
    niw = gx.NormalInverseWishart
    cases = {
        "`concentration`.*at least zero.*-1": lambda: gx.Dirichlet(-1.0),
        "`concentration`.*greater than zero.*0": lambda: gx.Dirichlet(0.0),
        "`degrees_of_freedom`.*greater than 1.*1.0": lambda: niw(mean, 1, 1.0, scale),
        "`shrinkage`.*greater than zero": lambda: niw(mean, 0, 4, scale),
        r"`scale`.*\(2, 2\).*\(2,\)": lambda: niw(mean, 1, 4, np.ones(2)),
        "`scale`.*symmetric": lambda: niw(mean, 1, 4, [[1.0, 0.5], [0.0, 1.0]]),
        "`scale`.*positive definite": lambda: niw(mean, 1, 4, np.ones((2, 2))),
        "`mean`.*finite": lambda: niw([0.0, np.nan], 1, 4, scale),
        "`drop_below`": lambda: gx.Prior(drop_below=-1.0),
        "`weights`.*`Dirichlet`": lambda: gx.Prior(2.0),
        "`x` must vary": lambda: gx.Prior.from_data(np.ones((9, 2))),
        "`prior` is of 3 features.*2": lambda: gx.fit(
            begin, x, prior=gx.Prior.from_data(make_data(60, 3))
        ),
        "`prior` must be a `Prior`": lambda: gx.fit(begin, x, prior=gx.Dirichlet(2.0)),
        "`prior.weights`.*`equal_weights`": lambda: gx.fit(
            begin, x, prior=gx.Prior(gx.Dirichlet(2.0)), equal_weights=True
        ),
        "`sample_weight` must count": lambda: gx.fit(
            begin,
            x,
            sample_weight=np.full(60, 1e-25),
            prior=gx.Prior.from_data(x),
        ),
    }
    for message, run in cases.items():
        with pytest.raises(ValueError, match="(?s)" + message):
            run()
