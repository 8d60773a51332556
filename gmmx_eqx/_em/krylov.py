"""Linear equations without their matrix, in an inner product of one's own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._core import linalg


Vector = Float[Array, " n"]


class Orthomin(lx.AbstractLinearSolver[lx.AbstractLinearOperator]):
    r"""Orthogonal minimisation of the residual, for square operators whose symmetric
    part is definite in some inner product: at every step the smallest residual along a
    new direction and those before it. For a symmetric operator it is the method of
    conjugate residuals.

    It takes these `options` of `lineax.linear_solve`, both operators of the kind of the
    one that is solved with:

    - `metric`: $M$ with the inner product $x^T M y$; the ordinary one if not given.
    - `inverse_metric`: its inverse, in which the transposed operator is as symmetric.

    **Attributes:**

    - `memory`: the number of earlier directions that a new one is made orthogonal to.
        In a symmetric problem one is enough.
    - `max_steps`: the largest number of products with the operator.

    ??? cite "Reference"

        Vinsome (1976), Orthomin, an Iterative Method for Solving Sparse Sets of
        Simultaneous Linear Equations. SPE 5729.
    """

    # Steps of low-rank covariances are not symmetric, and with eight directions the
    # residual stopped falling.
    memory: int = 32
    max_steps: int = 2000

    def init(
        self, operator: lx.AbstractLinearOperator, options: dict[str, Any]
    ) -> lx.AbstractLinearOperator:
        del options
        if operator.in_size() != operator.out_size():
            raise ValueError(
                f"`Orthomin` needs a square operator; got one of {operator.out_size()} "
                f"rows and {operator.in_size()} columns."
            )
        return operator

    def compute(
        self,
        state: lx.AbstractLinearOperator,
        vector: PyTree[Array],
        options: dict[str, Any],
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        b, unravel = ravel_pytree(vector)
        flat = lambda fn: lambda x: ravel_pytree(fn(unravel(x)))[0]
        metric = flat(options["metric"].mv if "metric" in options else lambda x: x)
        # Squares of a small or a large vector would leave the range of float32. In the
        # metric rather than by size: units must not matter.
        unit = jnp.max(jnp.sqrt(jnp.abs(b)) * jnp.sqrt(jnp.abs(metric(b))))
        b = linalg.safe_divide(b, unit)
        x, solved, n_steps = self._solve(flat(state.mv), b, metric)
        failed = lx.RESULTS.where(
            n_steps < self.max_steps,
            lx.RESULTS.singular,
            lx.RESULTS.max_steps_reached,
        )
        result = lx.RESULTS.where(solved, lx.RESULTS.successful, failed)
        stats = {"num_steps": n_steps, "max_steps": self.max_steps}
        return unravel(x * unit), result, stats

    def _solve(
        self,
        operator: Callable[[Vector], Vector],
        b: Vector,
        metric: Callable[[Vector], Vector],
    ) -> tuple[Vector, Array, Array]:
        size = jnp.sum(b * metric(b))
        tol = float(jnp.finfo(b.dtype).eps) ** 1.5 * size
        # Directions above their images.
        known = jnp.zeros((self.memory, 2, b.size), b.dtype)

        def unfinished(carry):
            _, _, _, square, n_steps = carry
            return (square > tol) & (n_steps < self.max_steps)

        def step(carry):
            x, r, known, _, n_steps = carry
            new = jnp.stack([r, operator(r)])
            overlap = linalg.matmul(known[:, 1], metric(new[1]))
            new = new - jnp.tensordot(
                overlap, known, axes=1, precision=jax.lax.Precision.HIGHEST
            )
            norm = jnp.sqrt(jnp.sum(new[1] * metric(new[1])))
            new = linalg.safe_divide(new, norm)
            length = jnp.sum(new[1] * metric(r))
            x, r = x + length * new[0], r - length * new[1]
            known = known.at[n_steps % self.memory].set(new)
            return x, r, known, jnp.sum(r * metric(r)), n_steps + 1

        carry = (jnp.zeros_like(b), b, known, size, jnp.array(0))
        x, _, _, square, n_steps = jax.lax.while_loop(unfinished, step, carry)
        # False for a NaN.
        return x, square <= tol, n_steps

    def transpose(
        self, state: lx.AbstractLinearOperator, options: dict[str, Any]
    ) -> tuple[lx.AbstractLinearOperator, dict[str, Any]]:
        swapped = {"metric": "inverse_metric", "inverse_metric": "metric"}
        swapped = {new: options[old] for new, old in swapped.items() if old in options}
        return state.transpose(), swapped

    def conj(
        self, state: lx.AbstractLinearOperator, options: dict[str, Any]
    ) -> tuple[lx.AbstractLinearOperator, dict[str, Any]]:
        return lx.conj(state), options

    def assume_full_rank(self) -> bool:
        return True
