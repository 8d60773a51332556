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
from . import matrices
from .abstract import AbstractCovariances
from .fields import annotation_of, fields_of
from .woodbury import Woodbury


Factors = Float[Array, "batch=1 components features rank"]

# Up to so many features, or so many for each dimension of the rank, the whole scatter
# is summed: it costs little more than its products, and steps can go further with it.
_FEW, _FEW_FOR_EACH = 32, 4
# How often factors and noise are improved for one sum over the samples.
_N_INNER = 10
# What the factors of one chunk of samples may hold, and fewest samples of a chunk.
_CHUNK_BYTES, _SMALLEST = 2 * 2**20, 64


class Projected(eqx.Module):
    r"""Sums over samples that replace the scatter matrix $S_k$ where that is large.

    **Attributes:**

    - `products`: $S_k β_k^T$ with $β_k = F_k^T Σ_k^{-1}$, shape `(1, components,
        features, rank)`.
    - `squares`: the diagonal of $S_k$, shape `(1, components, features, 1)`.
    """

    products: Values
    squares: Values


class AbstractLowRank(AbstractCovariances):
    r"""Covariances of low rank plus noise, $Σ_k = F_k F_k^T + Ψ_k$, with $F_k$ of shape
    `(features, rank)` and diagonal $Ψ_k$.

    No operation of a fit or a density makes a matrix of the size of the features,
    unless they are few.

    The M-step is one of parameter-expanded EM, in which the likelihood never falls: the
    scale of the covariance that is most likely given its form, then factors and noise
    given the latent coordinates of the samples. With few features it is repeated.

    ??? cite "Reference"

        Ghahramani, Hinton (1996), The EM Algorithm for Mixtures of Factor Analyzers.
        Technical Report CRG-TR-96-1, University of Toronto.

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
        whitening = self.whitening(self.n_features)
        if self.n_components == 1:
            return as_columns(whitening.colour(as_columns(noise)))

        def colour_chunk(chunk: tuple[Samples, SampleLabels]) -> Samples:
            noise, labels = chunk
            index = labels[:, 0, 0, 0]
            own = jax.tree.map(lambda leaf: leaf[0, index][:, None], whitening)
            return own.colour(noise)

        n_numbers = self.n_features * self.rank
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
        columns = as_columns(residuals)
        if self._sums_scatter:
            return matrices.scatter(residuals, resp)
        weighted = as_columns(resp) * columns
        projected = linalg.matmul(self._regression, columns)
        return Projected(
            products=linalg.matmul(weighted, linalg.transpose(projected)),
            squares=jnp.sum(weighted * columns, axis=-1, keepdims=True),
        )

    @property
    def _sums_scatter(self) -> bool:
        return self.n_features <= max(_FEW, _FEW_FOR_EACH * (self.rank + 1))

    @property
    def _regression(self) -> Values:
        r"""$β = F^T Σ^{-1}$, which predicts latent coordinates."""
        solved = self.whitening(self.n_features).solve(self.factors)
        return linalg.transpose(solved)

    def estimate(self, moments: Moments, reg_covar: PerFeature) -> "AbstractLowRank":
        shift, count = moments.shift, moments.count
        mean = lambda total: linalg.safe_divide(total, count)
        occupied = count > 0
        if isinstance(moments.second, Projected):
            regression = self._regression
            inner = linalg.matmul(linalg.transpose(shift), linalg.transpose(regression))
            products = mean(moments.second.products) - shift * inner
            squares = mean(moments.second.squares) - shift**2
            return self._improved(regression, products, squares, reg_covar, occupied)
        scatter = mean(moments.second) - shift * linalg.transpose(shift)
        squares = linalg.diagonal_of(scatter)

        def improve(_, covariances):
            regression = covariances._regression
            products = linalg.matmul(scatter, linalg.transpose(regression))
            return covariances._improved(
                regression, products, squares, reg_covar, occupied
            )

        return jax.lax.fori_loop(0, _N_INNER, improve, self)

    def _improved(
        self,
        regression: Values,
        products: Values,
        squares: Values,
        reg_covar: PerFeature,
        occupied: Array,
    ) -> "AbstractLowRank":
        """One step of parameter-expanded EM, given $S β^T$ and the diagonal of $S$."""
        n_features = self.n_features
        reg = jnp.broadcast_to(reg_covar, squares.shape)
        # As if the ridge were noise that the samples have: the scale must know of it.
        squares = squares + reg
        products = products + reg * linalg.transpose(regression)
        fitted = linalg.matmul(regression, self.factors)
        spread = linalg.matmul(regression, products)
        eye = jnp.eye(self.rank, dtype=spread.dtype)[None, None]
        # tr(Σ^{-1} S) / D, by which the scale of the covariance is wrong:
        # Σ^{-1} = Ψ^{-1} (I - F β).
        trace = jnp.sum(squares / self.noise, axis=Axis.features, keepdims=True)
        lost = jnp.sum(
            self.factors * products / self.noise,
            axis=(Axis.features, Axis.features_covar),
            keepdims=True,
        )
        scale = jnp.maximum((trace - lost) / n_features, 0)
        scale = jnp.where(occupied & (scale > 0), scale, 1)
        root = jnp.sqrt(scale)
        products, spread = products / root, spread / scale
        latent = linalg.symmetrise(eye - fitted + spread)
        inverse = inverse_lower(cholesky(latent))
        # F = S β^T γ^{-1}, times the root of γ.
        factors = linalg.matmul(products, linalg.transpose(inverse))
        explained = jnp.sum(factors**2, axis=Axis.features_covar, keepdims=True)
        noise = jnp.maximum(squares - explained, 0)
        if Axis.features in fields_of(type(self))["noise"]:
            noise = jnp.mean(noise, axis=Axis.features, keepdims=True)
        return self._of(
            jnp.where(occupied, factors, self.factors),
            jnp.where(occupied, noise, self.noise),
        )


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
