"""Derivatives of the fixed point of EM, by the implicit function theorem."""

import functools as ft
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx

from .._core.aliases import Flag, Scalar
from .._mixture import GaussianMixture
from .frozen import Frozen
from .krylov import Orthomin
from .maximisation import maximise
from .metric import Metric
from .step import EMStep


def advance(
    step: EMStep, start: GaussianMixture, mixture: GaussianMixture, held: Frozen
) -> tuple[GaussianMixture, Scalar]:
    """A step of EM and the log-likelihood before it, by residuals alone:
    other than `step` it can be differentiated in reverse. Parameters that are held are
    those of `start`."""
    mixture = held.pin(mixture, start, is_whole=step.e_step.counted is None)
    pivot = jax.lax.stop_gradient(mixture.means)
    whitening = mixture.covariances.whitening(mixture.n_features)
    expectation = step.e_step.expect(mixture, whitening, pivot)
    new = maximise(
        expectation.moments,
        mixture,
        pivot,
        step.reg_covar,
        held,
        step.equal_weights,
        step.prior,
        step.e_step.counted,
        step.e_step.slack,
    )
    return new, expectation.log_likelihood


@eqx.filter_custom_jvp
def with_derivatives(
    step: EMStep,
    start: GaussianMixture,
    end: GaussianMixture,
    log_likelihood: Scalar,
    valid: Flag,
) -> tuple[GaussianMixture, Scalar]:
    r"""`end` and its log-likelihood, with the derivatives that they have as the fixed
    point of `step`.

    $\mathrm{d}θ = (1 - \partial_θ G)^{-1} \mathrm{d}G$ for $θ = G(θ)$. The matrix is
    never made: the equation is solved by products with it, each a pass over the data.
    What comes with `end` already is not counted. Where not `valid`, or if the equation
    cannot be solved, derivatives are NaN.

    ??? cite "Reference"

        Blondel et al. (2022), Efficient and Modular Implicit Differentiation. NeurIPS
        35. The fixed point of a step does not depend on how it was found, nor on
        `start` but for the parameters that are frozen.
    """
    del step, start, valid
    return end, log_likelihood


@with_derivatives.def_jvp
def _(primals: Any, tangents: Any) -> Any:
    step, start, end, log_likelihood, valid = primals
    end, log_likelihood = with_derivatives(step, start, end, log_likelihood, valid)
    frozen = Frozen() if step.frozen is None else step.frozen
    held = frozen.or_empty(end)
    inputs, moving = (step, start), tangents[:2]
    is_none = lambda leaf: leaf is None
    still = jax.tree.map(is_none, moving, is_leaf=is_none)
    fixed, free = eqx.partition(inputs, still, is_leaf=is_none)

    def fn(free, mixture):
        step, start = eqx.combine(free, fixed)
        return advance(step, start, mixture, held)

    _, derivative = jax.linearize(fn, free, end)
    none_moves = jax.tree.map(jnp.zeros_like, moving)
    nowhere = jax.tree.map(jnp.zeros_like, end)

    def residual(change):
        new, _ = derivative(none_moves, change)
        return jax.tree.map(jnp.subtract, change, new)

    direct, _ = derivative(moving, nowhere)
    # All of it linear in what moves, as the transpose of the solve asks for: weights
    # do not depend on a ridge.
    anchor = 0 * jax.tree.leaves(moving)[0].ravel()[0]
    direct = jax.tree.map(lambda d: d + anchor.astype(d.dtype), direct)
    space = jax.eval_shape(lambda: end)

    def solve(residual, b, inverse):
        metric = Metric.create(jax.lax.stop_gradient(end), inverse)
        operator, metric = (
            lx.FunctionLinearOperator(fn, space) for fn in (residual, metric)
        )
        options = {"metric": metric}
        found = lx.linear_solve(operator, b, Orthomin(), options=options, throw=False)
        solved = found.result == lx.RESULTS.successful
        return jax.tree.map(lambda leaf: jnp.where(solved, leaf, jnp.nan), found.value)

    # Not the derivative that lineax has for a solve: it raises where the transposed
    # equation is not solved, and here that must be NaN.
    change = jax.lax.custom_linear_solve(
        residual,
        direct,
        solve=ft.partial(solve, inverse=False),
        transpose_solve=ft.partial(solve, inverse=True),
    )
    _, gain = derivative(moving, change)
    flag = jnp.where(valid, 1, jnp.nan)
    return (end, log_likelihood), jax.tree.map(lambda d: d * flag, (change, gain))
