"""A mixture in NumPyro, against NumPyro's own mixtures and Bayes' rule."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.module import eqx_module
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.util import log_density

import gmmx_eqx as gx
from gmmx_eqx.interop.numpyro import from_numpyro, MixtureDistribution, to_numpyro

from .helpers import every_family, leaves, make_mixture


pytestmark = pytest.mark.usefixtures("standard_promotion")


def make_ensemble(shape=(3,)):
    members = [make_mixture("diag", seed=seed) for seed in range(np.prod(shape))]
    stacked = gx.stack(members)
    lift = lambda leaf: leaf.reshape(*shape, *leaf.shape[1:])
    return jax.tree.map(lift, stacked), members


@pytest.mark.x64
@every_family
def test_agrees_with_numpyros_own(name, dtype):
    mixture = make_mixture(name, 3, 2)
    ours, theirs = MixtureDistribution(mixture), to_numpyro(mixture)
    assert ours.event_shape == theirs.event_shape == (2,)
    assert ours.batch_shape == theirs.batch_shape == ()
    x = 4 * np.random.default_rng(0).normal(size=(2, 3, 2)).astype(dtype)

    @jax.jit
    def densities(x):
        return [ours.log_prob(x) for x in (x, x[0], x[0, 1])], theirs.log_prob(x)

    logs, expected = densities(x)
    moments = jax.jit(lambda ds: [(d.mean, d.variance) for d in ds])((ours, theirs))
    rtol = 100 * float(np.finfo(dtype).eps)
    for got, want in zip(logs, (expected, expected[0], expected[0, 1]), strict=True):
        assert got.dtype == dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol)
    for got, want in zip(*moments, strict=True):
        np.testing.assert_allclose(got, want, rtol)


@pytest.mark.x64
@every_family
def test_back_from_numpyro(name, dtype):
    mixture = make_mixture(name, 3, 2)
    back = from_numpyro(to_numpyro(mixture))
    rtol = 10 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(back.weights, mixture.weights, rtol)
    np.testing.assert_array_equal(back.means, mixture.means)
    # Of spherical values no matrix is made without the number of features.
    x = np.eye(2, dtype=dtype)
    np.testing.assert_allclose(back.log_prob(x), mixture.log_prob(x), 10 * rtol)


@pytest.mark.x32
def test_from_parts_that_are_shared():
    """Logits for weights, and one mean or one covariance for all components."""
    logits, loc = jnp.array([0.0, 1.0, -1.0]), jnp.array([[0.0, 1], [1, 2], [3, -1]])
    theirs = dist.MixtureSameFamily(
        dist.Categorical(logits=logits), dist.MultivariateNormal(loc, jnp.eye(2) / 2)
    )
    x = jnp.array([[0.5, 1.0], [3.0, -2.0]])
    expected = jax.jit(theirs.log_prob)(x)
    np.testing.assert_allclose(from_numpyro(theirs).log_prob(x), expected, 1e-5)


@pytest.mark.x32
@pytest.mark.parametrize(
    "distribution",
    [
        dist.Normal(0.0, 1.0),
        dist.MixtureSameFamily(
            dist.Categorical(jnp.ones(2) / 2), dist.Normal(jnp.zeros(2), 1.0)
        ),
        dist.MixtureSameFamily(
            dist.Categorical(jnp.ones(2) / 2),
            dist.MultivariateNormal(jnp.zeros((3, 2, 1)), jnp.eye(1)),
        ),
    ],
    ids=["no mixture", "other components", "batch"],
)
def test_what_is_no_mixture_of_gaussians_is_refused(distribution):
    with pytest.raises(ValueError, match="one `MixtureSameFamily`"):
        from_numpyro(distribution)


@pytest.mark.x32
@pytest.mark.parametrize(
    "thing", [None, "mixture", np.eye(2), gx.GaussianMixture], ids=str
)
def test_what_is_no_mixture_is_refused_in_words(thing):
    # Beneath the check of types, which users do not have.
    plain = MixtureDistribution.__init__
    plain = getattr(plain, "__wrapped__", plain)
    made = MixtureDistribution.__new__(MixtureDistribution)
    with pytest.raises(ValueError, match="`mixture` must be a mixture"):
        plain(made, thing)
    for convert in (to_numpyro, from_numpyro):
        plain = getattr(convert, "__wrapped__", convert)
        with pytest.raises(ValueError, match="`(mixture|distribution)` must be"):
            plain(thing)


@pytest.mark.x64
def test_moments_of_samples(getkey):
    mixture = make_mixture("full", 3, 2)
    n_samples = 20_000
    samples = MixtureDistribution(mixture).sample(getkey(), (2, n_samples // 2))
    assert samples.shape == (2, n_samples // 2, 2)
    x = np.asarray(samples).reshape(-1, 2)
    error = 6 * x.std(axis=0) / n_samples**0.5
    assert np.all(np.abs(x.mean(axis=0) - gx.mean(mixture)) < error)
    squares = (x - x.mean(axis=0)) ** 2
    error = 6 * squares.std(axis=0) / n_samples**0.5
    exact = np.diagonal(gx.covariance(mixture))
    assert np.all(np.abs(squares.mean(axis=0) - exact) < error)


@pytest.mark.x32
def test_an_ensemble_is_a_batch(getkey):
    ensemble, members = make_ensemble(shape=(3, 1))
    distribution = MixtureDistribution(ensemble)
    assert distribution.batch_shape == (3, 1)
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 2)).astype(np.float32)
    got, of_one, *moments = jax.jit(
        lambda d: (d.log_prob(x), d.log_prob(x[0, 0, 0]), d.mean, d.variance)
    )(distribution)
    assert got.shape == (4, 3, 5)
    for k, member in enumerate(members):
        expected = member.log_prob(x[:, k].reshape(-1, 2)).reshape(4, 5)
        np.testing.assert_allclose(got[:, k], expected, 1e-5)
    # A single point, of every mixture.
    expected = [[member.log_prob(x[0, 0, :1])[0]] for member in members]
    np.testing.assert_allclose(of_one, expected, 1e-5)

    expected = np.array([gx.mean(member) for member in members])[:, None]
    np.testing.assert_allclose(moments[0], expected, 1e-5, 1e-5)
    variances = np.array([np.diagonal(gx.covariance(m)) for m in members])[:, None]
    np.testing.assert_allclose(moments[1], variances, 1e-5)
    samples = distribution.sample(getkey(), (4000,))
    assert samples.shape == (4000, 3, 1, 2)
    error = 6 * np.sqrt(variances / 4000)
    assert np.all(np.abs(samples.mean(axis=0) - expected) < error)


@pytest.mark.x32
def test_is_a_pytree():
    mixture = make_mixture("full")
    x = np.ones((4, 2), np.float32)
    distribution = MixtureDistribution(mixture)
    score = lambda distribution: distribution.log_prob(x).sum()
    got = jax.jit(jax.grad(score))(distribution)
    assert isinstance(got, MixtureDistribution)
    expected = jax.grad(lambda mixture: mixture.log_prob(x).sum())(mixture)
    for one, other in zip(leaves(got.mixture), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-5)
    # What `vmap` puts together has a batch shape.
    make = lambda shift: MixtureDistribution(
        eqx.tree_at(lambda m: m.means, mixture, mixture.means + shift)
    )
    many = jax.vmap(make)(jnp.arange(5.0))
    assert many.batch_shape == (5,)
    np.testing.assert_allclose(
        many.log_prob(x[0] + jnp.arange(5.0)[:, None]),
        distribution.log_prob(x)[0],
        1e-4,
    )


@pytest.mark.x32
def test_in_plates(getkey):
    """A mixture for each of three groups, and one for all."""
    ensemble, members = make_ensemble()
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)

    def model(own, shared):
        with numpyro.plate("groups", 3, dim=-1), numpyro.plate("samples", 4, dim=-2):
            numpyro.sample("own", MixtureDistribution(ensemble), obs=own)
            numpyro.sample("shared", MixtureDistribution(members[0]), obs=shared)

    total, _ = log_density(model, (x, x), {}, {})
    expected = sum(
        float(mixture.log_prob(x[:, k]).sum())
        for k in range(3)
        for mixture in (members[k], members[0])
    )
    np.testing.assert_allclose(total, expected, 1e-5)
    seeded = handlers.seed(model, getkey())
    sites = handlers.trace(seeded).get_trace(None, None)
    assert sites["own"]["value"].shape == sites["shared"]["value"].shape == (4, 3, 2)


@pytest.mark.x64
def test_parameters_of_numpyro():
    """The gradient through a mixture that a model builds, in all of its parameters."""
    mixture = make_mixture("diag")
    x = np.random.default_rng(0).normal(size=(6, 2))

    def model(x):
        parameters = [
            numpyro.param("means", jnp.zeros((3, 2))),
            numpyro.param("variances", jnp.ones((3, 2))),
            numpyro.param("weights", jnp.ones(3) / 3),
        ]
        built = gx.GaussianMixture.from_squeezed(*parameters, "diag")
        with numpyro.plate("samples", len(x)):
            numpyro.sample("x", MixtureDistribution(built), obs=x)

    values = {
        "means": mixture.means[0, :, :, 0],
        "variances": mixture.covariances.values[0, :, :, 0],
        "weights": mixture.weights[0, :, 0, 0],
    }
    got = jax.grad(lambda values: log_density(model, (x,), {}, values)[0])(values)
    exact = jax.grad(lambda mixture: mixture.log_prob(x).sum())(mixture)
    np.testing.assert_allclose(got["means"], exact.means[0, :, :, 0], 1e-9)
    np.testing.assert_allclose(got["weights"], exact.weights[0, :, 0, 0], 1e-9)
    expected = exact.covariances.values[0, :, :, 0]
    np.testing.assert_allclose(got["variances"], expected, 1e-9)


@pytest.mark.x32
def test_learnt_by_svi(getkey):
    start = gx.UnconstrainedMixture.from_mixture(make_mixture("diag"))
    x = make_mixture("full", seed=1).sample(getkey(), 100)

    def model(x):
        mixture = eqx_module("mixture", start)
        with numpyro.plate("samples", len(x)):
            numpyro.sample("x", MixtureDistribution(mixture), obs=x)

    svi = SVI(model, lambda x: None, numpyro.optim.Adam(3e-2), Trace_ELBO())
    result = svi.run(getkey(), 40, x, progress_bar=False)
    losses = np.asarray(result.losses)
    np.testing.assert_allclose(losses[0], -start.log_prob(x).sum(), 1e-5)
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0] - 10


@pytest.mark.x32
def test_posterior_by_nuts(getkey):
    prior = make_mixture("full", 2, 2)
    prior = eqx.tree_at(lambda m: m.means, prior, 0.3 * prior.means)
    matrix, noise, y = np.float32([[1.0, -0.5]]), np.float32(0.25), np.float32([0.7])

    def model(y):
        x = numpyro.sample("x", MixtureDistribution(prior))
        numpyro.sample("y", dist.Normal(matrix @ x, noise**0.5).to_event(1), obs=y)

    mcmc = MCMC(NUTS(model), num_warmup=300, num_samples=1500, progress_bar=False)
    mcmc.run(getkey(), y)
    chain = np.asarray(mcmc.get_samples()["x"], np.float64)
    exact, _ = gx.observe(prior, matrix, noise, y)
    mean, covariance = np.asarray(gx.mean(exact)), np.asarray(gx.covariance(exact))
    centred = chain - mean
    moments = np.stack(
        [*centred.T, *centred.T**2, centred[:, 0] * centred[:, 1]], axis=1
    )
    expected = [0, 0, *np.diagonal(covariance), covariance[0, 1]]
    error = moments.std(axis=0) / np.sqrt(effective_sample_size(moments[None]))
    assert np.all(error < 0.2 * np.sqrt(covariance.trace()))
    assert np.all(np.abs(moments.mean(axis=0) - expected) < 5 * error)


@pytest.mark.x32
def test_points_of_the_wrong_size():
    distribution = MixtureDistribution(make_mixture("full"))
    for shape in ((3,), (2, 1), ()):
        with pytest.raises(ValueError, match=r"`value` must have shape \(\.\.\., 2\)"):
            distribution.log_prob(np.ones(shape))


@pytest.mark.x32
def test_samples_have_no_derivative_in_the_weights():
    """So that NumPyro takes the score function's where it can."""
    assert not MixtureDistribution(make_mixture("full")).has_rsample


@pytest.mark.x32
def test_without_numpyro(monkeypatch):
    monkeypatch.delitem(sys.modules, "gmmx_eqx.interop.numpyro")
    monkeypatch.setitem(sys.modules, "numpyro.distributions", None)
    with pytest.raises(ImportError, match=r'pip install "gmmx_eqx\[numpyro\]"'):
        import gmmx_eqx.interop.numpyro  # noqa: F401
