"""Covariances near given ones, as functions of changes of their free parameters."""

import dataclasses
import functools as ft
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import lapack, linalg
from .._core.aliases import Values
from .._core.cholesky import cholesky
from .._core.jacobi import Axes, diagonal_in, eigh, from_axes, rotation
from .abstract import AbstractCovariances
from .axis_parallel import EVICovariances, VEICovariances
from .common_axes import AbstractCommonAxes
from .low_rank import AbstractLowRank
from .oriented import (
    EEVCovariances,
    EVVCovariances,
    VEECovariances,
    VEVCovariances,
)
from .parsimonious import AbstractParsimonious
from .unconstrained import constrain, unconstrain


Changes = Float[Array, " parameters"]
Varied: TypeAlias = Callable[[Changes], AbstractCovariances]


@ft.singledispatch
def varied(covariances: AbstractCovariances) -> Varied:
    """From changes of the free parameters to the covariances of the family that have
    changed by so much.

    Changes are as many numbers as there are free parameters, without units; one
    component after the other where components share nothing. Whatever they are, the
    covariances are of the family: second derivatives of a likelihood in them would else
    not be those within the family.

    **Arguments:**

    - `covariances`: where all changes are zero.

    **Raises:**

    `NotImplementedError` for a family of one's own that has no rule for `constrain`,
    or whose coordinates are not its free parameters.
    """
    shape = unconstrain(covariances, covariances).shape
    if np.prod(shape) != covariances.n_parameters:
        family = type(covariances).__name__
        raise NotImplementedError(
            f"`gmmx_eqx.extend.unconstrain` gives {np.prod(shape)} coordinates for "
            f"`{family}`, which has {covariances.n_parameters} free parameters: its "
            "standard errors are not known. Register a rule with as many coordinates."
        )
    return lambda changes: constrain(covariances, changes.reshape(shape))


@varied.register(VEICovariances)
@varied.register(EVICovariances)
def _(covariances):
    def at(changes):
        volume, shape, _ = _change_of_logarithms(covariances, changes)
        values = covariances.values * jnp.exp(volume + shape)
        return eqx.tree_at(lambda c: c.values, covariances, values)

    return at


@varied.register(EEVCovariances)
@varied.register(VEVCovariances)
def _(covariances):
    # In ascending order: the shape that all share has one order.
    return _turned(covariances, eigh(covariances.values)[1])


@varied.register(AbstractCommonAxes)
def _(covariances):
    return _turned(covariances, covariances.axes)


@varied.register(VEECovariances)
@varied.register(EVVCovariances)
def _(covariances):
    # A shape and an orientation that go together need no axes, which are not unique
    # where two variances are equal: a triangular factor of determinant one has both.
    d = covariances.n_features
    lower = cholesky(covariances.values)
    rows, cols = np.tril_indices(d, -1)

    def at(changes):
        volume, shape, rest = _change_of_logarithms(covariances, changes)
        below = rest.reshape(1, -1, rows.size)
        r = jnp.zeros((1, below.shape[1], d, d), changes.dtype)
        r = r.at[..., rows, cols].set(below) + linalg.diagonal(jnp.exp(0.5 * shape))
        moved = jnp.exp(0.5 * volume) * linalg.matmul(lower, r)
        values = linalg.symmetrise(linalg.matmul(moved, linalg.transpose(moved)))
        return eqx.tree_at(lambda c: c.values, covariances, values)

    return at


def _turned(covariances: AbstractParsimonious, axes: Axes) -> Varied:
    """With other volumes, shapes and orientations.

    **Arguments:**

    - `axes`: of the covariances, of each component or of all.
    """
    d = covariances.n_features
    variances = diagonal_in(covariances.values, axes)
    rows, cols = np.tril_indices(d, -1)

    def at(changes: Changes) -> AbstractCovariances:
        volume, shape, rest = _change_of_logarithms(covariances, changes)
        angles = rest.reshape(1, -1, rows.size)
        turn = jnp.zeros((1, angles.shape[1], d, d), changes.dtype)
        turn = turn.at[..., rows, cols].set(angles)
        turn = linalg.matmul(axes, rotation(turn - linalg.transpose(turn)))
        values = from_axes(variances * jnp.exp(volume + shape), turn)
        return eqx.tree_at(lambda c: c.values, covariances, values)

    return at


def _change_of_logarithms(
    covariances: AbstractParsimonious, changes: Changes
) -> tuple[
    Float[Array, "1 _ 1 1"], Float[Array, "1 _ features 1"], Float[Array, " rest"]
]:
    """By how much logarithms of variances change, through volumes and through shapes;
    and the changes that are left."""
    k, d = covariances.n_components, covariances.n_features
    times = {"E": 1, "V": k}
    of_volume, of_shape = (times[letter] for letter in covariances.type[:2])
    end = of_volume + of_shape * (d - 1)
    volume = changes[:of_volume].reshape(1, -1, 1, 1)
    shape = changes[of_volume:end].reshape(1, -1, d - 1, 1)
    basis = jnp.asarray(contrasts(d), changes.dtype)[None, None]
    return 2 * volume, 2 * linalg.matmul(basis, shape), changes[end:]


def contrasts(n: int) -> Float[np.ndarray, "n rest"]:
    """An orthonormal basis of all changes of `n` numbers that leave their sum."""
    # Helmert's.
    rows = np.arange(n)[:, None]
    columns = np.arange(1, n)[None]
    basis = np.where(rows < columns, 1.0, np.where(rows == columns, -columns, 0))
    return basis / np.sqrt(columns * (columns + 1))


@varied.register(AbstractLowRank)
def _(covariances):
    factors, noise = covariances.factors, covariances.noise
    units = jnp.sqrt(noise)
    basis = _unturned(factors / units)
    n_factors = basis.shape[-1]

    def at(changes):
        numbers = changes.reshape(factors.shape[1], -1)
        move = linalg.matmul(basis, numbers[:, :n_factors, None])
        logarithms = numbers[:, n_factors:].reshape(noise.shape)
        return dataclasses.replace(
            covariances,
            factors=factors + move.reshape(factors.shape) * units,
            noise=noise * jnp.exp(2 * logarithms),
        )

    return at


def _unturned(factors: Values) -> Float[Array, "components numbers rest"]:
    """An orthonormal basis of all changes of factors $F$, row by row, at right angles
    to $F S$ with antisymmetric $S$: those are rotations, which change no covariance."""
    _, k, d, rank = factors.shape
    if rank == 1:
        return jnp.broadcast_to(jnp.eye(d, dtype=factors.dtype), (k, d, d))
    turns = np.zeros((rank * (rank - 1) // 2, rank, rank))
    rows, cols = np.tril_indices(rank, -1)
    turns[np.arange(rows.size), rows, cols] = 1
    turns[np.arange(rows.size), cols, rows] = -1
    turned = linalg.matmul(factors[0, :, None], jnp.asarray(turns, factors.dtype)[None])
    turned = linalg.transpose(turned.reshape(k, rows.size, d * rank))
    basis = jax.vmap(lapack.complete_basis)(turned)
    return basis[..., rows.size :]
