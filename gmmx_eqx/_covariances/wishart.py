r"""Wishart distributions of the precisions of each family: what their expectations,
divergences and samples need."""

import functools as ft
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import digamma, gammaln, multigammaln
from jaxtyping import Array, Float

from .._core import linalg
from .._core.aliases import Values
from .._core.cholesky import cholesky
from .._core.triangular import inverse_lower
from .abstract import AbstractCovariances
from .components import has_features_alike
from .full import FullCovariances
from .independent import AbstractIndependent
from .parsimonious import AbstractParsimonious
from .tied import TiedCovariances


# A number for every precision, of which one may serve all components, or one number.
Numbers: TypeAlias = Float[Array, "..."]


class Wishart(eqx.Module):
    r"""The kind of distribution that the precision of a component has: a Wishart
    distribution, of a matrix; or a gamma distribution of each of some numbers.

    With $ν$ degrees of freedom and the expectation $\tilde{Σ}^{-1}$.

    **Attributes:**

    - `n_features`: the number of features, $D$.
    - `n_own`: how many numbers on the diagonal are its own: one if all features are
        alike, and $D$ otherwise.
    - `is_matrix`: whether there is more than a diagonal.
    """

    n_features: int = eqx.field(static=True)
    n_own: int = eqx.field(static=True)
    is_matrix: bool = eqx.field(static=True)

    @property
    def n_alike(self) -> int:
        """How many degrees of freedom a sample adds."""
        return self.n_features // self.n_own

    def log_ratio(self, degrees: Numbers) -> Numbers:
        r"""$\operatorname{E} \log |Σ^{-1}| + \log |\tilde{Σ}|$, which is negative."""
        gap = self._digamma(degrees) - self.n_own * jnp.log(0.5 * degrees)
        return self.n_alike * gap

    def log_normaliser(self, degrees: Numbers, log_det: Numbers) -> Numbers:
        r"""The logarithm of the constant of the density.

        **Arguments:**

        - `log_det`: $\log |\tilde{Σ}|$.
        """
        half = 0.5 * degrees
        own = log_det / self.n_alike + self.n_own * jnp.log(half)
        return half * own - self._log_gamma(half)

    def divergence(
        self,
        degrees: Numbers,
        log_det: Numbers,
        before: Numbers,
        log_normaliser: Numbers,
        trace: Numbers,
    ) -> Numbers:
        r"""The Kullback-Leibler divergence from another one of the same kind.

        **Arguments:**

        - `degrees`, `log_det`: of this one.
        - `before`: the degrees of freedom of the other.
        - `log_normaliser`: of the other.
        - `trace`: $\operatorname{tr}(Λ \tilde{Σ}^{-1})$ with the scale of the other,
            over how many features are alike.
        """
        expected = self._digamma(degrees) - self.n_own * jnp.log(0.5 * degrees)
        expected = expected - log_det / self.n_alike
        own = self.log_normaliser(degrees, log_det) - log_normaliser
        gap = 0.5 * (degrees - before) * expected
        return own + gap + 0.5 * (trace - degrees * self.n_own)

    def _log_gamma(self, half: Numbers) -> Numbers:
        if self.is_matrix:
            return multigammaln(half, self.n_features)
        return self.n_own * gammaln(half)

    def _digamma(self, degrees: Numbers) -> Numbers:
        half = 0.5 * degrees
        if not self.is_matrix:
            return self.n_own * digamma(half)
        # Side by side: one after the other, a program would grow with the features.
        index = jnp.arange(self.n_features, dtype=half.dtype)
        index = index.reshape(-1, *[1] * half.ndim)
        return jnp.sum(digamma(half[None] - 0.5 * index), axis=0)


# `singledispatch` rather than methods, so that a family defined outside this package
# can take part.
@ft.singledispatch
def wishart(covariances: AbstractCovariances, n_features: int) -> Wishart:
    """The kind of distribution that is conjugate to a family.

    **Raises:**

    `ValueError` if there is none.
    """
    del n_features
    raise ValueError(
        f"`mixture` is of the family {str(covariances.type)!r}, which has no conjugate "
        "distribution. Use `full`, `tied`, `diag`, `spherical`, `tied_diag` or "
        "`tied_spherical`, or `gmmx_eqx.fit` with a prior, which has all families."
    )


@wishart.register(AbstractParsimonious)
def _(covariances, n_features):
    return wishart.dispatch(object)(covariances, n_features)


@wishart.register(FullCovariances)
@wishart.register(TiedCovariances)
def _(covariances, n_features):
    del covariances
    return Wishart(n_features, n_features, True)


@wishart.register(AbstractIndependent)
def _(covariances, n_features):
    n_own = 1 if has_features_alike(covariances) else n_features
    return Wishart(n_features, n_own, False)


@ft.singledispatch
def draw(
    covariances: AbstractCovariances, key: Any, degrees: Numbers
) -> AbstractCovariances:
    r"""Covariances whose precisions are random.

    **Arguments:**

    - `covariances`: the inverses of the expected precisions.
    - `degrees`: of freedom.
    """
    del key, degrees
    raise NotImplementedError(f"`draw` has no rule for {type(covariances)}.")


@draw.register(FullCovariances)
@draw.register(TiedCovariances)
def _(covariances, key, degrees):
    # Bartlett (1933): a lower triangular factor of a Wishart matrix.
    values: Values = covariances.values
    d = values.shape[-1]
    key_diagonal, key_below = jr.split(key)
    index = jnp.arange(d).reshape(1, 1, d, 1).astype(values.dtype)
    squares = 2 * jr.gamma(key_diagonal, 0.5 * (degrees - index), dtype=values.dtype)
    below = jnp.tril(jr.normal(key_below, values.shape, values.dtype), -1)
    lower = below + linalg.diagonal(jnp.sqrt(squares))
    root = linalg.matmul(
        cholesky(degrees * values), linalg.transpose(inverse_lower(lower))
    )
    product = linalg.symmetrise(linalg.matmul(root, linalg.transpose(root)))
    return type(covariances)(product)


@draw.register(AbstractIndependent)
def _(covariances, key, degrees):
    values: Values = covariances.values
    shape = jnp.broadcast_to(0.5 * degrees, values.shape)
    gamma = jr.gamma(key, shape, dtype=values.dtype)
    return type(covariances)(values=shape / gamma * values)
