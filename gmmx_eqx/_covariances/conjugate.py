r"""Inverse Wishart densities of the covariances of each family."""

import functools as ft
import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import gammaln, multigammaln
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Scalar
from .abstract import AbstractCovariances
from .components import has_features_alike
from .independent import AbstractIndependent


class Conjugate(eqx.Module):
    r"""A density of covariances, $\log p(Σ) = c - \frac{e}{2} \log |Σ| - \frac{s}{2}
    \operatorname{tr}(Λ Σ^{-1})$.

    **Attributes:**

    - `degrees`: the degrees of freedom.
    - `exponent`: $e$.
    - `share`: $s$.
    - `log_normaliser`: $c$, in nats.
    - `order`: by how much $c$ grows for a degree of freedom if $\log Λ$ grows by one.
    """

    degrees: Scalar
    exponent: Scalar
    share: float = eqx.field(static=True)
    log_normaliser: Scalar
    order: float = eqx.field(static=True)


# `singledispatch` rather than a method, so that a family defined outside this package
# needs no rule.
@ft.singledispatch
def conjugate(
    covariances: AbstractCovariances, degrees: Scalar, root: Float[Array, "1 1 d d"]
) -> Conjugate:
    r"""The family's own form of an inverse Wishart density: that density itself, of
    matrices; an inverse gamma density of every variance, where features are
    independent. Of matrices of some form alone the density is that of all matrices,
    whose integral over these is not one.

    **Arguments:**

    - `covariances`: only their family counts.
    - `degrees`: the degrees of freedom, $ν$.
    - `root`: lower triangular $L$ with $Λ = L L^T$, the scale matrix.
    """
    del covariances
    d = root.shape[-1]
    log_det = 2 * jnp.sum(jnp.log(linalg.diagonal_of(root)))
    half = 0.5 * degrees
    normaliser = half * (log_det - d * math.log(2)) - multigammaln(half, d)
    return Conjugate(degrees, degrees + d + 1, 1.0, normaliser, d / 2)


@conjugate.register(AbstractIndependent)
def _(covariances, degrees, root):
    d = root.shape[-1]
    scales = jnp.sum(root**2, axis=-1)
    n_own = d
    if has_features_alike(covariances):
        scales, n_own = jnp.mean(scales, axis=-1), 1
    half = 0.5 * degrees
    normaliser = half * jnp.sum(jnp.log(0.5 * scales)) - n_own * gammaln(half)
    alike = d // n_own
    return Conjugate(degrees, (degrees + 2) / alike, 1 / alike, normaliser, n_own / 2)
