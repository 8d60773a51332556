r"""Covariances as numbers without constraints and units, relative to a reference.

$Σ = L_0 R R^T L_0^T$, where $L_0 L_0^T$ is the reference and $R$ is lower triangular
with logarithms of its diagonal for coordinates. A factor of the covariance, not of the
precision: products of it round each element to within eps of the variances, however
near to singular the matrix is, where an inverse multiplies errors by its condition.
Covariances that hold their factor, `AbstractCholesky`, go from factor to factor.
Relative to a reference, so that a step of any size is that many widths: in the units of
the data it would be nothing to one feature and far too much to the next.
"""

import dataclasses
import functools as ft

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._core import linalg
from .._core.aliases import Values
from .._core.cholesky import cholesky, inverse_cholesky
from .abstract import AbstractCovariances
from .factored import AbstractCholesky
from .independent import AbstractIndependent
from .low_rank import AbstractLowRank
from .matrices import AbstractMatrices


# `singledispatch` rather than methods, so that a family defined outside this package
# can take part without editing `AbstractCovariances`.
@ft.singledispatch
def unconstrain(
    covariances: AbstractCovariances, reference: AbstractCovariances
) -> Values:
    """Coordinates of covariances: as many finite numbers as there are free parameters,
    four axes with components on theirs, zero at the reference.

    **Arguments:**

    - `covariances`: what to find coordinates of.
    - `reference`: of the same family.

    Register a rule for a family of your own with `unconstrain.register`, or take over
    that of another: `unconstrain.dispatch(gmmx_eqx.DiagCovariances)` is right for any
    variances.
    """
    del reference
    raise _no_rule(covariances, "unconstrain")


@ft.singledispatch
def constrain(
    reference: AbstractCovariances, coordinates: Values
) -> AbstractCovariances:
    """The covariances with these coordinates, which may be any numbers: the inverse of
    [`gmmx_eqx.extend.unconstrain`][], to be registered with it."""
    del coordinates
    raise _no_rule(reference, "constrain")


def _no_rule(covariances: AbstractCovariances, name: str) -> NotImplementedError:
    family = type(covariances).__name__
    return NotImplementedError(
        f"`{family}` has no rule for `{name}`. Register one: "
        f"`gmmx_eqx.extend.{name}.register({family})`."
    )


def _logarithms(
    covariances: AbstractIndependent, reference: AbstractIndependent
) -> Values:
    return 0.5 * jnp.log(covariances.values / reference.values)


def _variances(
    reference: AbstractIndependent, coordinates: Values
) -> AbstractCovariances:
    values = reference.values * jnp.exp(2 * coordinates)
    return eqx.tree_at(lambda c: c.values, reference, values)


def _triangle(covariances: AbstractMatrices, reference: AbstractMatrices) -> Values:
    u = reference.whitening(reference.n_features).factor
    eye = jnp.eye(u.shape[-1], dtype=u.dtype)[None, None]
    difference = covariances.values - reference.values
    # Not of the covariances alone: at the reference it has no rounding errors.
    relative = eye + linalg.matmul(linalg.matmul(linalg.transpose(u), difference), u)
    return _coordinates(linalg.matmul(relative, inverse_cholesky(relative)))


def _triangle_of_factors(
    covariances: AbstractCholesky, reference: AbstractCholesky
) -> Values:
    u = reference.whitening(reference.n_features).factor
    eye = jnp.eye(u.shape[-1], dtype=u.dtype)[None, None]
    # As above.
    difference = covariances.scale_tril - reference.scale_tril
    return _coordinates(eye + linalg.matmul(linalg.transpose(u), difference))


def _coordinates(r: Values) -> Values:
    """Of a lower triangular $R$."""
    r = linalg.map_diagonal(jnp.log, r)
    rows, cols = np.tril_indices(r.shape[-1])
    return r[..., rows, cols][..., None]


def _relative_factor(coordinates: Values, d: int) -> Values:
    """$R$ of its coordinates."""
    rows, cols = np.tril_indices(d)
    position = np.zeros((d, d), int)
    position[rows, cols] = np.arange(rows.size)
    # A scatter of every number takes a CPU several times as long.
    r = jnp.tril(coordinates[..., 0][..., position])
    return linalg.map_diagonal(jnp.exp, r)


def _matrices(reference: AbstractMatrices, coordinates: Values) -> AbstractCovariances:
    r = _relative_factor(coordinates, reference.n_features)
    lower = linalg.matmul(cholesky(reference.values), r)
    values = linalg.symmetrise(linalg.matmul(lower, linalg.transpose(lower)))
    return eqx.tree_at(lambda c: c.values, reference, values)


def _factors(reference: AbstractCholesky, coordinates: Values) -> AbstractCovariances:
    r = _relative_factor(coordinates, reference.n_features)
    lower = linalg.matmul(reference.scale_tril, r)
    return eqx.tree_at(lambda c: c.scale_tril, reference, lower)


def _factors_and_noise(
    covariances: AbstractLowRank, reference: AbstractLowRank
) -> Values:
    """Changes of the factors in units of the noise, and logarithms of the noise, in one
    column."""
    change = covariances.factors - reference.factors
    change = change / jnp.sqrt(reference.noise)
    *lead, _, _ = change.shape
    logarithms = 0.5 * jnp.log(covariances.noise / reference.noise)
    return jnp.concatenate([change.reshape(*lead, -1, 1), logarithms], axis=-2)


def _low_rank(reference: AbstractLowRank, coordinates: Values) -> AbstractCovariances:
    n_noise = reference.noise.shape[-2]
    change, logarithms = coordinates[..., :-n_noise, :], coordinates[..., -n_noise:, :]
    change = change.reshape(reference.factors.shape) * jnp.sqrt(reference.noise)
    return dataclasses.replace(
        reference,
        factors=reference.factors + change,
        noise=reference.noise * jnp.exp(2 * logarithms),
    )


unconstrain.register(AbstractLowRank)(_factors_and_noise)
constrain.register(AbstractLowRank)(_low_rank)
unconstrain.register(AbstractIndependent)(_logarithms)
constrain.register(AbstractIndependent)(_variances)
unconstrain.register(AbstractMatrices)(_triangle)
constrain.register(AbstractMatrices)(_matrices)
unconstrain.register(AbstractCholesky)(_triangle_of_factors)
constrain.register(AbstractCholesky)(_factors)
