"""Mixtures whose weights are all the same, and no parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import sklearn.datasets

import gmmx_eqx as gx
from gmmx_eqx._fit.capacity import carries

from .helpers import every_family, leaves, make_data, old_faithful, start


def uneven(n_samples=300, n_features=2, seed=0) -> jax.Array:
    """Overlapping clusters, one of them with eight times the samples of another."""
    rng = np.random.default_rng(seed)
    label = rng.choice(3, n_samples, p=[0.08, 0.28, 0.64])
    centres = 2.5 * rng.normal(size=(3, n_features))
    x = centres[label] + (0.6 + 0.4 * label[:, None]) * rng.normal(
        size=(n_samples, n_features)
    )
    return jnp.asarray(x, dtype=float)


def with_weights(mixture, weights):
    weights = jnp.asarray(weights, mixture.weights.dtype).reshape(1, -1, 1, 1)
    return eqx.tree_at(lambda m: m.weights, mixture, weights)


def evened(mixture):
    k = mixture.n_components
    return with_weights(mixture, np.full(k, 1 / k))


def assert_equal_weights(mixture):
    weights = np.asarray(mixture.weights)
    k = weights.shape[-3]
    np.testing.assert_array_equal(weights, weights.dtype.type(1) / k)


def by_thirds() -> np.ndarray:
    """Labels of Old Faithful: thirds by the length of the eruption."""
    x = old_faithful()
    labels = np.empty(len(x), int)
    labels[np.lexsort((x[:, 1], x[:, 0]))] = np.repeat([0, 1, 2], [91, 91, 90])
    return labels


# By mclust 6.0.0: `me(modelName, data, unmap(labels), control = emControl(equalPro =
# TRUE, tol = c(1e-13, 1e-13)))`, with `nMclustParams`, `bic` and `icl`.
MCLUST = {
    "iris": ("full", -180.659325420771, 42, 571.765333193585, 575.15474150454),
    "faithful": ("tied", -1131.07374907958, 9, 2312.59971675583, 2377.36928969496),
}


@pytest.mark.x64
@pytest.mark.parametrize("data", MCLUST)
def test_mclust_finds_the_same(data):
    name, log_likelihood, n_parameters, bic, icl = MCLUST[data]
    if data == "iris":
        x, labels = sklearn.datasets.load_iris(return_X_y=True)
    else:
        x, labels = old_faithful(), by_thirds()
    options = {"covariance_type": name, "reg_covar": 0.0}
    begin = gx.GaussianMixture.from_labels(x, labels, **options)
    solver = gx.EM(tol=1e-14, max_steps=20_000)
    solution = gx.fit(begin, x, equal_weights=True, reg_covar=0.0, solver=solver)
    np.testing.assert_allclose(solution.log_likelihood, log_likelihood, rtol=1e-9)
    mixture = solution.mixture
    completed = float(mixture.icl(x)) - 2 * np.log(len(x))
    np.testing.assert_allclose(completed, icl, rtol=1e-5)
    cell = gx.Cell.create(
        name, solution, float(len(x)), completed, 1, 1, equal_weights=True
    )
    assert cell.n_parameters == n_parameters
    np.testing.assert_allclose(cell.bic, bic, rtol=1e-9)
    # What the mixture itself says, as its documentation corrects it.
    np.testing.assert_allclose(mixture.bic(x) - 2 * np.log(len(x)), bic, rtol=1e-9)
    np.testing.assert_allclose(mixture.aic(x) - 4, cell.aic, rtol=1e-9)


@every_family
def test_the_likelihood_never_falls(name):
    x = uneven()
    begin = start(name, x, 3)
    solver = gx.EM(tol=0.0, max_steps=60)
    options = {"solver": solver, "reg_covar": 0.0, "throw": False}
    solution = gx.fit(begin, x, equal_weights=True, **options)
    assert_equal_weights(solution.mixture)
    history = np.asarray(solution.log_likelihoods)[: int(solution.n_steps) + 1]
    relative = 1e-12 if history.dtype == np.float64 else 6e-5
    assert np.all(np.diff(history) >= -relative * np.abs(history).max())
    assert history[-1] > history[0] + 1
    # Also the first is that of a mixture with equal weights.
    for value, mixture in (
        (history[0], evened(begin)),
        (history[-1], solution.mixture),
    ):
        np.testing.assert_allclose(value, len(x) * mixture.score(x), rtol=1e-5)
    free = gx.fit(solution.mixture, x, **options)
    assert free.log_likelihood > solution.log_likelihood + 0.5


def test_weights_of_a_start_are_made_equal_first():
    x = uneven()
    begin = with_weights(start("full", x, 3), [0.7, 0.2, 0.1])
    solver = gx.EM(tol=0.0, max_steps=0)
    run = lambda begin, **kwargs: gx.fit(
        begin, x, equal_weights=True, solver=solver, throw=False, **kwargs
    )
    first = run(begin)
    assert_equal_weights(first.mixture)
    expected = evened(begin).score(x)
    np.testing.assert_allclose(first.mean_log_likelihood, expected, rtol=1e-5)
    second = [False, True, False]
    frozen = gx.Frozen(means=second)
    held = gx.fit(begin, x, equal_weights=True, frozen=frozen)
    assert_equal_weights(held.mixture)
    np.testing.assert_array_equal(held.mixture.means[:, 1], begin.means[:, 1])


def test_empty_components_stay_empty():
    x = uneven()
    begin = start("full", x, 3)
    solution = gx.fit(with_weights(begin, [0.3, 0.0, 0.7]), x, equal_weights=True)
    np.testing.assert_array_equal(solution.mixture.weights_numpy, [0.5, 0, 0.5])
    two = jax.tree.map(lambda leaf: leaf[:, np.array([0, 2])], begin)
    alone = gx.fit(two, x, equal_weights=True)
    np.testing.assert_allclose(solution.log_likelihood, alone.log_likelihood, rtol=1e-5)


@pytest.mark.parametrize("solver", [gx.EM, gx.SQUAREM])
def test_a_component_without_samples_has_collapsed(solver):
    x = uneven()
    begin = start("full", x, 3)
    far = eqx.tree_at(lambda m: m.means, begin, begin.means.at[:, 1].add(1e4))
    solution = gx.fit(far, x, equal_weights=True, solver=solver(), throw=False)
    assert solution.status == "component_collapsed"
    assert_equal_weights(solution.mixture)
    # One that has all that remains of one sample is singular.
    lonely = jnp.concatenate([x, jnp.full((1, 2), 400.0, x.dtype)])
    far = eqx.tree_at(lambda m: m.means, begin, begin.means.at[:, 1].set(400.0))
    options = {"reg_covar": 0.0, "solver": solver(), "throw": False}
    solution = gx.fit(far, lonely, equal_weights=True, **options)
    assert solution.status == "component_collapsed"


@pytest.mark.x64
@every_family
def test_squarem_keeps_them_equal(name):
    x = uneven()
    begin = start(name, x, 3)
    plain, squared = (
        gx.fit(
            begin,
            x,
            equal_weights=True,
            solver=solver(tol=1e-8, max_steps=20_000),
            reg_covar=0.0,
        )
        for solver in (gx.EM, gx.SQUAREM)
    )
    assert_equal_weights(squared.mixture)
    assert squared.log_likelihood >= plain.log_likelihood - 1e-7 * len(x)
    assert squared.n_steps < plain.n_steps


@pytest.mark.x64
def test_lanes_of_restarts_are_fits_of_their_own():
    x = uneven()
    options = {"equal_weights": True, "solver": gx.EM(tol=1e-9, max_steps=5000)}
    population = gx.fit_restarts(x, 3, "diag", 4, key=jr.key(0), width=2, **options)
    assert population.n_converged == 4
    assert_equal_weights(population.solutions.mixture)
    for lane, key in enumerate(jr.split(jr.key(0), 4)):
        begin = gx.GaussianMixture.from_initialiser(
            gx.Mixed(turn=lane), x, 3, key=key, covariance_type="diag"
        )
        alone = gx.fit(begin, x, **options)
        for one, other in zip(
            leaves(population[lane].mixture), leaves(alone.mixture), strict=True
        ):
            np.testing.assert_allclose(one, other, 1e-8, 1e-8)


@pytest.mark.x32
def test_lanes_of_vmap_are_fits_of_their_own():
    x = uneven()
    begins = [start("full", x, 3, seed=seed) for seed in range(3)]
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *begins)
    run = lambda begin: gx.fit(begin, x, equal_weights=True, throw=False)
    lanes = eqx.filter_jit(eqx.filter_vmap(run))(ensemble)
    assert_equal_weights(lanes.mixture)
    for lane, begin in zip(lanes, begins, strict=True):
        np.testing.assert_allclose(
            lane.log_likelihood, run(begin).log_likelihood, rtol=1e-4
        )


def test_every_data_set_of_a_batch():
    """Of different lengths, with padded components."""
    xs = [np.asarray(uneven(n, seed=seed)) for seed, n in enumerate((300, 150))]
    options = {"equal_weights": True}
    batch = gx.fit_batch(xs, 3, "tied", 2, key=jr.key(1), **options)
    assert batch.converged.all()
    assert_equal_weights(batch.mixture)
    for x, solution in zip(xs, batch, strict=True):
        again = gx.fit(solution.mixture, x, **options)
        np.testing.assert_allclose(
            again.log_likelihood, solution.log_likelihood, atol=1e-3
        )
        free = gx.fit(solution.mixture, x)
        assert free.log_likelihood > solution.log_likelihood + 1


@pytest.mark.x32
def test_with_parameters_that_are_frozen_in_restarts():
    x = uneven()
    at = with_weights(start("full", x, 3, seed=2), [0.1, 0.3, 0.6])
    frozen = gx.Frozen(means=[True, False, False])
    population = gx.fit_restarts(
        x, 3, "full", 2, key=jr.key(0), equal_weights=True, frozen=frozen, frozen_at=at
    )
    assert_equal_weights(population.solutions.mixture)
    for solution in population.solutions:
        np.testing.assert_array_equal(solution.mixture.means[:, 0], at.means[:, 0])


@pytest.mark.x64
def test_criteria_of_a_selection_do_not_count_weights():
    x = old_faithful()
    weight = np.full(len(x), 2.0)
    solver = gx.EM(tol=1e-12, max_steps=20_000)
    options = {"solver": solver, "reg_covar": 0.0, "key": jr.key(0)}
    for sample_weight, n in ((None, 272), (weight, 544)):
        table = gx.select(
            x,
            [1, 2, 3],
            ["tied"],
            8,
            equal_weights=True,
            sample_weight=sample_weight,
            **options,
        )
        for cell in table.cells:
            k, mixture = cell.n_components, cell.solution.mixture
            assert_equal_weights(mixture)
            assert cell.n_parameters == 2 * k + 3
            for criterion, each in (("bic", np.log(n)), ("icl", np.log(n)), ("aic", 2)):
                whole = float(getattr(mixture, criterion)(x, sample_weight))
                got = getattr(cell, criterion)
                np.testing.assert_allclose(got, whole - (k - 1) * each, rtol=1e-9)
        if sample_weight is None:
            _, log_likelihood, _, bic, icl = MCLUST["faithful"]
            best = table.best
            np.testing.assert_allclose(best.log_likelihood, log_likelihood, rtol=1e-8)
            np.testing.assert_allclose(best.bic, bic, rtol=1e-8)
            np.testing.assert_allclose(best.icl, icl, rtol=1e-5)


@pytest.mark.x32
def test_data_that_carries_all_parameters_but_weights():
    spherical = gx.COVARIANCE["spherical"]
    # 20 numbers; 18 parameters, and five weights.
    assert not carries(10, spherical, 6, 2, False)
    assert carries(10, spherical, 6, 2, True)
    x = make_data(10)
    table = gx.select(x, [6, 7], ["spherical"], 2, key=jr.key(0), equal_weights=True)
    assert table["spherical", 6].status != "too_many_parameters"
    assert table["spherical", 7].status == "too_many_parameters"
    assert table["spherical", 7].n_parameters == 21


@pytest.mark.x64
@every_family
def test_derivatives_are_those_of_other_fits(name):
    """By central differences, of clusters whose sizes are far from equal."""
    x, rng = uneven(120, 3), np.random.default_rng(5)
    begin = start(name, x, 3, seed=1)
    solver = gx.EM(tol=1e-15, max_steps=20_000)
    factors = [rng.normal(size=leaf.shape) for leaf in leaves(begin)]
    direction = jnp.asarray(rng.normal(size=x.shape))

    @jax.jit
    def values(x, ridge):
        solution = gx.fit(
            begin, x, reg_covar=ridge, equal_weights=True, solver=solver, throw=False
        )
        parts = zip(jax.tree.leaves(solution.mixture), factors, strict=True)
        return jnp.stack(
            [sum(jnp.sum(a * b) for a, b in parts), solution.log_likelihood]
        )

    ridge = jnp.asarray(0.05)
    size = 1e-5
    by_x = [values(x + sign * size * direction, ridge) for sign in (1, -1)]
    by_ridge = [values(x, ridge + sign * size) for sign in (1, -1)]
    expected = [(high - low) / (2 * size) for high, low in (by_x, by_ridge)]
    of_x, of_ridge = jax.jit(jax.jacrev(values, (0, 1)))(x, ridge)
    reverse = [jnp.tensordot(of_x, direction, 2), of_ridge]
    forward = [
        jax.jvp(values, (x, ridge), tangents)[1]
        for tangents in (
            (direction, jnp.zeros_like(ridge)),
            (jnp.zeros_like(x), jnp.ones_like(ridge)),
        )
    ]
    np.testing.assert_allclose(reverse, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(forward, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.x64
def test_contraction_rate_is_that_of_steps():
    x = uneven()
    run = lambda n: leaves(
        gx.fit(
            start("full", x, 3),
            x,
            equal_weights=True,
            reg_covar=0.0,
            solver=gx.EM(tol=0.0, max_steps=n),
            throw=False,
        ).mixture
    )
    fitted = gx.fit(
        start("full", x, 3),
        x,
        equal_weights=True,
        reg_covar=0.0,
        solver=gx.EM(tol=1e-15, max_steps=20_000),
    )
    n_steps = int(fitted.n_steps) // 2
    first, second, third = (run(n_steps + i) for i in range(3))
    change = lambda a, b: np.sqrt(
        sum(np.sum((one - other) ** 2) for one, other in zip(a, b, strict=True))
    )
    expected = change(second, third) / change(first, second)
    rate = gx.contraction_rate(fitted.mixture, x, reg_covar=0.0, equal_weights=True)
    np.testing.assert_allclose(rate, expected, rtol=0.02)
    free = gx.contraction_rate(fitted.mixture, x, reg_covar=0.0)
    assert abs(free - rate) > 0.01


@pytest.mark.x32
def test_weights_cannot_be_frozen_as_well():
    x = uneven()
    begin = start("full", x, 3)
    options = {"frozen": gx.Frozen(weights=[True, False, False]), "equal_weights": True}
    message = "`Frozen.weights` cannot be given together with `equal_weights`"
    source = gx.extend.InMemory.from_data(x, None, 64)
    for run in (
        lambda: gx.fit(begin, x, **options),
        lambda: gx.fit_restarts(x, 3, key=jr.key(0), frozen_at=begin, **options),
        lambda: gx.fit_batch([x], 3, key=jr.key(0), frozen_at=begin, **options),
        lambda: gx.contraction_rate(begin, x, **options),
        lambda: gx.extend.EMStep.create(
            begin.covariances, source, gx.Ridge(0.0), **options
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run()
