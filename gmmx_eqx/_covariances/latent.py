"""Sums over samples for the M-step of low-rank covariances."""

import equinox as eqx
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import (
    Means,
    PerComponentFlag,
    PerFeature,
    PerSample,
    Residuals,
    Values,
    Weights,
)
from .._core.axes import as_columns, Axis
from .woodbury import Woodbury


class LatentMoments(eqx.Module):
    r"""Second moments of the two parts of a residual, $r = F z + y$: the latent
    coordinates $z = β r$ that the covariances before the M-step expect, and the rest.

    The scatter matrix is $S = T + E F^T + F E^T + F B F^T$. In float32, noise and
    changes of factors would be lost in it: they come from differences of its elements,
    and are themselves of the size of $T$ and $E$.

    **Attributes:**

    - `latent`: $B = \sum r_{nk} z z^T$, shape `(1, components, rank, rank)`.
    - `cross`: $E = \sum r_{nk} y z^T$, shape `(1, components, features, rank)`.
    - `rest`: $T = \sum r_{nk} y y^T$, shape `(1, components, features, features)`; or
        its diagonal alone, shape `(1, components, features, 1)`.
    """

    latent: Values
    cross: Values
    rest: Values

    @classmethod
    def of(
        cls,
        factors: Values,
        whitening: Woodbury,
        residuals: Residuals,
        resp: PerSample,
        square: bool,
    ) -> "LatentMoments":
        """Sums over samples.

        **Arguments:**

        - `square`: whether to sum square matrices for the rest.
        """
        columns = as_columns(residuals)
        latent = linalg.matmul(whitening.regression, columns)
        rest = columns - linalg.matmul(factors, latent)
        weight = as_columns(resp)
        return cls(
            latent=linalg.matmul(weight * latent, linalg.transpose(latent)),
            cross=linalg.matmul(weight * rest, linalg.transpose(latent)),
            rest=_products(weight * rest, rest, square),
        )

    @property
    def is_square(self) -> bool:
        """Whether the rest is a square matrix."""
        return self.rest.shape[-1] == self.rest.shape[-2]

    @property
    def rest_diagonal(self) -> Values:
        return linalg.diagonal_of(self.rest) if self.is_square else self.rest

    def about_mean(
        self, factors: Values, whitening: Woodbury, count: Weights, shift: Means
    ) -> "LatentMoments":
        """Means over samples about their own mean, at `shift` from the pivot."""
        latent = linalg.matmul(whitening.regression, shift)
        rest = shift - linalg.matmul(factors, latent)
        mean = lambda total: linalg.safe_divide(total, count)
        across = linalg.transpose(latent)
        return LatentMoments(
            latent=mean(self.latent) - latent * across,
            cross=mean(self.cross) - rest * across,
            rest=mean(self.rest) - _products(rest, rest, self.is_square),
        )

    def where(self, flag: PerComponentFlag, other: "LatentMoments") -> "LatentMoments":
        """These for the components of the mask, and `other` for the rest of them."""
        return LatentMoments(
            latent=jnp.where(flag, self.latent, other.latent),
            cross=jnp.where(flag, self.cross, other.cross),
            rest=jnp.where(flag, self.rest, other.rest),
        )

    def add_noise(
        self, factors: Values, whitening: Woodbury, variances: PerFeature
    ) -> "LatentMoments":
        """Means over samples with independent noise of these variances."""
        regression = whitening.regression
        back = variances * linalg.transpose(regression)
        latent = linalg.matmul(regression, back)
        onto = linalg.matmul(factors, latent)
        if self.is_square:
            lost = linalg.matmul(factors, linalg.transpose(back))
            rest = linalg.diagonal(variances) - lost - linalg.transpose(lost)
            rest = rest + linalg.matmul(onto, linalg.transpose(factors))
        else:
            rest = variances + _sum(factors * (onto - 2 * back))
        return LatentMoments(
            self.latent + latent, self.cross + back - onto, self.rest + rest
        )

    def change_factors(self, change: Values, root: Values) -> "LatentMoments":
        r"""The same samples with $r = F' z' + y'$ for $F' = (F + G) L$ and
        $z' = L^{-1} z$, where $G$ is the `change` and $L^{-1}$ the `root`."""
        moved = linalg.matmul(change, self.latent)
        across = linalg.matmul(self.cross - 0.5 * moved, linalg.transpose(change))
        back = linalg.transpose(root)
        return LatentMoments(
            latent=linalg.matmul(linalg.matmul(root, self.latent), back),
            cross=linalg.matmul(self.cross - moved, back),
            rest=self.rest - across - linalg.transpose(across),
        )

    def change_regression(
        self, factors: Values, whitening: Woodbury
    ) -> "LatentMoments":
        r"""The same samples with $z' = β r$ for the regression of these covariances,
        of which `factors` are those of the decomposition."""
        # z' - z = β y - (I + A^T A)^{-1} z, which is small after a small change.
        regression, posterior = whitening.regression, whitening.latent
        by_rest = linalg.matmul(regression, self.rest)
        by_rest = by_rest - linalg.matmul(posterior, linalg.transpose(self.cross))
        by_latent = linalg.matmul(regression, self.cross)
        by_latent = by_latent - linalg.matmul(posterior, self.latent)
        own = linalg.matmul(by_rest, linalg.transpose(regression))
        own = linalg.symmetrise(own - linalg.matmul(by_latent, posterior))
        half = linalg.matmul(factors, by_rest - 0.5 * _onto(own, factors))
        return LatentMoments(
            latent=self.latent + by_latent + linalg.transpose(by_latent) + own,
            cross=self.cross
            + linalg.transpose(by_rest)
            - linalg.matmul(factors, by_latent + own),
            rest=self.rest - half - linalg.transpose(half),
        )


def expected(factors: Values, whitening: Woodbury, square: bool) -> LatentMoments:
    """Means over samples whose scatter matrix is the covariance itself."""
    posterior = whitening.latent
    eye = jnp.eye(posterior.shape[-1], dtype=posterior.dtype)[None, None]
    cross = linalg.matmul(factors, posterior)
    noise = jnp.broadcast_to(whitening.scale**-2, (*factors.shape[:-1], 1))
    if square:
        rest = linalg.diagonal(noise)
        rest = rest - linalg.matmul(cross, linalg.transpose(factors))
    else:
        rest = noise - _sum(cross * factors)
    return LatentMoments(eye - posterior, cross, rest)


def _products(left: Values, right: Values, square: bool) -> Values:
    """Of two sets of columns: the product of one with the other transposed, or its
    diagonal."""
    if square:
        return linalg.matmul(left, linalg.transpose(right))
    return _sum(left * right)


def _onto(own: Values, factors: Values) -> Values:
    return linalg.matmul(own, linalg.transpose(factors))


def _sum(rows: Values) -> Values:
    return jnp.sum(rows, axis=Axis.features_covar, keepdims=True)
