"""A mixture as a distribution of NumPyro."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs
from .._core.axes import Axis
from .._core.cholesky import cholesky
from .._core.describe import describe
from .._mixture import (
    AbstractGaussianMixture,
    check_mixture,
    check_mixtures,
    GaussianMixture,
)
from .._ops.moments import covariance, mean


try:
    import numpyro.distributions as dist
    from numpyro.distributions.util import validate_sample
except ImportError as _error:
    raise ImportError(
        "This needs NumPyro, which is an optional extra: "
        '`pip install "gmmx_eqx[numpyro]"`.'
    ) from _error


Points = Float[Array, "... features"]


class MixtureDistribution(dist.Distribution):
    """A `numpyro.distributions.Distribution` of the points of a mixture, to be sampled,
    observed or optimised in a model.

    A PyTree whose leaves are those of the mixture, which may be of any kind: a fitted
    one, one built of `numpyro.param` or `numpyro.sample`, or a
    [`gmmx_eqx.UnconstrainedMixture`][].

    **Arguments:**

    - `mixture`: the mixture. The leading axes of an ensemble are the `batch_shape`.
    - `validate_args`: as for any distribution.

    `event_shape` is `(n_features,)`. As for NumPyro's own mixtures `has_rsample` is
    `False`, since samples have no derivative in the weights.
    """

    pytree_data_fields: tuple[str, ...] = ("mixture",)

    def __init__(
        self, mixture: AbstractGaussianMixture, *, validate_args: bool | None = None
    ):
        check_mixtures(mixture)
        self.mixture = mixture
        dist.Distribution.__init__(
            self,
            batch_shape=self.batch_shape,
            event_shape=(mixture.n_features,),
            validate_args=validate_args,
        )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        # Of the mixture as it is now: `vmap` gives and takes axes.
        return self.mixture._means_shape[: -len(Axis)]

    @property
    def support(self) -> Any:
        return dist.constraints.real_vector

    @property
    def has_rsample(self) -> bool:
        return False

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Points:
        """Samples of shape `(*sample_shape, *batch_shape, n_features)`."""
        n_samples = int(np.prod(sample_shape))
        draw = lambda mixture, key: mixture.sample(key, n_samples)
        keys = jr.split(key, self.batch_shape) if self.batch_shape else key
        samples = jnp.moveaxis(self._over_batch(draw, self.mixture, keys), -2, 0)
        return samples.reshape(self.shape(sample_shape))

    @validate_sample
    def log_prob(
        self, value: Any, intermediates: list[Any] | None = None
    ) -> Float[Array, "..."]:
        """Log-densities, in nats, of points of shape `(..., n_features)`."""
        del intermediates
        value = inputs.as_float(value, "value", like=self.mixture)
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"`value` must have shape (..., {self.event_shape[0]}), one number per "
                f"feature; got {value.shape}."
            )
        shape = jnp.broadcast_shapes(value.shape[:-1], self.batch_shape)
        n_batch = len(self.batch_shape)
        batch_shape = shape[len(shape) - n_batch :]
        mixture = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, batch_shape + leaf.shape[n_batch:]),
            self.mixture,
        )
        points = jnp.broadcast_to(value, shape + self.event_shape)
        points = points.reshape(-1, *batch_shape, *self.event_shape)
        of_points = lambda mixture, points: mixture.log_prob(points)
        log_prob = self._over_batch(of_points, mixture, jnp.moveaxis(points, 0, -2))
        return jnp.moveaxis(log_prob, -1, 0).reshape(shape)

    @property
    def mean(self) -> Points:
        """Shape `(*batch_shape, n_features)`."""
        return self._over_batch(mean, self.mixture)

    @property
    def variance(self) -> Points:
        """Of every feature, shape `(*batch_shape, n_features)`."""
        variances = lambda mixture: jnp.diagonal(covariance(mixture))
        return self._over_batch(variances, self.mixture)

    def _over_batch(self, fn: Callable, *args: Any) -> Array:
        for _ in self.batch_shape:
            fn = eqx.filter_vmap(fn)
        return fn(*args)


def to_numpyro(mixture: AbstractGaussianMixture) -> dist.MixtureSameFamily:
    """The same distribution of NumPyro's own parts: `MixtureSameFamily` of a
    `Categorical` and a `MultivariateNormal`."""
    check_mixture(mixture)
    values = mixture.covariances.dense(mixture.n_features)
    shape = (mixture.n_components, mixture.n_features, mixture.n_features)
    lower = jnp.broadcast_to(cholesky(values)[0], shape)
    return dist.MixtureSameFamily(
        dist.Categorical(probs=mixture.weights[0, :, 0, 0]),  # pyright: ignore[reportArgumentType]  # a function there, typed as one
        dist.MultivariateNormal(mixture.means[0, :, :, 0], scale_tril=lower),
    )


def from_numpyro(distribution: dist.Distribution) -> GaussianMixture:
    """The mixture, of full covariances, of a `MixtureSameFamily` of a `Categorical` and
    a `MultivariateNormal`.

    **Raises:**

    `ValueError` if `distribution` is anything else or has a batch shape.
    """
    if not isinstance(distribution, dist.MixtureSameFamily):
        raise ValueError(
            "`distribution` must be one `MixtureSameFamily` of `MultivariateNormal` "
            f"components; got {describe(distribution)}."
        )
    parts = distribution.component_distribution
    if not (
        isinstance(parts, dist.MultivariateNormal) and distribution.batch_shape == ()
    ):
        raise ValueError(
            "`distribution` must be one `MixtureSameFamily` of `MultivariateNormal` "
            f"components; got a `{type(distribution).__name__}` of "
            f"`{type(parts).__name__}`, batch shape {distribution.batch_shape}."
        )
    shape = parts.batch_shape + parts.event_shape
    covariances: Any = parts.covariance_matrix
    return GaussianMixture.from_squeezed(
        means=jnp.broadcast_to(parts.loc, shape),
        covariances=jnp.broadcast_to(covariances, shape + shape[-1:]),
        weights=distribution.mixing_distribution.probs,  # pyright: ignore[reportArgumentType]  # lazy there
    )
