import abc
import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import chunks, inputs, linalg
from .._core.aliases import (
    check_array,
    PerFeature,
    PerSample,
    Residuals,
    SampleLabels,
    Samples,
    SquareValues,
    Statistic,
    Values,
)
from .._core.axes import as_columns, Axis
from .._core.cholesky import cholesky
from .._core.triangular import inverse_lower
from .._moments import Moments
from .abstract import AbstractCovariances
from .components import where_components
from .fields import annotation_of, fields_of
from .latent import expected, LatentMoments
from .woodbury import Woodbury


Factors = Float[Array, "batch=1 components features rank"]

# Up to so many features, or so many for each dimension of the rank, square matrices are
# summed: they cost little more than columns, and a step can go further with them.
_FEW, _FEW_FOR_EACH = 32, 4
# How often factors and noise are then improved for one sum over the samples. With 8
# features and rank 3, one took 1478 steps where ten took 614 and thirty 426; with 30
# features and rank 4, 36, 6 and 5. Thirty take longer in all.
_N_INNER = 10
# What the factors of one chunk of samples may hold, and fewest samples of a chunk.
_CHUNK_BYTES, _SMALLEST = 2 * 2**20, 64


class AbstractLowRank(AbstractCovariances):
    r"""Covariances of low rank plus noise, $Σ_k = F_k F_k^T + Ψ_k$, with $F_k$ of shape
    `(features, rank)` and diagonal $Ψ_k$.

    No operation of a fit or a density makes a matrix of the size of the features,
    unless they are few.

    The M-step is one of parameter-expanded EM, in which the likelihood never falls.
    First the covariance gets the scale $c$ that is most likely given its form. Then,
    with the latent coordinates $z = β r$, $β = F^T Σ^{-1}$, of a residual $r$, the
    scatter matrix $S$ of one sample and $γ = I - β F + β S β^T$,

    $$F' = S β^T γ^{-1} γ^{1/2}, \qquad Ψ' = \operatorname{diag}(S - F' F'^T),$$

    computed as changes of $F$ (see `LatentMoments`). With few features it is repeated.

    ??? cite "Reference"

        Ghahramani, Hinton (1996), The EM Algorithm for Mixtures of Factor Analyzers.
        Technical Report CRG-TR-96-1, University of Toronto.

        McLachlan, Peel, Bean (2003), Modelling High-Dimensional Data by Mixtures of
        Factor Analyzers. Computational Statistics and Data Analysis 41(3-4), 379-388.

        Liu, Rubin, Wu (1998), Parameter Expansion to Accelerate EM: the PX-EM
        Algorithm. Biometrika 85(4), 755-770.
    """

    factors: eqx.AbstractVar[Factors]
    noise: eqx.AbstractVar[Values]
    compared: ClassVar[bool] = False

    def __check_init__(self) -> None:
        for name in ("factors", "noise"):
            annotation = annotation_of(type(self), name)
            check_array(name, getattr(self, name), annotation)

    @classmethod
    @abc.abstractmethod
    def _of(cls, factors: Factors, noise: Values) -> "AbstractLowRank":
        """The same family."""

    @classmethod
    def create(
        cls, n_components: int, n_features: int, device: Any = None, *, rank: int = 1
    ) -> "AbstractLowRank":
        """Nearly identity matrices, on `device`.

        **Arguments:**

        - `rank`: the number of columns of the factors.
        """
        # Factors of zero would stay there. Cosines have every direction in them.
        i, j = np.arange(n_features)[:, None], np.arange(rank)[None]
        wave = np.cos(np.pi * (i + 0.5) * (j + 1 / 3) / n_features)
        wave = wave / (2 * np.sqrt(np.sum(wave**2, axis=0)))
        shape = (1, n_components, n_features, rank)
        factors = jnp.broadcast_to(jnp.asarray(wave, float), shape)
        alike = Axis.features in fields_of(cls)["noise"]
        noise = jnp.ones((1, n_components, 1 if alike else n_features, 1))
        return cls._of(*jax.device_put((factors, noise), device))

    @property
    def rank(self) -> int:
        """Number of columns of the factors."""
        return self.factors.shape[-1]

    def whitening(self, n_features: int, tolerant: bool = False) -> Woodbury:
        del tolerant
        return Woodbury.of(self.factors, self.noise, n_features)

    @property
    def variances(self) -> Values:
        own = jnp.sum(self.factors**2, axis=Axis.features_covar, keepdims=True)
        return own + self.noise

    def dense(self, n_features: int) -> SquareValues:
        product = linalg.matmul(self.factors, linalg.transpose(self.factors))
        shape = (1, self.n_components, n_features, 1)
        return product + linalg.diagonal(jnp.broadcast_to(self.noise, shape))

    def colour(self, noise: Samples, labels: SampleLabels) -> Samples:
        colouring = self.whitening(self.n_features).colouring
        if self.n_components == 1:
            return as_columns(colouring.apply(as_columns(noise)))

        def colour_chunk(chunk: tuple[Samples, SampleLabels]) -> Samples:
            noise, labels = chunk
            index = labels[:, 0, 0, 0]
            own = jax.tree.map(lambda leaf: leaf[0, index][:, None], colouring)
            return own.apply(noise)

        n_numbers = 2 * self.n_features * self.rank
        bytes_per_sample = n_numbers * noise.dtype.itemsize
        size = chunks.length(bytes_per_sample, _CHUNK_BYTES, _SMALLEST)
        return chunks.map_chunks(colour_chunk, (noise, labels), size)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: a rotation of the factors changes nothing. No more
        than those of a full matrix."""
        d, q = self.n_features, self.rank
        own = d * q - q * (q - 1) // 2 + self.noise.shape[Axis.features]
        return self.n_components * min(own, d * (d + 1) // 2)

    def statistic(self, residuals: Residuals, resp: PerSample) -> Statistic:
        whitening = self.whitening(self.n_features)
        square = self.sums_squares
        return LatentMoments.of(self.factors, whitening, residuals, resp, square)

    def estimate(self, moments: Moments, reg_covar: PerFeature) -> "AbstractLowRank":
        if self._has_noise_alike:
            reg_covar = jnp.mean(reg_covar, axis=Axis.features, keepdims=True)
        whitening = self.whitening(self.n_features)
        second: LatentMoments = moments.second
        means = second.about_mean(self.factors, whitening, moments.count, moments.shift)
        # What derivatives meet must be finite without any samples, too.
        occupied = moments.count > 0
        own = expected(self.factors, whitening, means.is_square)
        # The ridge is noise that is added to the samples: the most likely covariance is
        # then their scatter matrix plus the ridge, if the rank allows.
        ridge = jnp.broadcast_to(reg_covar, (1, 1, self.n_features, 1))
        means = means.where(occupied, own).add_noise(self.factors, whitening, ridge)
        if not means.is_square:
            improved, _ = self._improved(whitening, means, reg_covar)
            return where_components(occupied, improved, self)

        def improve(_, carry):
            covariances, whitening, means = carry
            covariances, means = covariances._improved(whitening, means, reg_covar)
            whitening = covariances.whitening(self.n_features)
            means = means.change_regression(covariances.factors, whitening)
            return covariances, whitening, means

        carry = self, whitening, means
        improved, _, _ = jax.lax.fori_loop(0, _N_INNER, improve, carry)
        return where_components(occupied, improved, self)

    def _improved(
        self, whitening: Woodbury, means: LatentMoments, reg_covar: PerFeature
    ) -> tuple["AbstractLowRank", LatentMoments]:
        """One step of parameter-expanded EM, and the samples by the new factors.

        **Arguments:**

        - `whitening`: of these covariances.
        - `means`: of the samples, by these covariances.
        - `reg_covar`: the least noise.
        """
        rest, posterior = means.rest_diagonal, whitening.latent
        # The mean of r^T Σ^{-1} r by D, by which the scale of the covariance is wrong:
        # r^T Σ^{-1} r = y^T Ψ^{-1} y + z^T z.
        own = jnp.broadcast_to(rest / self.noise, rest.shape)
        own = jnp.sum(own, axis=Axis.features, keepdims=True)
        scale = own + jnp.sum(
            linalg.diagonal_of(means.latent), axis=Axis.features, keepdims=True
        )
        scale = scale / self.n_features
        # Not further down than the ridge lets the noise follow: the step would be back
        # where it began, or worse.
        held = jnp.max(reg_covar / self.noise, axis=Axis.features, keepdims=True)
        held = jax.lax.stop_gradient(jnp.minimum(held, 1))
        scale = jnp.maximum(scale, held)
        scale = jnp.where(scale > 0, scale, 1)
        root_scale = jnp.sqrt(scale)
        factors = root_scale * self.factors
        means = LatentMoments(
            means.latent / scale, means.cross / root_scale, means.rest
        )
        # γ, the second moment of the latent coordinates, which the factors take over.
        second = linalg.symmetrise(posterior + means.latent)
        lower = cholesky(second)
        inverse = inverse_lower(lower)
        change = means.cross - linalg.matmul(factors, posterior)
        change = linalg.matmul(
            linalg.matmul(change, linalg.transpose(inverse)), inverse
        )
        new = factors + change
        moved = linalg.matmul(change, means.latent) - 2 * means.cross
        unknown = linalg.matmul(new, posterior)
        noise = jnp.sum(
            moved * change + unknown * new, axis=Axis.features_covar, keepdims=True
        )
        noise = rest + noise
        if self._has_noise_alike:
            noise = jnp.mean(noise, axis=Axis.features, keepdims=True)
        # The most likely noise that is not less than the ridge.
        noise = jnp.maximum(noise, reg_covar)
        improved = self._of(linalg.matmul(new, lower), noise)
        if not means.is_square:
            return improved, means
        return improved, means.change_factors(change, inverse)

    @property
    def sums_squares(self) -> bool:
        """Whether the rest of its statistic is square matrices."""
        return self.n_features <= max(_FEW, _FEW_FOR_EACH * (self.rank + 1))

    @property
    def _has_noise_alike(self) -> bool:
        return Axis.features in fields_of(type(self))["noise"]


class LowRankCovariances(AbstractLowRank):
    r"""Factor analysers: $Σ_k = F_k F_k^T + Ψ_k$ with a noise variance per feature.

    **Attributes:**

    - `factors`: $F_k$, shape `(1, components, features, rank)`, in data units.
    - `noise`: the diagonal of $Ψ_k$, shape `(1, components, features, 1)`, in squared
        data units.
    """

    factors: Factors
    noise: Float[Array, "batch=1 components features features_covar=1"]
    type: ClassVar[str] = "low_rank"

    @classmethod
    def _of(cls, factors: Factors, noise: Values) -> "LowRankCovariances":
        return cls(factors, noise)


class LowRankSphericalCovariances(AbstractLowRank):
    r"""Probabilistic principal components: $Σ_k = F_k F_k^T + σ_k^2 I$.

    **Attributes:**

    - `factors`: $F_k$, shape `(1, components, features, rank)`, in data units.
    - `noise`: $σ_k^2$, shape `(1, components, 1, 1)`, in squared data units.

    ??? cite "Reference"

        Tipping, Bishop (1999), Mixtures of Probabilistic Principal Component Analysers.
        Neural Computation 11(2), 443-482.
    """

    factors: Factors
    noise: Float[Array, "batch=1 components features=1 features_covar=1"]
    type: ClassVar[str] = "low_rank_spherical"

    @classmethod
    def _of(cls, factors: Factors, noise: Values) -> "LowRankSphericalCovariances":
        return cls(factors, noise)


_CLASSES = {"diag": LowRankCovariances, "spherical": LowRankSphericalCovariances}


@dataclasses.dataclass(frozen=True)
class LowRank:
    """Low-rank covariances of a chosen rank, to be given as a `covariance_type`.

    **Attributes:**

    - `rank`: the number of columns of the factors.
    - `noise`: `"diag"` for a variance of the noise per feature, `"spherical"` for one
        that all features share.
    """

    rank: int
    noise: str = "diag"

    def __post_init__(self) -> None:
        inputs.check_count(self.rank, "rank")
        if self.noise not in _CLASSES:
            raise ValueError(
                f"`noise` must be one of {', '.join(map(repr, _CLASSES))}; got "
                f"{self.noise!r}."
            )

    @property
    def type(self) -> str:
        """The name under which the family is registered."""
        return _CLASSES[self.noise].type

    def create(
        self, n_components: int, n_features: int, device: Any = None
    ) -> AbstractLowRank:
        """Nearly identity matrices, on `device`."""
        family = _CLASSES[self.noise]
        return family.create(n_components, n_features, device, rank=self.rank)
