r"""The singular value decomposition of many small matrices, as XLA's own program.

As for `cholesky`: two batched calls of LAPACK at the same time can wait for each other
for ever.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from . import linalg


# Five to ten are usual.
_MOST_SWEEPS = 30

Squares = Float[Array, "... d d"]
# Columns of the matrix above those of the rotation; matrices last, which fill the
# vector units however small each of them is.
_Stack = Float[Array, "rows columns n"]
_PerMatrix = Float[Array, " n"]


def svd(values: Squares) -> tuple[Squares, Float[Array, "... d"], Squares]:
    r"""$U, s, V$ with $A = U \operatorname{diag}(s) V^T$, the singular values in no
    order. Where one is zero, so is its column of $U$.

    One-sided Jacobi: pairs of columns of $A V$ are rotated until all are orthogonal.
    Small singular values keep their digits, and their vectors are orthogonal. A loop
    with no derivative in reverse mode.

    ??? cite "Reference"

        Hestenes (1958), Inversion of Matrices by Biorthogonalization and Related
        Results. J. SIAM 6(1), 51-90.

        Brent, Luk (1985), The Solution of Singular-Value and Symmetric Eigenvalue
        Problems on Multiprocessor Arrays. SIAM J. Sci. Stat. Comput. 6(1), 69-84.
    """
    *_, d, _ = values.shape
    matrices = values.reshape(-1, d, d)
    # Squares of columns would overflow or underflow.
    scale = jnp.max(jnp.abs(matrices), axis=(1, 2), keepdims=True)
    eye = jnp.broadcast_to(jnp.eye(d, dtype=values.dtype), matrices.shape)
    stack = jnp.concatenate([linalg.safe_divide(matrices, scale), eye], axis=1)
    # In pairs: a column of zeros stays one.
    stack = jnp.pad(stack, ((0, 0), (0, 0), (0, d % 2)))
    stack = jnp.moveaxis(_orthogonalise(jnp.moveaxis(stack, 0, -1)), -1, 0)
    images, right = stack[:, :d, :d], stack[:, d:, :d]
    lengths = jnp.sqrt(jnp.sum(images**2, axis=1, keepdims=True))
    left = linalg.safe_divide(images, lengths).reshape(values.shape)
    singular = (scale * lengths).reshape(values.shape[:-1])
    return left, singular, right.reshape(values.shape)


def _orthogonalise(stack: _Stack) -> _Stack:
    n_rows, n_columns, n = stack.shape
    d, half = n_rows // 2, n_columns // 2
    eps = float(jnp.finfo(stack.dtype).eps)

    def play(_, carry: tuple[_Stack, _PerMatrix]) -> tuple[_Stack, _PerMatrix]:
        stack, worst = carry
        a, b = stack[:, :half], stack[:, half:]
        inner = lambda x, y: jnp.sum(x[:d] * y[:d], axis=0)
        aa, bb, ab = inner(a, a), inner(b, b), inner(a, b)
        cosine = jnp.abs(ab) / jnp.where(ab == 0, 1, jnp.sqrt(aa) * jnp.sqrt(bb))
        # The smaller of the two rotations that make them orthogonal.
        ratio = (bb - aa) / jnp.where(ab == 0, 1, 2 * ab)
        sign = jnp.where(ratio < 0, -1, 1)
        tangent = sign / (jnp.abs(ratio) + jnp.sqrt(1 + ratio**2))
        tangent = jnp.where(ab == 0, 0, tangent)[None]
        cos = 1 / jnp.sqrt(1 + tangent**2)
        sin = cos * tangent
        a, b = cos * a - sin * b, sin * a + cos * b
        # A round-robin tournament: the first stays, the others move on by one seat, and
        # after `n_columns - 1` rounds all have met and are where they were.
        seats = [a[:, :1], b[:, :1], a[:, 1:-1], b[:, 1:], a[:, -1:]]
        stack = jnp.concatenate(seats if half > 1 else [a, b], axis=1)
        return stack, jnp.maximum(worst, jnp.max(cosine, axis=0))

    def sweep(carry: tuple[_Stack, _PerMatrix, Array]) -> Any:
        stack, _, n_sweeps = carry
        best = jnp.zeros(n, stack.dtype)
        stack, worst = lax.fori_loop(0, n_columns - 1, play, (stack, best))
        return stack, worst, n_sweeps + 1

    def unfinished(carry: tuple[_Stack, _PerMatrix, Array]) -> Bool[Array, ""]:
        _, worst, n_sweeps = carry
        # Comparisons with NaN are false: then it ends.
        return jnp.any(worst > (8 + d) * eps) & (n_sweeps < _MOST_SWEEPS)

    start = (stack, jnp.full(n, 1.0, stack.dtype), jnp.array(0))
    return lax.while_loop(unfinished, sweep, start)[0]
