"""Samples of which not everything is known, as a mixture is asked about them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs, linalg
from .._core.aliases import Means, Scalar, Weights
from .._core.programs import program
from .._core.weights import Unit
from .._covariances import AbstractCovariances, DiagCovariances
from .._sources import (
    check_coverage,
    check_features,
    features_of,
    Layout,
    Observed,
    Record,
    Records,
)
from .incomplete import dense_of, see, Seen


class Latent(eqx.Module):
    """Observed samples, as a mixture is asked about them.

    **Attributes:**

    - `observed`: the samples.
    - `layout`: in order.
    """

    observed: Observed
    layout: Layout

    @classmethod
    def of(cls, observed: Observed, n_components: int, n_features: int) -> "Latent":
        """**Raises:**

        `ValueError` if they are not of so many features.
        """
        check_features(observed, n_features)
        return cls(observed, Layout.in_order(observed, n_components))

    def log_density(
        self, means: Means, covariances: AbstractCovariances
    ) -> Float[Array, "1 k 1 n"]:
        r"""$\log N(y_n | H μ_k, T_k)$ of what was seen, in nats."""
        of_record = lambda seen, record: seen.log_density
        return self._map(means, covariances, of_record)[None, :, None]

    def mean(
        self, weights: Weights, means: Means, covariances: AbstractCovariances
    ) -> Float[Array, "n d"]:
        """$E[x | y_n]$ of every sample."""
        _, k, d, _ = means.shape
        dense = dense_of(covariances, k, d)

        def of_record(seen: Seen, record: Record) -> Array:
            log_density = seen.log_density[None, :, None]
            resp = linalg.responsibilities(log_density, weights)[0, :, 0]
            push = seen.pull
            if record.operator is not None:
                push = jnp.sum(record.operator[None] * push[:, :, None], axis=1)
            own = means[0] + linalg.matmul(dense, push)
            return jnp.sum(resp[:, None] * own, axis=0)

        return self._map(means, covariances, of_record).T

    def _map(
        self,
        means: Means,
        covariances: AbstractCovariances,
        fn: Callable[[Seen, Record], Array],
    ) -> Array:
        _, k, d, _ = means.shape
        dense = dense_of(covariances, k, d)
        records = Records.create(self.observed, self.layout, d, is_fitted=False)
        run = lambda record: fn(see(means, dense, record), record)
        return records.map(run, self.observed.n_samples)


def of_observed(mixture: Any, observed: Observed, fn: Callable[..., Any]) -> Any:
    """`fn` of the log-densities of what was seen.

    **Arguments:**

    - `mixture`: an `AbstractGaussianMixture`.
    - `fn`: from log-densities of every component, and weights.
    """
    latent = Latent.of(observed, mixture.n_components, mixture.n_features)
    return _per_sample(mixture, latent, fn)


def total_of_observed(
    mixture: Any, observed: Observed, sample_weight: Any, fn: Callable[..., Any]
) -> tuple[Scalar, Scalar, Unit]:
    """The sums of `fn` over the samples of which anything was seen, and of the weights
    of all; and the weights' unit."""
    check_no_weight(sample_weight)
    weight, unit = inputs.balance(observed.sample_weight)
    values = of_observed(mixture, observed, fn)
    return *_sum(values, weight, observed.y), unit


def check_no_weight(sample_weight: Any) -> None:
    """Raises a `ValueError` if weights are given beside `Observed`."""
    if sample_weight is not None:
        raise ValueError(
            "`sample_weight` must be given to `gmmx_eqx.Observed`, which holds the "
            "samples."
        )


def as_complete(x: Any, sample_weight: Any) -> tuple[Any, Any]:
    """What starts take in the place of `Observed`: the mean of every sample given what
    was seen of it, by a single normal with the mean and the variances of all that was
    seen."""
    if not isinstance(x, Observed):
        return x, sample_weight
    check_no_weight(sample_weight)
    n_features = features_of(x)
    check_coverage(x, n_features, 1)
    return program()(completed)(Latent.of(x, 1, n_features), n_features)


def completed(
    latent: Latent, n_features: int
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """The same of checked data, inside of a program."""
    observed = latent.observed
    facts = Records.create(observed, latent.layout, n_features)
    variances = jnp.where(facts.variances > 0, facts.variances, 1)
    one = jnp.ones((1, 1, 1, 1), variances.dtype)
    mean = latent.mean(one, facts.pivot, DiagCovariances(variances))
    weight = observed.sample_weight
    seen = jnp.any(~jnp.isnan(observed.y), axis=1).astype(mean.dtype)
    return mean, seen if weight is None else seen * weight


@program()
def _per_sample(mixture: Any, latent: Latent, fn: Callable[..., Any]) -> Any:
    mixture, latent = inputs.common_dtype(mixture, latent)
    density = latent.log_density(mixture.means, mixture.covariances)
    return fn(density, mixture.weights)


@program()
def _sum(
    values: Float[Array, " n"],
    weight: Float[Array, " n"] | None,
    y: Float[Array, "n m"],
) -> tuple[Scalar, Scalar]:
    values = jnp.where(jnp.all(jnp.isnan(y), axis=1), 0, values)
    if weight is None:
        return jnp.sum(values), jnp.asarray(values.size, values.dtype)
    weight = weight.astype(values.dtype)
    # Zero times -inf is NaN.
    present = (weight > 0) | jnp.isfinite(values)
    return jnp.sum(jnp.where(present, weight * values, 0)), jnp.sum(weight)
