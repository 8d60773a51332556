r"""The orthogonal factor of the polar decomposition, by matrix products alone.

As for `cholesky`: two batched calls of LAPACK at the same time can wait for each other
for ever.
"""

import functools as ft
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from . import linalg


Squares = Float[Array, "... d d"]
PerMatrix = Float[Array, "... 1 1"]

# Square of the largest factor that a matrix is scaled by in a step. With three, the
# best one for small singular values, the step would send large ones to zero, and their
# digits would be lost.
_MAX_SCALE = 2.25


@jax.custom_jvp
# Compiled even outside of other programs: a loop is compiled anew at every call there.
@ft.partial(jax.jit, inline=True)
def polar(values: Squares, smallest: PerMatrix) -> Squares:
    r"""The orthogonal $W$ nearest to $A = W H$, where $H$ is positive semidefinite.

    By the scaled Newton-Schulz iteration, which brings all singular values to one. The
    result is that of a matrix which differs from $A$ by a few eps of its largest
    singular value. A zero matrix stays one.

    **Arguments:**

    - `smallest`: a positive lower bound on the singular values. A factor of two takes
        one more step. It has no derivative.

    ??? cite "Reference"

        Chen, Chow (2014), A Stable Scaling of Newton-Schulz for Improving the Sign
        Function Computation of a Hermitian Matrix. Preprint ANL/MCS-P5059-0114.

        Nakatsukasa, Higham (2012), Backward Stability of Iterations for Computing the
        Polar Decomposition. SIAM J. Matrix Anal. Appl. 33(2), 460-479. A step must not
        make a large singular value small beside the largest, hence the limit of the
        scale.
    """
    eps = float(jnp.finfo(values.dtype).eps)
    unit, size = _unit(values)
    # Rounding errors fill directions of less than that.
    low = jnp.clip(smallest / size, eps**4, 1)
    # Comparisons with NaN are false: then it ends.
    unfinished = lambda carry: jnp.any(carry[1] < 1)
    return lax.while_loop(unfinished, _step, (unit, low))[0]


@polar.defjvp
def _polar_jvp(primals, tangents):
    (values, smallest), (d_values, _) = primals, tangents
    return polar(values, smallest), jax.jvp(_of_any, (values,), (d_values,))[1]


def _of_any(values: Squares) -> Squares:
    """The same by as many steps as a nearly singular matrix needs. Their number is
    fixed, so that the derivative has derivatives in reverse."""
    low = float(jnp.finfo(values.dtype).eps) ** 2
    unit, size = _unit(values)
    # A step at the largest scale multiplies small singular values by 1.5 times that
    # scale. From there on, five more are enough; none does harm.
    growth = 1.5 * math.sqrt(_MAX_SCALE)
    n_steps = math.ceil(-math.log(low) / math.log(growth)) + 5
    carry = unit, jnp.full_like(size, low)
    return lax.fori_loop(0, n_steps, lambda _, carry: _step(carry), carry)[0]


def _step(carry: tuple[Squares, PerMatrix]) -> tuple[Squares, PerMatrix]:
    """A step for singular values between a lower bound and one."""
    x, low = carry
    # The best one sends the lower bound and one to the same number.
    square = jnp.minimum(3 / (1 + low + low**2), _MAX_SCALE)
    gram = square * linalg.matmul(linalg.transpose(x), x)
    x = 0.5 * jnp.sqrt(square) * (3 * x - linalg.matmul(x, gram))
    return x, _next(low, square)


def _next(low: PerMatrix, square: PerMatrix) -> PerMatrix:
    """The lower bound after a step."""
    image = lambda x: 0.5 * jnp.sqrt(square) * x * (3 - square * x**2)
    # A step doubles the digits: this one was the last.
    is_last = low > 1 - math.sqrt(float(jnp.finfo(low.dtype).eps))
    return jnp.where(is_last, 1, jnp.minimum(image(low), image(1)))


def _unit(values: Squares) -> tuple[Squares, PerMatrix]:
    """Matrices without singular values above one, and what they were divided by."""
    axes = (-2, -1)
    # Squares would overflow or underflow.
    scale = lax.stop_gradient(jnp.max(jnp.abs(values), axis=axes, keepdims=True))
    scale = jnp.where(scale == 0, 1, scale)
    squares = jnp.sum((values / scale) ** 2, axis=axes, keepdims=True)
    size = scale * lax.stop_gradient(jnp.sqrt(jnp.where(squares == 0, 1, squares)))
    return values / size, size
