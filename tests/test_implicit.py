"""The derivative of a fit: against finite differences of fits, and against derivatives
of all steps one after the other."""

import functools as ft

import equinox as eqx
import jax
import jax.extend
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .conftest import X64
from .helpers import every_family, leaves, make_data, start


N_STEPS = 400
RIDGE = 0.05
TOL = 1e-15 if X64 else 1e-7
# Of the same shape, so that both are one program.
FREE = gx.Frozen(weights=[False] * 3, means=[False] * 3)
FROZEN = gx.Frozen(weights=[True, False, False], means=[False, True, False])


def shifted(mixture, by):
    return eqx.tree_at(lambda m: m.means, mixture, mixture.means + by)


def contract(mixture):
    """Some number that depends on all of a mixture."""
    rng = np.random.default_rng(0)
    parts = [
        leaf * rng.normal(size=leaf.shape).astype(leaf.dtype)
        for leaf in jax.tree.leaves(mixture)
    ]
    return sum(jnp.sum(part) for part in parts)


def plain_step(step, mixture):
    """E-step and M-step, without a loop over attempts."""
    whitening = mixture.covariances.whitening(mixture.n_features)
    pivot = jax.lax.stop_gradient(mixture.means)
    found = step.e_step.expect(mixture, whitening, pivot)
    return gx.extend.maximise(
        found.moments, mixture, pivot, step.reg_covar, step.frozen
    )


def all_steps(begin, x, weight, reg_covar, frozen=None):
    """Every step, with no rule for when to stop, and so without a loop of EM's own."""
    source = gx.extend.InMemory.from_data(x, weight, 64)
    family, ridge = begin.covariances, gx.Ridge(reg_covar)
    step = gx.extend.EMStep.create(family, source, ridge, frozen)
    moving = lambda _, y: plain_step(step, y)
    end = jax.lax.fori_loop(0, N_STEPS, moving, shifted(begin, -source.pivot))
    fitted = shifted(end, source.pivot)
    return (contract(fitted), jnp.sum(weight * fitted.log_prob(x))), fitted


def by_fit(begin, x, weight, reg_covar, frozen=None):
    solution = gx.fit(
        begin,
        x,
        sample_weight=weight,
        reg_covar=reg_covar,
        solver=gx.EM(tol=TOL, max_steps=5000),
        frozen=frozen,
        # Chunks, of which the last is padded.
        samples_per_chunk=64,
        throw=False,
    )
    return contract(solution.mixture), solution.log_likelihood


@eqx.filter_jit
def derivatives(begin, primals, tangents, frozen):
    fn = lambda *args: by_fit(begin, *args, frozen)
    forward = jax.jvp(fn, primals, tangents)[1]
    _, pull = jax.vjp(fn, *primals)
    reverse = [pull((one[0], one[1])) for one in jnp.eye(2)]
    return forward, reverse


@eqx.filter_jit
def of_all_steps(begin, primals, tangents, frozen):
    fn = lambda *args: all_steps(begin, *args, frozen)
    return jax.jvp(fn, primals, tangents, has_aux=True)


def problem(name, seed=0):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(make_data(90, seed=3))
    weight = rng.uniform(0.5, 2, 90)
    weight[:5] = 0
    begin = start(name, x, 3, seed=1)
    primals = (x, jnp.asarray(weight), jnp.asarray(RIDGE))
    # A weight of zero has neighbours on one side only.
    moves = rng.normal(size=90) * (weight > 0)
    tangents = (rng.normal(size=x.shape), moves, np.array(0.3 * RIDGE))
    return begin, primals, tuple(jnp.asarray(t, float) for t in tangents)


@pytest.mark.x64
@every_family
@pytest.mark.parametrize("frozen", [FREE, FROZEN], ids=["free", "frozen"])
def test_both_modes_agree_with_all_steps_and_with_other_fits(name, frozen):
    begin, primals, tangents = problem(name)
    _, expected, fitted = of_all_steps(begin, primals, tangents, frozen)
    # A fit that begins where it would end, so that it ends there to the last digit.
    forward, reverse = derivatives(fitted, primals, tangents, frozen)
    rtol = 1e-6 if X64 else 1e-2
    scale = np.abs(expected).max()
    np.testing.assert_allclose(forward, expected, rtol, rtol * scale)
    for pulled, want in zip(reverse, forward, strict=True):
        products = [np.sum(p * t) for p, t in zip(pulled, tangents, strict=True)]
        rtol = 1e-8 if X64 else 1e-3
        np.testing.assert_allclose(sum(products), want, rtol, rtol * scale)
    if X64:
        step = 1e-5
        ahead, behind = (
            of_all_steps(
                begin,
                tuple(
                    p + sign * step * t for p, t in zip(primals, tangents, strict=True)
                ),
                tangents,
                frozen,
            )[0]
            for sign in (1, -1)
        )
        difference = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
        np.testing.assert_allclose(forward, difference, 1e-5, 1e-6 * scale)


@pytest.mark.x32
def test_lanes_are_a_loop_and_a_lane_that_fails_is_nan():
    """Two data sets, and one fit that has no time to converge."""
    begin, (x, weight, ridge), _ = problem("diag")
    xs = jnp.stack([x, x + 0.1 * x**2, x])
    max_steps = jnp.array([5000, 5000, 2])
    fit = ft.partial(gx.fit, sample_weight=weight, throw=False)
    # The first, which is slow, begins near its end: from afar, rounding decides how far
    # from it the fit stops. The others end after other numbers of steps.
    near = eqx.filter_jit(fit)(begin, x, solver=gx.EM(tol=0.0, max_steps=300)).mixture
    starts = gx.stack([near, begin, begin])

    @eqx.filter_jit
    def gradient(starts, xs, max_steps):
        def value(x, start, max_steps):
            solution = fit(start, x, solver=gx.EM(tol=TOL, max_steps=max_steps))
            return jnp.sum(solution.mixture.means**2)

        return eqx.filter_vmap(jax.grad(value))(xs, starts, max_steps)

    got = gradient(starts, xs, max_steps)
    rtol = 1e-6 if X64 else 1e-2
    for lane in range(2):
        own = (gx.stack([starts[lane]]), xs[lane][None], max_steps[lane][None])
        alone = gradient(*own)[0]
        np.testing.assert_allclose(
            got[lane], alone, rtol, rtol * float(jnp.abs(alone).max())
        )
    assert np.isfinite(got[:2]).all()
    assert np.isnan(got[2]).any()
    with pytest.raises(gx.FitError, match="max_steps"):
        solver = gx.EM(max_steps=2)
        jax.grad(lambda x: gx.fit(begin, x, solver=solver).log_likelihood)(xs[0])


@pytest.mark.x64
def test_a_component_of_weight_zero_is_not_there():
    begin, (x, weight, ridge), _ = problem("full")
    two = start("full", x, 2)
    add = lambda array, more: jnp.concatenate([array, more], axis=1)
    three = gx.GaussianMixture(
        weights=add(two.weights, jnp.zeros((1, 1, 1, 1))),
        means=add(two.means, jnp.ones((1, 1, 2, 1))),
        covariances=gx.FullCovariances(
            add(two.covariances.values, jnp.eye(2)[None, None])
        ),
    )
    # Not of the empty component itself, which is as it was.
    gradients = [
        jax.jit(jax.grad(lambda x, m=m: jnp.sum(by_fit_means(m, x)[:, :2] ** 2)))(x)
        for m in (two, three)
    ]
    assert np.isfinite(gradients[1]).all()
    rtol = 1e-6 if X64 else 1e-2
    atol = rtol * float(jnp.abs(gradients[0]).max())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol, atol)


def by_fit_means(begin, x):
    solver = gx.EM(tol=TOL, max_steps=5000)
    return gx.fit(begin, x, solver=solver, throw=False).mixture.means


def sizes(jaxpr):
    """Of all arrays in a program and in those that it contains."""
    for equation in jaxpr.eqns:
        yield from (np.prod(v.aval.shape, dtype=int) for v in equation.outvars)
        for part in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda p: isinstance(p, jax.extend.core.ClosedJaxpr),
        ):
            inner = getattr(part, "jaxpr", part)
            if isinstance(inner, jax.extend.core.Jaxpr):
                yield from sizes(inner)


def test_a_ridge_alone_has_reverse_derivatives():
    """Weights do not depend on it but through the means and covariances."""
    x = jnp.asarray(make_data(90, seed=3))
    begin = start("diag", x, 2)
    solver = gx.EM(tol=TOL, max_steps=5000)

    def value(ridge):
        solution = gx.fit(begin, x, reg_covar=ridge, solver=solver, throw=False)
        return contract(solution.mixture)

    ridge = jnp.asarray(RIDGE)
    forward = jax.jit(jax.jacfwd(value))(ridge)
    reverse = jax.jit(jax.grad(value))(ridge)
    assert jnp.isfinite(forward)
    np.testing.assert_allclose(reverse, forward, rtol=1e-9 if X64 else 1e-3)


@pytest.mark.x64
def test_no_matrix_of_all_parameters():
    x = jnp.asarray(make_data(64, 8))
    begin = start("full", x, 4, reg_covar=0.1)
    n_numbers = sum(leaf.size for leaf in leaves(begin))

    def value(x):
        mixture = gx.fit(begin, x, reg_covar=0.1, throw=False).mixture
        return jnp.sum(mixture.covariances.values)

    jaxpr = jax.make_jaxpr(jax.grad(value))(x)
    # The largest are a few mixtures side by side, and samples by components.
    assert 0 < max(sizes(jaxpr.jaxpr)) < n_numbers**2 / 8


@pytest.mark.x64
@every_family
def test_the_contraction_rate_is_the_largest_eigenvalue(name):
    x = jnp.asarray(make_data(120))
    solver = gx.EM(tol=1e-15, max_steps=5000)
    mixture = gx.fit(start(name, x, 3), x, solver=solver, reg_covar=0.0).mixture
    source = gx.extend.InMemory.from_data(x, None, 120)
    step = gx.extend.EMStep.create(mixture.covariances, source, gx.Ridge(0.0))
    flat, unflatten = jax.flatten_util.ravel_pytree(shifted(mixture, -source.pivot))
    fn = lambda flat: jax.flatten_util.ravel_pytree(plain_step(step, unflatten(flat)))[
        0
    ]
    jacobian = jax.jit(jax.jacfwd(fn))(flat)
    largest = np.abs(np.linalg.eigvals(jacobian)).max()
    rate = gx.contraction_rate(mixture, x, reg_covar=0.0)
    np.testing.assert_allclose(rate, largest, rtol=0.01 * (1 - largest))


@pytest.mark.x64
def test_contraction_rates_at_both_ends():
    x = jnp.asarray(make_data(120))
    one = gx.fit(start("full", x, 1), x).mixture
    # Nothing is missing, or is all known.
    assert np.abs(gx.contraction_rate(one, x)) < 1e-3
    two = jax.tree.map(lambda a: jnp.concatenate([a, a], axis=1), one)
    two = eqx.tree_at(lambda m: m.weights, two, two.weights / 2)
    # Nobody can tell which of the two a sample belongs to, but as long as they are the
    # same; two different ones are more likely.
    same = gx.Frozen(means=True, covariances=True)
    assert np.abs(gx.contraction_rate(two, x, frozen=same) - 1) < 1e-3
    assert gx.contraction_rate(two, x) > 1.1
    frozen = gx.Frozen(weights=True, means=True, covariances=True)
    assert gx.contraction_rate(two, x, frozen=frozen) == 0


@pytest.mark.parametrize("n_samples", [500, 800, 2500])
def test_derivatives_of_a_step_with_many_samples(n_samples):
    """Every sample twice is the same step. From 1000 samples on, products of several
    matrices with a broadcast operand were NaN, or beyond their end."""
    x = jnp.asarray(make_data(n_samples))
    start = gx.GaussianMixture.from_k_means(x, 3, key=jax.random.key(0))
    once = gx.contraction_rate(start, x)
    twice = gx.contraction_rate(start, jnp.concatenate([x, x]))
    rtol = 1e-6 if x.dtype == jnp.float64 else 1e-2
    np.testing.assert_allclose(twice, once, rtol=rtol)
