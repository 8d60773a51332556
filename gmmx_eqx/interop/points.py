"""A mixture as other packages see a distribution: one point at a time."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import check_shape, Scalar
from .._mixture import AbstractGaussianMixture, check_mixture


Point = Float[Array, " features"]


def log_prob(mixture: AbstractGaussianMixture, x: Any) -> Scalar:
    """The log-density of one point, shape `(n_features,)`."""
    check_mixture(mixture)
    x = inputs.as_float(x, "x", like=mixture)
    if x.shape != (mixture.n_features,):
        raise ValueError(
            f"`x` must be one point, shape ({mixture.n_features},); got {x.shape}. For "
            "many use `jax.vmap`."
        )
    return mixture.log_prob(x[None])[0]


def sample(mixture: AbstractGaussianMixture, key: Any) -> Point:
    return mixture.sample(key, 1)[0]


def log_density(
    mixture: AbstractGaussianMixture,
    log_likelihood: Callable[[Point], Scalar] | None = None,
) -> Callable[[Point], Scalar]:
    r"""The function of one point that BlackJAX and other samplers ask for.

    **Arguments:**

    - `mixture`: the density, or the prior if there is a likelihood.
    - `log_likelihood`: $\log p(y | x)$, a function of a point of shape `(n_features,)`,
        in nats.

    **Returns:**

    A function of a point of shape `(n_features,)`: $\log p(x)$, or
    $\log p(x) + \log p(y | x)$, which is the posterior's log-density but for a
    constant. Its negative is NumPyro's `potential_fn`.
    """
    check_mixture(mixture)

    def of_point(x: Any) -> Scalar:
        value = log_prob(mixture, x)
        if log_likelihood is None:
            return value
        likelihood = jnp.asarray(log_likelihood(x), value.dtype)
        check_shape(likelihood, ())
        return value + likelihood

    return of_point
