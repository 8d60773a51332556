"""Variational posteriors beside closed forms and scikit-learn."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special
import sklearn.mixture

import gmmx_eqx as gx

from .helpers import make_data, make_mixture, old_faithful, start
from .test_priors import random_prior


FAMILIES = ("full", "tied", "diag", "spherical", "tied_diag", "tied_spherical")


def log_evidence(x, prior: gx.NormalInverseWishart) -> float:
    """Of one Gaussian of any covariance. Murphy (2007), eq. 266."""
    n, d = x.shape
    kappa, nu = float(prior.shrinkage), float(prior.degrees_of_freedom)
    mean, scale = np.asarray(prior.mean), np.asarray(prior.scale)
    centre = x.mean(0)
    scatter = (x - centre).T @ (x - centre)
    gap = kappa * n / (kappa + n) * np.outer(centre - mean, centre - mean)
    log_det = lambda matrix: np.linalg.slogdet(matrix)[1]
    return (
        -n * d / 2 * np.log(np.pi)
        + scipy.special.multigammaln((nu + n) / 2, d)
        - scipy.special.multigammaln(nu / 2, d)
        + nu / 2 * log_det(scale)
        - (nu + n) / 2 * log_det(scale + scatter + gap)
        + d / 2 * np.log(kappa / (kappa + n))
    )


@pytest.mark.x64
def test_of_one_component_the_bound_is_the_evidence():
    x, prior = make_data(40), random_prior(1)
    prior = gx.Prior(components=prior.components)
    own, new = prior.components, np.array([[1.0, -2.0]])
    posterior = gx.fit_variational(start("full", x, 1), x, prior)
    known = log_evidence(x, own)
    np.testing.assert_allclose(posterior.bound, known, rtol=1e-9)
    # The predictive density is a ratio of evidences.
    ratio = log_evidence(np.concatenate([x, new]), own) - known
    np.testing.assert_allclose(posterior.log_prob(new), ratio, rtol=1e-9)
    # By its own definition: the mean density over the posterior.
    draws = jax.vmap(posterior.sample)(jr.split(jr.key(0), 20000))
    density = jax.vmap(lambda mixture: mixture.log_prob(new))(draws)
    np.testing.assert_allclose(np.exp(density).mean(), np.exp(ratio), rtol=0.05)


@pytest.mark.x64
@pytest.mark.parametrize("name", FAMILIES)
def test_the_bound_never_falls_and_predicts(name):
    x, new = make_data(40), np.array([[1.0, -2.0]])
    prior = gx.Prior(components=random_prior(2).components)
    one = start(name, x, 1)
    alone = gx.fit_variational(one, x, prior)
    both = gx.fit_variational(one, np.concatenate([x, new]), prior)
    # Exact for one component, of any family.
    np.testing.assert_allclose(alone.log_prob(new), both.bound - alone.bound, rtol=1e-8)
    begin = start(name, x, 4)
    for weights in (gx.Dirichlet(0.3), gx.StickBreaking(0.7)):
        posterior = gx.fit_variational(begin, x, prior, weights=weights)
        assert posterior.converged
        bounds = np.asarray(posterior.bounds)[: int(posterior.n_steps)]
        assert np.all(np.diff(bounds) > -1e-10 * np.abs(bounds).max())
        assert posterior.bound == bounds[-1]
        np.testing.assert_allclose(posterior.mixture.weights.sum(), 1, rtol=1e-12)
        drawn = posterior.sample(jr.key(1))
        np.testing.assert_allclose(drawn.weights.sum(), 1, rtol=1e-12)
        assert np.isfinite(drawn.log_prob(new)).all()


@pytest.mark.x64
@pytest.mark.parametrize("name", FAMILIES)
def test_the_bound_never_falls_in_random_cases(name):
    """For random data, starts and priors. With 84 cases, a thousand of all families and
    weights, it never falls either."""
    cases = range(16)
    xs = jnp.asarray([make_data(24, 2, 2, seed) for seed in cases])
    starts = gx.stack([make_mixture(name, 3, 2, seed) for seed in cases])
    priors = [random_prior(seed).components for seed in cases]
    priors = jax.tree.map(lambda *own: jnp.stack(own), *priors)
    strengths = jnp.asarray(np.exp(np.random.default_rng(0).normal(size=len(cases))))
    for make in (gx.Dirichlet, gx.StickBreaking):

        @eqx.filter_jit
        @eqx.filter_vmap
        def fit(begin, x, components, strength, make=make):
            prior, weights = gx.Prior(components=components), make(strength)
            return gx.fit_variational(begin, x, prior, weights=weights, throw=False)

        posteriors = fit(starts, xs, priors, strengths)
        for bounds, n_steps in zip(posteriors.bounds, posteriors.n_steps, strict=True):
            taken = np.asarray(bounds)[: int(n_steps)]
            assert np.isfinite(taken).all()
            assert np.all(np.diff(taken) > -1e-10 * np.abs(taken).max())


@pytest.mark.x64
def test_samples_have_the_moments_of_the_posterior():
    x, prior = make_data(60), gx.Prior.like_sklearn(make_data(60))
    for name in FAMILIES[:4]:
        posterior = gx.fit_variational(start(name, x, 2), x, prior)
        draws = jax.vmap(posterior.sample)(jr.split(jr.key(0), 4000))
        dense = jax.vmap(lambda mixture: mixture.covariances.dense(2))(draws)
        precisions = np.linalg.inv(np.asarray(dense)).mean(0)
        expected = np.linalg.inv(posterior.covariances.dense(2))
        np.testing.assert_allclose(
            precisions, expected, rtol=0.1, atol=0.02 * np.abs(expected).max()
        )
        np.testing.assert_allclose(
            np.asarray(draws.means).mean(0), posterior.means, atol=0.05
        )
        np.testing.assert_allclose(
            np.asarray(draws.weights).mean(0), posterior.weights.mean, atol=0.02
        )


@pytest.mark.x64
@pytest.mark.parametrize("kind", ["dirichlet_distribution", "dirichlet_process"])
def test_of_scikit_learn(kind):
    """The same posterior after the same steps, and the same bound but for constants."""
    x, k = old_faithful(), 4
    make = gx.Dirichlet if kind == "dirichlet_distribution" else gx.StickBreaking
    prior = gx.Prior.like_sklearn(x)
    gaps = []
    for seed, n_steps in ((0, 7), (1, 5000)):
        begin = start("full", x, k, seed)
        posterior = gx.fit_variational(
            begin,
            x,
            prior,
            weights=make(0.5),
            tol=1e-14,
            max_steps=n_steps,
            throw=False,
        )
        n_steps = min(n_steps, int(posterior.n_steps))
        theirs = sklearn.mixture.BayesianGaussianMixture(
            n_components=k,
            weight_concentration_prior_type=kind,
            weight_concentration_prior=0.5,
            reg_covar=0,
        )
        theirs._check_parameters(x)
        theirs._initialize(x, np.asarray(begin.predict_proba(x)))
        norm, resp = theirs._e_step(x)
        for _ in range(n_steps - 1):
            theirs._m_step(x, resp)
            norm, resp = theirs._e_step(x)
        theirs._set_parameters(theirs._get_parameters())
        mixture = posterior.mixture
        for got, want in (
            (mixture.weights_numpy, theirs.weights_),
            (mixture.means_numpy, theirs.means_),
            (mixture.covariances.values_numpy, theirs.covariances_),
            (posterior.shrinkage.ravel(), theirs.mean_precision_),
            (posterior.degrees_of_freedom.ravel(), theirs.degrees_of_freedom_),
        ):
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)
        if posterior.converged:
            gaps.append(posterior.bound - theirs._compute_lower_bound(resp, norm))
    assert gaps
    # What it leaves out does not depend on where the fit began.
    other = gx.fit_variational(
        start("full", x, k, 5), x, prior, weights=make(0.5), tol=1e-14, max_steps=5000
    )
    theirs._initialize(x, np.asarray(other.mixture.predict_proba(x)))
    for _ in range(1000):
        norm, resp = theirs._e_step(x)
        theirs._m_step(x, resp)
    gaps.append(other.bound - theirs._compute_lower_bound(resp, norm))
    np.testing.assert_allclose(gaps[0], gaps[-1], rtol=1e-6)


@pytest.mark.x32
def test_weights_count_samples_and_blocks_of_memory_change_nothing():
    x = make_data(60)
    weight = np.random.default_rng(0).integers(0, 3, size=60)
    prior = gx.Prior.from_data(x)
    begin = start("diag", x, 3)
    repeated = gx.fit_variational(begin, np.repeat(x, weight, axis=0), prior)
    weighted = gx.fit_variational(
        begin, x, prior, sample_weight=weight, samples_per_chunk=16
    )
    np.testing.assert_allclose(weighted.bound, repeated.bound, rtol=1e-5)
    np.testing.assert_allclose(
        weighted.log_prob(x[:5]), repeated.log_prob(x[:5]), rtol=1e-3
    )


@pytest.mark.x32
def test_what_cannot_be_a_variational_fit():
    x = make_data(60)
    begin, prior = start("full", x, 2), gx.Prior.like_sklearn(x)
    run = lambda mixture=begin, prior=prior, **options: gx.fit_variational(
        mixture, x, prior, **options
    )
    cases = {
        "`mixture` is of the family 'VEV'": lambda: run(start("VEV", x, 2)),
        "`prior` must have `components`": lambda: run(prior=gx.Prior()),
        "`prior` must be a `Prior`": lambda: run(prior=gx.Dirichlet(1.0)),
        "`weights` must be a `Dirichlet`": lambda: run(weights=2.0),
        "`weights` and `prior.weights`": lambda: run(
            prior=gx.Prior(gx.Dirichlet(1.0), prior.components),
            weights=gx.Dirichlet(1.0),
        ),
        "`prior.drop_below`": lambda: run(
            prior=gx.Prior.like_sklearn(x, drop_below=1.0)
        ),
        "`max_steps` must be at least one": lambda: run(max_steps=0),
        "`prior` is of 3 features": lambda: run(
            prior=gx.Prior.like_sklearn(make_data(60, 3))
        ),
        "`sample_weight` must count": lambda: run(sample_weight=np.full(60, 1e-30)),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(gx.FitError, match="max_steps") as caught:
        run(max_steps=1, tol=1e-9)
    assert isinstance(caught.value.solution, gx.Posterior)
    assert jnp.isfinite(caught.value.solution.bound)
