"""Covariance families that the library does not ship, written as a user would."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import gmmx_eqx as gx
from gmmx_eqx import Axis


Variances = Float[Array, "batch=1 components=1 features features_covar=1"]


class PlainCovariances(gx.extend.AbstractCovariances):
    """One variance per feature, the same for all components, in a field of any name."""

    spread: Variances
    type: ClassVar[str] = "plain"

    @classmethod
    def create(cls, n_components, n_features, device=None):
        return cls(jax.device_put(jnp.ones((1, 1, n_features, 1)), device))

    def whitening(self, n_features, tolerant=False):
        positive = jnp.where(self.spread > 0, self.spread, jnp.nan)
        return gx.extend.Diagonal(1 / jnp.sqrt(positive), n_features)

    @property
    def variances(self):
        return self.spread

    def dense(self, n_features):
        return self.spread * jnp.eye(n_features, dtype=self.spread.dtype)[None, None]

    def colour(self, noise, labels):
        return noise * jnp.sqrt(self.spread)

    @property
    def n_parameters(self):
        return self.n_features

    def statistic(self, residuals, resp):
        axes = (Axis.batch, Axis.components)
        return jnp.sum(resp * residuals**2, axis=axes, keepdims=True)

    def estimate(self, moments, reg_covar):
        between = jnp.sum(
            moments.count * moments.shift**2, axis=Axis.components, keepdims=True
        )
        total = jnp.where(moments.total > 0, moments.total, 1)
        return type(self)((moments.second - between) / total + reg_covar)


class PackedCovariances(PlainCovariances):
    """The same, by a name of its own: a packing rule cannot be taken back."""

    type: ClassVar[str] = "packed"


class VolumeCovariances(gx.extend.AbstractCovariances):
    r"""$Σ_k = λ_k \operatorname{diag}(a)$: a volume per component, and a shape that all
    components share, whose logarithms have mean zero."""

    volume: Float[Array, "batch=1 components features=1 features_covar=1"]
    shape: Variances
    type: ClassVar[str] = "volume"

    @classmethod
    def create(cls, n_components, n_features, device=None):
        volume = jnp.ones((1, n_components, 1, 1))
        shape = jnp.ones((1, 1, n_features, 1))
        return cls(*jax.device_put((volume, shape), device))

    def whitening(self, n_features, tolerant=False):
        variances = self.variances
        positive = jnp.where(variances > 0, variances, jnp.nan)
        return gx.extend.Diagonal(1 / jnp.sqrt(positive), n_features)

    @property
    def variances(self):
        return self.volume * self.shape

    def dense(self, n_features):
        eye = jnp.eye(n_features, dtype=self.volume.dtype)
        return self.variances * eye[None, None]

    def colour(self, noise, labels):
        volume = jnp.take_along_axis(self.volume, labels, Axis.components)
        return noise * jnp.sqrt(volume * self.shape)

    @property
    def n_parameters(self):
        return self.n_components + self.n_features - 1

    def statistic(self, residuals, resp):
        squares = resp * residuals**2
        total = jnp.sum(squares, axis=Axis.batch, keepdims=True)
        return jnp.broadcast_to(total, (1, *total.shape[1:]))

    def estimate(self, moments, reg_covar):
        # Each is the most likely given the other, so that the likelihood never falls.
        scatter = moments.second - moments.count * moments.shift**2
        scatter = scatter + moments.count * reg_covar
        n_features = scatter.shape[Axis.features]
        counts = jnp.where(moments.count > 0, moments.count, 1)
        relative = jnp.sum(scatter / self.shape, axis=Axis.features, keepdims=True)
        volume = relative / (counts * n_features)
        volume = jnp.where(moments.count > 0, volume, self.volume)
        shape = jnp.sum(scatter / volume, axis=Axis.components, keepdims=True)
        shape = shape / jnp.where(moments.total > 0, moments.total, 1)
        centre = jnp.mean(jnp.log(shape), axis=Axis.features, keepdims=True)
        return VolumeCovariances(volume * jnp.exp(centre), shape / jnp.exp(centre))


def register():
    for family in (PlainCovariances, PackedCovariances, VolumeCovariances):
        gx.extend.register_covariance(family)


def unregister():
    for family in (PlainCovariances, PackedCovariances, VolumeCovariances):
        del gx.COVARIANCE[family.type]
