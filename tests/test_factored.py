"""Covariances held as Cholesky factors: the digits they keep, and that everything takes
them."""

import copy

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import scipy.linalg

import gmmx_eqx as gx
from gmmx_eqx._core.triangular import inverse_lower, solve_lower

from .helpers import every_family, leaves, make_data, make_mixture


SQUARE = ("full", "tied")


def eps(dtype) -> float:
    return float(jnp.finfo(dtype).eps)


def as_factored(name, mixture):
    """The same mixture from factors."""
    values = np.float64(mixture.covariances.values_numpy)
    factors = np.linalg.cholesky(values) if name in SQUARE else np.sqrt(values)
    cast = lambda array: jnp.asarray(array, mixture.means.dtype)
    return gx.GaussianMixture.from_cholesky(
        mixture.means_numpy, cast(factors), mixture.weights_numpy, name
    )


def nearly_singular(rng, d, smallest, dtype):
    """A factor whose last diagonal element is small beside its row."""
    lower = np.tril(rng.normal(size=(d, d)))
    lower[np.arange(d), np.arange(d)] = np.exp(0.3 * rng.normal(size=d))
    lower[-1, -1] = smallest
    return lower.astype(dtype)


@pytest.mark.parametrize("d", (1, 3, 8, 9, 20, 70))
def test_equations_against_scipy(d, dtype):
    """As accurate as forward substitution by LAPACK, near to singular too."""
    rng = np.random.default_rng(d)
    ours, theirs = [], []
    for trial in range(20):
        lower = nearly_singular(rng, d, 10.0 ** -(trial % 4), dtype)
        b = rng.normal(size=(d, 5)).astype(dtype)
        exact = scipy.linalg.solve_triangular(
            lower.astype(np.longdouble).astype(float), b.astype(float), lower=True
        )
        # A residual that is small beside |L| |x|, as backward stability means.
        got = np.float64(solve_lower(jnp.asarray(lower), jnp.asarray(b)))
        scale = np.abs(lower.astype(float)) @ np.abs(got)
        residual = np.abs(lower.astype(float) @ got - b) / scale
        assert np.max(residual) <= 4 * (d + 4) * eps(dtype)
        reference = scipy.linalg.solve_triangular(lower, b, lower=True)
        size = np.max(np.abs(exact))
        ours.append(np.max(np.abs(got - exact)) / size)
        theirs.append(np.max(np.abs(reference - exact)) / size)
    if dtype == np.float32:
        assert np.median(ours) <= 4 * np.median(theirs) + 4 * eps(dtype)
    # Numbers above the diagonal do not count.
    full = jnp.asarray(lower + np.triu(np.ones_like(lower), 1))
    np.testing.assert_array_equal(
        solve_lower(full, jnp.asarray(b)), solve_lower(jnp.tril(full), jnp.asarray(b))
    )


@pytest.mark.x64
@pytest.mark.parametrize("d", (3, 12))
def test_derivatives_of_equations(d):
    rng = np.random.default_rng(0)
    # Small beside the diagonal: differences of differences need the digits.
    lower = np.tril(rng.normal(size=(d, d))) / d
    lower = jnp.asarray(lower + np.eye(d))
    b = jnp.asarray(rng.normal(size=(d, 4)))
    fn = lambda lower, b: jnp.sum(jnp.sin(solve_lower(lower, b)))
    plain = lambda lower, b: jnp.sum(
        jnp.sin(jax.scipy.linalg.solve_triangular(lower, b, lower=True))
    )
    for got, want in zip(
        jax.jit(jax.grad(fn, (0, 1)))(lower, b),
        jax.grad(plain, (0, 1))(lower, b),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, 1e-9, 1e-9)
    # And of derivatives, and over lanes.
    along = lambda t: jnp.sum(jax.grad(fn)(lower + t * jnp.eye(d), b) ** 2)
    step = 1e-5
    expected = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(along)(0.0), expected, 1e-5)
    lanes = jnp.stack([lower, 2 * lower])
    np.testing.assert_allclose(
        jax.vmap(solve_lower, (0, None))(lanes, b)[1], solve_lower(2 * lower, b), 1e-9
    )
    np.testing.assert_allclose(inverse_lower(lower) @ lower, np.eye(d), 0, 1e-9)


# Much to compile: one of the two in each world.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("full", marks=pytest.mark.x64),
        pytest.param("tied", marks=pytest.mark.x32),
    ],
)
def test_is_the_same_mixture(name):
    """Densities, samples, gradients and operations are those of the values."""
    plain = make_mixture(name, 3, 2)
    mixture = as_factored(name, plain)
    x = jnp.asarray(make_data(60))
    rtol = 1e3 * eps(x.dtype)
    assert mixture.covariances.type == name
    assert mixture.n_parameters == plain.n_parameters
    assert mixture.covariances.n_components == plain.covariances.n_components
    for fn in (
        lambda m: m.log_prob(x),
        lambda m: m.predict_proba(x),
        lambda m: m.bic(x),
        lambda m: m.covariances.values,
        lambda m: m.covariances.variances,
        lambda m: m.covariances.precisions_cholesky,
        lambda m: m.covariances.log_det_cholesky,
        lambda m: gx.score_function(m, x),
        lambda m: gx.covariance(m),
        lambda m: gx.marginal(m, [1]).covariances.values,
        lambda m: gx.condition(m, [0], jnp.asarray([0.3])).means,
        lambda m: gx.affine(m, 2 * jnp.eye(2)).covariances.values,
        lambda m: gx.observe(m, gx.Features([0]), 0.1, jnp.asarray([0.3]))[1],
        lambda m: gx.product(m, m)[1],
        lambda m: gx.merge(m, [0, 0, 1]).covariances.values,
        lambda m: gx.reduce(m, 2).means,
        lambda m: gx.divergences.kl_pairwise(m, plain),
        lambda m: (
            gx.divergences.wasserstein(m, make_mixture(name, seed=5)).squared_distance
        ),
        lambda m: gx.impute(m, x),
        lambda m: gx.sample_relaxed(m, jr.key(0), 5, 0.5),
        lambda m: m.sample(jr.key(1), 50),
        lambda m: m.to_sklearn().precisions_cholesky_,
    ):
        np.testing.assert_allclose(fn(mixture), fn(plain), rtol, 10 * rtol)


@pytest.mark.x64
@pytest.mark.parametrize("name", SQUARE)
def test_em_takes_it_as_its_family(name):
    plain = make_mixture(name, 3, 2)
    mixture = as_factored(name, plain)
    x = jnp.asarray(make_data(100))
    solver = gx.EM(tol=0.0, max_steps=3)
    frozen = gx.Frozen(covariances=True)
    for extra in ({}, {"frozen": frozen}):
        run = lambda start, kw=extra: gx.fit(start, x, solver=solver, throw=False, **kw)
        got, want = run(mixture).mixture, run(plain).mixture
        assert jax.tree.structure(got) == jax.tree.structure(want)
        for one, other in zip(leaves(got), leaves(want), strict=True):
            tolerance = 1e4 * eps(one.dtype)
            np.testing.assert_allclose(one, other, tolerance, tolerance)
    fitted = run(plain).mixture
    rate = gx.contraction_rate(fitted, x)
    np.testing.assert_allclose(
        gx.contraction_rate(as_factored(name, fitted), x), rate, 1e-2
    )


@pytest.mark.x64
@every_family
def test_density_of_every_family(name):
    plain = make_mixture(name, 3, 2)
    x = jnp.asarray(make_data(60))
    got = as_factored(name, plain)
    assert got.covariances.type == name
    rtol = 1e3 * eps(x.dtype)
    np.testing.assert_allclose(got.log_prob(x), plain.log_prob(x), rtol, 10 * rtol)


@pytest.mark.x32
@pytest.mark.parametrize("name", SQUARE)
def test_survives_copies_and_files(name, tmp_path):
    mixture = as_factored(name, make_mixture(name, 3, 2))
    gx.save(tmp_path / "mixture.safetensors", mixture)
    for same in (gx.load(tmp_path / "mixture.safetensors"), copy.deepcopy(mixture)):
        assert jax.tree.structure(same) == jax.tree.structure(mixture)
        for one, other in zip(leaves(same), leaves(mixture), strict=True):
            np.testing.assert_array_equal(one, other)
    ensemble = gx.stack([mixture, mixture])
    x = jnp.asarray(make_data(20))
    scores = eqx.filter_vmap(lambda m: m.score(x))(ensemble)
    np.testing.assert_allclose(scores, mixture.score(x), 10 * eps(x.dtype))


@pytest.mark.parametrize("name", SQUARE)
def test_density_where_the_product_has_none(name, dtype):
    """A factor whose product is singular to working precision, against the same
    substitution in twice the digits."""
    rng = np.random.default_rng(0)
    for smallest in (1e-3, 1e-2 * eps(dtype) ** 0.5, eps(dtype)):
        lower = nearly_singular(rng, 3, smallest, dtype)
        stacked = lower if name == "tied" else lower[None]
        mixture = gx.GaussianMixture.from_cholesky(
            np.zeros((1, 3), dtype), stacked, np.ones(1, dtype), name
        )
        wide = lower.astype(np.longdouble)
        x = (wide @ rng.normal(size=(3, 10))).T.astype(dtype)
        z = np.zeros((3, 10), np.longdouble)
        for i in range(3):
            z[i] = (x.T.astype(np.longdouble)[i] - wide[i, :i] @ z[:i]) / wide[i, i]
        exact = -0.5 * np.sum(z**2, axis=0) - np.sum(np.log(np.diag(wide)))
        exact = np.float64(exact) - 1.5 * np.log(2 * np.pi)
        # One rounding of a sample or an element moves a whitened sample by so much.
        moved = 8 * eps(dtype) * np.abs(lower).max() / smallest
        bound = moved * (1 + np.abs(np.float64(z[2]))) + moved**2 + 1e-5
        got = np.float64(mixture.log_prob(jnp.asarray(x)))
        assert np.all(np.abs(got - exact) <= bound), (got - exact, bound)
        slope = jax.grad(lambda m, x=x: m.score(jnp.asarray(x)))(mixture)
        assert all(np.isfinite(leaf).all() for leaf in leaves(slope))
        # Samples are the factor times noise: on the plane that it nearly is.
        sample = np.float64(mixture.sample(jr.key(0), 200))
        normal = np.linalg.solve(np.float64(lower), sample.T)[2]
        rounding = 8 * eps(dtype) * np.abs(sample).max() / smallest
        assert np.std(normal) < 1.3 + rounding


def degenerate(dtype):
    """Two clusters, each almost on a plane."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1000, 2))
    noise = (1e-4 if dtype == np.float32 else 1e-8) * rng.normal(size=(1000, 1))
    x = np.concatenate([a, a.sum(1, keepdims=True) + noise], axis=1)
    x[500:] += [3, 3, 6]
    return jnp.asarray(x, dtype)


@pytest.mark.x32
@pytest.mark.parametrize("name", gx.COVARIANCE)
def test_adam_never_meets_a_nan(name, dtype):
    """Towards a density whose covariances are singular to working precision."""
    x = degenerate(dtype)
    start = gx.GaussianMixture.from_k_means(
        x, 2, key=jr.key(0), covariance_type=name, reg_covar=1e-2
    )
    model = gx.UnconstrainedMixture.from_mixture(start)
    free, fixed = eqx.partition(model, eqx.is_inexact_array)
    # A step is a tenth of a width: no covariance takes long to become singular.
    optimiser = optax.adam(0.1 * start.n_parameters**0.5)
    loss = lambda free: -eqx.combine(free, fixed).score(x)

    @jax.jit
    def run(free):
        def step(carry, _):
            free, state = carry
            value, slope = jax.value_and_grad(loss)(free)
            updates, state = optimiser.update(slope, state, free)
            return (optax.apply_updates(free, updates), state), (value, free)

        carry = (free, optimiser.init(free))
        return jax.lax.scan(step, carry, length=300)[1]

    with jax.numpy_dtype_promotion("standard"):
        values, path = run(free)
    assert np.isfinite(values).all()
    assert all(np.isfinite(leaf).all() for leaf in leaves(path))
    if name in SQUARE:
        assert np.min(values) < values[0] - 2


@pytest.mark.x64
def test_trees_are_respected_or_refused():
    mixture = make_mixture("full")
    model = gx.UnconstrainedMixture.from_mixture(mixture)
    x = jnp.asarray(make_data(20))
    score = model.score(x)
    # What goes over numbers alone leaves the reference as it is.
    average = jax.tree.map(
        lambda a: 0.9 * a + 0.1 * a if eqx.is_inexact_array(a) else a, model
    )
    np.testing.assert_array_equal(average.score(x), score)
    # What goes over everything is refused, inside a program too.
    average = jax.tree.map(lambda a: 0.5 * a.astype(float), model)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), model)
    for spoiled in (average, half):
        for read in (
            lambda m: m.score(x),
            lambda m: m.mixture,
            lambda m: m.means,
            lambda m: m.sample(jr.key(0), 3),
            lambda m: m.reference,
        ):
            with pytest.raises(ValueError, match="`eqx.is_inexact_array` alone"):
                read(spoiled)
            with pytest.raises(ValueError, match="`eqx.is_inexact_array` alone"):
                eqx.filter_jit(read)(spoiled)
    # Zeros in the place of everything are a mixture that has a density.
    blank = jax.tree.map(jnp.zeros_like, model)
    assert np.isfinite(blank.log_prob(x)).all()
    np.testing.assert_allclose(blank.covariances.values[0, 0], np.eye(2), atol=0)
    np.testing.assert_allclose(blank.weights.sum(), 1, 1e-6)


@pytest.mark.x32
@pytest.mark.parametrize("name", SQUARE)
def test_bad_factors(name):
    good = np.float64(np.eye(2)) if name == "tied" else np.eye(2)[None].repeat(3, 0)
    make = lambda factors: gx.GaussianMixture.from_cholesky(
        np.zeros((3, 2)), factors, np.full(3, 1 / 3), name
    )
    make(good)
    upper = good + np.triu(np.ones((2, 2)), 1)
    for factors, message in (
        (upper, "`scale_tril` must be lower triangular"),
        (-good, "`scale_tril` must have a positive diagonal"),
        (0 * good, "`scale_tril` must have a positive diagonal"),
        (good * np.nan, "`scale_tril` must be finite"),
        (good[..., :1], "`scale_tril` must have the axes"),
        (np.eye(2)[None, None], "`scale_tril` must have the axes"),
    ):
        with pytest.raises(ValueError, match=message):
            make(factors)
    # Traced, the sign of a column does not change the covariance.
    got = jax.jit(lambda f: make(f).covariances.values)(jnp.asarray(-good))
    np.testing.assert_allclose(got, make(good).covariances.values)


@pytest.mark.x32
@pytest.mark.parametrize("name", ["diag", "spherical"])
def test_bad_deviations(name):
    good = np.ones((3, 2)) if name == "diag" else np.ones(3)
    make = lambda values: gx.GaussianMixture.from_cholesky(
        np.zeros((3, 2)), values, np.full(3, 1 / 3), name
    )
    make(good)
    for values, message in (
        (-good, "`scale_tril` must hold standard deviations"),
        (0 * good, "`scale_tril` must hold standard deviations"),
        (good * np.nan, "`scale_tril` must hold standard deviations"),
        (good[None], "must have the axes"),
    ):
        with pytest.raises(ValueError, match=message):
            make(values)


@pytest.mark.parametrize("exponent", (-4.0, -9.0))
def test_gradients_keep_the_digits_of_their_coordinates(exponent, dtype):
    """Beside the same coordinates by hand, both against more digits than they have."""
    base = gx.UnconstrainedMixture.from_mixture(
        gx.GaussianMixture.from_squeezed(
            np.zeros((1, 3), dtype), np.eye(3, dtype=dtype)[None], np.ones(1, dtype)
        )
    )
    unit = base.mixture.n_parameters**0.5
    rows, cols = np.tril_indices(3)

    def ours(c, y):
        model = eqx.tree_at(lambda m: m.shapes, base, unit * c[None, None, :, None])
        return model.log_prob(y[None])[0]

    def by_hand(c, y, solve=jax.scipy.linalg.solve_triangular):
        lower = jnp.zeros((3, 3), c.dtype).at[rows, cols].set(c)
        eye = jnp.eye(3, dtype=bool)
        lower = jnp.where(eye, jnp.exp(jnp.where(eye, lower, 0)), lower)
        z = solve(lower, y, lower=True)
        return -0.5 * z @ z - jnp.sum(jnp.log(jnp.diagonal(lower)))

    def exactly(c, y):
        """The gradient by substitution in NumPy's longest type."""
        lower = np.zeros((3, 3), np.longdouble)
        lower[rows, cols] = c
        diagonal = np.arange(3)
        lower[diagonal, diagonal] = np.exp(lower[diagonal, diagonal])
        z, back = np.zeros(3, np.longdouble), np.zeros(3, np.longdouble)
        for i in range(3):
            z[i] = (y[i] - lower[i, :i] @ z[:i]) / lower[i, i]
        for i in reversed(range(3)):
            back[i] = (z[i] - lower[i + 1 :, i] @ back[i + 1 :]) / lower[i, i]
        slope = np.outer(back, z)
        slope[diagonal, diagonal] = slope[diagonal, diagonal] * np.diagonal(lower) - 1
        return np.float64(slope[rows, cols])

    ours, by_hand = (jax.jit(jax.grad(fn)) for fn in (ours, by_hand))
    if dtype == np.float64:
        exponent = 2.2 * exponent
    errors = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        c = np.asarray([0, 1.7, 1.3, -1.7, 1, exponent]) + 0.3 * rng.normal(size=6)
        c = c.astype(dtype)
        lower = np.zeros((3, 3))
        lower[rows, cols] = c
        lower[np.arange(3), np.arange(3)] = np.exp(np.diagonal(lower))
        y = (lower @ rng.normal(size=3)).astype(dtype)
        want = exactly(c.astype(np.longdouble), y.astype(np.longdouble))
        got = [np.float64(fn(jnp.asarray(c), jnp.asarray(y))) for fn in (ours, by_hand)]
        errors.append([np.linalg.norm(g - want) / np.linalg.norm(want) for g in got])
    mine, theirs = np.median(errors, axis=0)
    assert theirs < 0.1 and mine <= 2.5 * theirs
