"""Standard errors from the curvature of the likelihood, and the delta method."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import gmmx_eqx as gx

from .helpers import leaves, make_data, old_faithful, start
from .test_priors import log_prior


# Of the weight, the means, and the upper triangles of the covariances, of two full
# components; the larger one first.
SANDWICH = """.029103 .031942 .460848 .028428 .596649 .018847 .252994 4.110829 .0139
    .16818 4.314745"""
INFORMATION = """.029089 .031403 .456186 .027108 .591874 .018872 .210418 3.925144
    .010575 .166002 4.854722"""
TIGHT = {"solver": gx.EM(tol=1e-13, max_steps=5000), "reg_covar": 0.0}


def numbers(text) -> np.ndarray:
    return np.array(text.split(), float)


def in_order(mixture, fit) -> np.ndarray:
    """The numbers of two full components, the larger component of the fit first."""
    order = np.argsort(-fit.weights_numpy)
    covariances = mixture.covariances.values_numpy[order]
    upper = covariances[:, [0, 0, 1], [0, 1, 1]]
    parts = mixture.weights_numpy[order[:1]], mixture.means_numpy[order], upper
    return np.concatenate([part.ravel() for part in parts])


def fit_of_faithful(**options):
    x = old_faithful()
    return gx.fit(start("full", x, 2), x, **{**TIGHT, **options})


@pytest.mark.x64
@pytest.mark.parametrize(
    "method, expected", [("sandwich", SANDWICH), ("information", INFORMATION)]
)
def test_old_faithful(method, expected):
    solution = fit_of_faithful()
    found = gx.standard_errors(solution, old_faithful(), method)
    # To as many digits as are given.
    np.testing.assert_allclose(
        in_order(found.errors, solution.mixture), numbers(expected), atol=1.1e-6
    )


def log_likelihood(x, model, parameters) -> float:
    """Of two components of two features by the three letters of a model, with numbers
    without constraints; in NumPy and SciPy alone."""
    weights, means = weights_of(parameters[0]), parameters[1:5].reshape(2, 2)
    parts = zip(weights, means, matrices(model, parameters[5:]), strict=True)
    joint = [np.log(w) + stats.multivariate_normal(m, c).logpdf(x) for w, m, c in parts]
    return float(np.sum(np.logaddexp.reduce(joint, axis=0)))


def weights_of(logit) -> np.ndarray:
    return np.array([1, np.exp(logit)]) / (1 + np.exp(logit))


def matrices(model, numbers) -> list[np.ndarray]:
    """Volume, logarithm of the ratio of the axes, and angle, of one or both."""
    rest, parts = list(numbers), []
    for letter in model:
        own = [rest.pop(0) for _ in range({"E": 1, "V": 2, "I": 0}[letter])]
        parts.append((own * 2)[:2] or [0.0, 0.0])
    found = []
    for volume, ratio, angle in zip(*parts, strict=True):
        turn = np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        axes = np.exp(volume + np.array([ratio, -ratio]))
        found.append(turn @ np.diag(axes) @ turn.T)
    return found


def parameters_of(model, mixture) -> np.ndarray:
    """The numbers that `log_likelihood` takes."""
    weights, dense = mixture.weights_numpy, np.asarray(mixture.covariances.dense(2))[0]
    values, vectors = np.linalg.eigh(dense)
    volume = 0.5 * np.log(values).sum(axis=1)
    ratio = 0.5 * (np.log(values[:, 1]) - np.log(values[:, 0]))
    angle = np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1])
    if model[1:] == "EI" or model[1:] == "VI":
        ratio, angle = 0.5 * np.log(dense[:, 0, 0] / dense[:, 1, 1]), 0 * angle
    # Axes have no sign, nor an order where each component has one of its own.
    if model[1] == "V" and model[2] == "E":
        turned = np.abs(np.sin(angle - angle[0])) > 0.5
        ratio, angle = np.where(turned, -ratio, ratio), np.full(2, angle[0])
    parts = [np.log(weights[1] / weights[0])], mixture.means_numpy.ravel()
    for letter, own in zip(model, (volume, ratio, angle), strict=True):
        parts += ({"E": own[:1], "V": own, "I": own[:0]}[letter],)
    return np.concatenate(parts)


def second_derivatives(fn, at, step) -> np.ndarray:
    """By central differences."""
    n, eye = len(at), step * np.eye(len(at))
    hessian = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            a, b = eye[i], eye[j]
            corners = fn(at + a + b) - fn(at + a - b) - fn(at - a + b) + fn(at - a - b)
            hessian[i, j] = hessian[j, i] = corners / (4 * step**2)
    return hessian


@pytest.mark.x64
@pytest.mark.parametrize(
    "model", ["VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV"]
)
def test_models_by_finite_differences(model):
    x = make_data(n_clusters=2, seed=3)
    solution = gx.fit(start(model, x, 2), x, **TIGHT)
    found = gx.standard_errors(solution, x).errors
    at = parameters_of(model, solution.mixture)
    assert log_likelihood(x, model, at) == pytest.approx(
        float(solution.log_likelihood), abs=1e-6
    )
    hessian = second_derivatives(lambda p: log_likelihood(x, model, p), at, 1e-3)
    covariance = np.linalg.inv(-hessian)

    def of_mixture(p):
        dense = np.array(matrices(model, p[5:]))
        dense = np.diagonal(dense, axis1=1, axis2=2) if model[2] == "I" else dense
        return np.concatenate([weights_of(p[0]), p[1:5], dense.ravel()])

    step = 1e-5 * np.eye(len(at))
    moves = [(of_mixture(at + h) - of_mixture(at - h)) / 2e-5 for h in step]
    expected = np.sqrt(np.einsum("pi,pq,qi->i", moves, covariance, moves))
    parts = found.weights_numpy, found.means_numpy, found.covariances.values_numpy
    got = np.concatenate([part.ravel() for part in parts])
    # Differences of numbers of 1e3 with steps of 1e-3.
    np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.x64
@pytest.mark.parametrize(
    "name", ["full", "tied", "diag", "spherical", "tied_spherical", "EVE", "VEV"]
)
def test_of_one_component(name):
    """What is known of one Gaussian."""
    x = make_data(n_features=3, n_clusters=1)
    mixture = gx.GaussianMixture.create(1, 3, name)
    solution = gx.fit(mixture, x, **TIGHT)
    errors = gx.standard_errors(solution, x)
    s = np.array(solution.mixture.covariances.dense(3))[0, 0]
    variances = np.diag(s)
    expected = np.sqrt((np.outer(variances, variances) + s**2) / len(x))
    if "spherical" in name:
        expected = variances[0] * np.sqrt(2 / (3 * len(x)))
    elif "diag" in name:
        expected = np.diag(expected)
    values = errors.covariances.values_numpy
    np.testing.assert_allclose(np.squeeze(values), expected, rtol=1e-6)
    of_means = np.sqrt(variances / len(x))
    np.testing.assert_allclose(errors.means_squeezed[0], of_means, rtol=1e-6)
    assert errors.weights_squeezed == 0


@pytest.mark.x64
def test_low_rank_has_as_many_parameters_as_full():
    """One factor of three features leaves nothing out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1)) @ [[1.0, 2.0, 1.5]] + rng.normal(size=(300, 3))
    covariances = gx.LowRank(1).create(1, 3)
    mixture = gx.GaussianMixture(
        jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 3, 1)), covariances
    )
    solver = gx.SQUAREM(tol=1e-13, max_steps=20000)
    errors = gx.standard_errors(gx.fit(mixture, x, solver=solver, reg_covar=0.0), x)
    dense = gx.delta_method(lambda m: m.covariances.dense(3), errors)
    s = np.cov(x.T, bias=True)
    expected = np.sqrt((np.outer(np.diag(s), np.diag(s)) + s**2) / len(x))
    np.testing.assert_allclose(dense.standard_error[0, 0], expected, rtol=1e-4)


@pytest.mark.x64
def test_with_a_prior_by_finite_differences():
    """The log-likelihood and the log-prior by SciPy. In the sandwich the prior is a
    part of every sample's score."""
    x = make_data(n_samples=60, n_clusters=2, seed=3)
    own = gx.Prior.from_data(x, shrinkage=3.0).components
    prior = gx.Prior(gx.Dirichlet(4.0), own)
    solution = gx.fit(start("full", x, 2), x, prior=prior, solver=TIGHT["solver"])

    def mixture_of(p):
        weights, means = weights_of(p[0]), p[1:5].reshape(2, 2)
        return weights, means, np.array(matrices("VVV", p[5:]))

    def objective(p):
        weights, means, dense = mixture_of(p)
        mixture = gx.GaussianMixture.from_squeezed(means, dense, weights)
        return log_likelihood(x, "VVV", p) + log_prior(prior, mixture)

    at, eye = parameters_of("VVV", solution.mixture), np.eye(11)
    assert objective(at) == pytest.approx(float(solution.objective), abs=1e-6)
    bread = np.linalg.inv(-second_derivatives(objective, at, 1e-3))
    each = lambda p: np.array([log_likelihood(row[None], "VVV", p) for row in x])
    scores = np.array([(each(at + h) - each(at - h)) / 2e-5 for h in 1e-5 * eye])
    meat = np.cov(scores, bias=True) * len(x)
    flat = lambda p: np.concatenate([part.ravel() for part in mixture_of(p)])
    moves = np.array([(flat(at + h) - flat(at - h)) / 2e-5 for h in 1e-5 * eye])
    for method, covariance in (
        ("information", bread),
        ("sandwich", bread @ meat @ bread),
    ):
        found = gx.standard_errors(solution, x, method, prior=prior).errors
        expected = np.sqrt(np.einsum("pi,pq,qi->i", moves, covariance, moves))
        parts = found.weights_numpy, found.means_numpy, found.covariances.values_numpy
        got = np.concatenate([part.ravel() for part in parts])
        # Differences of numbers of 1e2 with steps of 1e-3.
        np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.x64
def test_a_prior_of_the_weights_alone():
    """Of components far apart, weights are shares of a Dirichlet distribution's
    counts."""
    counts, alpha = np.array([5, 15, 40]), 3.5
    x = np.repeat([[0.0], [1e3], [2e3]], counts, axis=0)
    mixture = gx.GaussianMixture.from_squeezed(
        [[0.0], [1e3], [2e3]], np.ones((3, 1, 1)), [0.3, 0.3, 0.4]
    )
    options = {
        "prior": gx.Prior(gx.Dirichlet(alpha)),
        "frozen": gx.Frozen(means=True, covariances=True),
    }
    solution = gx.fit(mixture, x, **TIGHT, **options)
    errors = gx.standard_errors(solution, x, **options)
    total = counts.sum() + 3 * (alpha - 1)
    shares = (counts + alpha - 1) / total
    np.testing.assert_allclose(solution.mixture.weights_numpy, shares, rtol=1e-9)
    expected = np.sqrt(shares * (1 - shares) / total)
    np.testing.assert_allclose(errors.weights_squeezed, expected, rtol=1e-9)
    # What the samples alone vary.
    robust = gx.standard_errors(solution, x, "sandwich", **options)
    varying = counts / counts.sum()
    expected = np.sqrt(counts.sum() * varying * (1 - varying)) / total
    np.testing.assert_allclose(robust.weights_squeezed, expected, rtol=1e-9)


@pytest.mark.x64
def test_an_adjusted_sandwich():
    """Of the mean of few samples, of which two parameters are estimated."""
    x = make_data(n_samples=9, n_features=1, n_clusters=1)
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x, **TIGHT)
    for weight in (np.ones(9), np.arange(9.0)):
        solution = gx.fit(solution.mixture, x, sample_weight=weight, **TIGHT)
        options = {"adjust": True, "sample_weight": weight}
        errors = gx.standard_errors(solution, x, "sandwich", **options)
        n = weight.sum()
        deviation = np.sqrt(np.cov(x[:, 0], aweights=weight, bias=True))
        expected = deviation / np.sqrt(n - 2)
        np.testing.assert_allclose(errors.means_squeezed[0, 0], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="`adjust` needs more samples than the 2 free"):
        few = {"adjust": True, "sample_weight": weight / 20}
        solution = gx.fit(solution.mixture, x, sample_weight=weight / 20, **TIGHT)
        gx.standard_errors(solution, x, "sandwich", **few)
    with pytest.raises(ValueError, match="`adjust` is of `method=.sandwich.` alone"):
        gx.standard_errors(solution, x, adjust=True)


@pytest.mark.x64
def test_a_weight_of_two_is_two_samples():
    x = old_faithful()
    weight = np.random.default_rng(0).integers(0, 3, len(x))
    solution = fit_of_faithful(sample_weight=weight)
    for method in ("information", "sandwich"):
        weighted = gx.standard_errors(solution, x, method, sample_weight=weight)
        repeated = gx.standard_errors(solution, np.repeat(x, weight, axis=0), method)
        pairs = zip(leaves(weighted.errors), leaves(repeated.errors), strict=True)
        for got, want in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-9)


@pytest.mark.x64
def test_what_is_frozen_or_equal_is_sure():
    x, first = old_faithful(), start("full", old_faithful(), 2)
    frozen = gx.Frozen(means=[True, False], covariances=[False, True])
    solution = gx.fit(first, x, frozen=frozen, **TIGHT)
    errors = gx.standard_errors(solution, x, frozen=frozen)
    assert errors.covariance.shape == (6, 6)
    assert np.all(errors.means_squeezed[0] == 0)
    assert np.all(errors.means_squeezed[1] > 0)
    values = errors.covariances.values_squeezed
    assert np.all(values[1] == 0) and np.all(values[0] > 0)
    # Nobody would say that all is free, at what is then no maximum.
    with pytest.raises(ValueError, match="not at the maximum.*frozen or equal"):
        gx.standard_errors(solution, x)
    solution = gx.fit(first, x, equal_weights=True, **TIGHT)
    errors = gx.standard_errors(solution, x, equal_weights=True)
    assert errors.covariance.shape == (10, 10)
    assert np.all(errors.weights == 0)


@pytest.mark.x64
def test_delta_method():
    """Of a linear function in closed form, and of the weights themselves."""
    x = make_data(n_clusters=1)
    solution = gx.fit(gx.GaussianMixture.create(1, 2), x, **TIGHT)
    errors = gx.standard_errors(solution, x)
    found = gx.delta_method(lambda m: {"sum": jnp.sum(m.means), "all": m}, errors)
    expected = np.sqrt(np.sum(np.cov(x.T, bias=True)) / len(x))
    np.testing.assert_allclose(found.standard_error["sum"], expected, rtol=1e-6)
    np.testing.assert_allclose(found.standard_error["all"].means, errors.means)
    lower, upper = found.interval(0.9)
    width = stats.norm.ppf(0.95) * expected
    np.testing.assert_allclose(upper["sum"] - lower["sum"], 2 * width, rtol=1e-6)
    with pytest.raises(ValueError, match="`fn` must return floating-point numbers"):
        gx.delta_method(lambda m: m.predict(x), errors)


@pytest.mark.x64
def test_mapped_over_data():
    """A lane that fails is NaN alone."""
    x = jnp.asarray(old_faithful())
    first = start("full", x, 2)

    @jax.jit
    @jax.vmap
    def errors_of(weight):
        solution = gx.fit(first, x, sample_weight=weight, throw=False)
        return gx.standard_errors(solution, x, sample_weight=weight).errors

    weights = jnp.ones((2, len(x))).at[1, 0].set(jnp.nan)
    found = errors_of(weights)
    assert np.isfinite(found.means[0]).all() and np.isnan(found.means[1]).all()
    own = gx.standard_errors(gx.fit(first, x), x).errors
    np.testing.assert_allclose(found.means[0], own.means, rtol=1e-6)


@pytest.mark.x32
def test_what_cannot_be_asked():
    x = old_faithful().astype(np.float32)
    first = start("full", x, 2)
    stopped = gx.fit(first, x, solver=gx.EM(max_steps=1), throw=False)
    with pytest.raises(ValueError, match="has not converged.*max_steps_reached"):
        gx.standard_errors(stopped, x)
    solution = gx.fit(first, x)
    with pytest.raises(ValueError, match="10 samples, fewer than the 11 free"):
        gx.standard_errors(solution, x[:10])
    with pytest.raises(ValueError, match="`method` must be one of"):
        gx.standard_errors(solution, x, "hessian")
    with pytest.raises(ValueError, match="`solution` must be"):
        gx.standard_errors(solution.mixture, x)  # pyright: ignore[reportArgumentType]
    prior = gx.Prior.from_data(x)
    with pytest.raises(
        ValueError, match="`prior` was given, but `solution` was fitted"
    ):
        gx.standard_errors(solution, x, prior=prior)
    with pytest.raises(ValueError, match="was fitted with a prior.*Give the same one"):
        gx.standard_errors(gx.fit(first, x, prior=prior), x)
    # A third component that has closed in on one sample and rests on the ridge.
    spike = gx.GaussianMixture.from_squeezed(
        [*solution.mixture.means_numpy, x[7]],
        [*solution.mixture.covariances.values_numpy, 1e-5 * np.cov(x.T)],
        [0.6, 0.39, 0.01],
    )
    collapsed = gx.fit(spike, x, throw=False)
    assert collapsed.status == "successful"
    with pytest.raises(ValueError, match="boundary.*component 2 has"):
        gx.standard_errors(collapsed, x)
    # Two components that are the same.
    twice = gx.GaussianMixture.from_squeezed(
        [*solution.mixture.means_numpy, solution.mixture.means_numpy[0]],
        solution.mixture.covariances.values_numpy[[0, 1, 0]],
        [0.3, 0.4, 0.3],
    )
    with pytest.raises(ValueError, match="singular information.*component [02]"):
        gx.standard_errors(gx.fit(twice, x), x)


@pytest.mark.x32
def test_printing():
    x = jr.normal(jr.key(0), (100, 1))
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x)
    text = repr(gx.standard_errors(solution, x))
    assert "2 free parameters" in text and " ± 0.09" in text
