"""Routines of LAPACK for one matrix; under `vmap`, on a CPU, for one after the other.

JAX's own batched calls there block a thread of the pool that they wait for, and so can
wait for ever where two programs run at the same time (jaxlib 0.10.2). Other devices
have batched routines of their own.
"""

import functools as ft
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from . import linalg


Square = Float[Array, "d d"]
Vector = Float[Array, " d"]
_Matrix = TypeVar("_Matrix")
_Result = TypeVar("_Result")


def _one_at_a_time(fn: Callable[[_Matrix], _Result]) -> Callable[[_Matrix], _Result]:
    in_turn = sequential_vmap(fn)

    @ft.wraps(fn)
    def call(matrix: _Matrix) -> _Result:
        return (in_turn if jax.default_backend() == "cpu" else fn)(matrix)

    return call


@jax.custom_jvp
def eigh(matrix: Square) -> tuple[Vector, Square]:
    """Eigenvalues of a symmetric matrix, in ascending order, and eigenvectors, as
    columns. Their derivatives are those of `eigh_tangents`."""
    return _eigh(matrix)


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    (matrix,), (change,) = primals, tangents
    found = eigh(matrix)
    return found, eigh_tangents(*found, change)


@_one_at_a_time
def _eigh(matrix: Square) -> tuple[Vector, Square]:
    eigenvalues, vectors = jnp.linalg.eigh(matrix)
    return eigenvalues, vectors


def eigh_tangents(
    eigenvalues: Float[Array, "*n d"],
    vectors: Float[Array, "*n d d"],
    change: Float[Array, "*n d d"],
) -> tuple[Float[Array, "*n d"], Float[Array, "*n d d"]]:
    """Changes of eigenvalues and eigenvectors with a change of the matrix.

    That of an eigenvector has a share of zero, where it would be infinite, of another
    one with the same eigenvalue.
    """
    half = linalg.matmul(linalg.transpose(vectors), linalg.symmetrise(change))
    change = linalg.matmul(half, vectors)
    gap = eigenvalues[..., None, :] - eigenvalues[..., None]
    size = jnp.max(jnp.abs(eigenvalues), axis=-1)[..., None, None]
    apart = jnp.abs(gap) > float(jnp.finfo(gap.dtype).eps) * size
    turn = jnp.where(apart, change / jnp.where(apart, gap, 1), 0)
    return linalg.diagonal_of(change)[..., 0], linalg.matmul(vectors, turn)


@_one_at_a_time
def complete_basis(matrix: Float[Array, "d n"]) -> Square:
    """An orthonormal basis of which the first columns span those of a matrix."""
    return jnp.linalg.qr(matrix, mode="complete")[0]
