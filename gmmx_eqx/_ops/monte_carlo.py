"""Expectations under a mixture from samples of it, with their standard errors."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import inputs
from .._core.aliases import PerDatum, Scalar
from .._core.describe import as_key
from .._core.likes import KeyLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture
from .arguments import check_pair


class Estimate(Pickled, eqx.Module):
    """A mean over samples.

    **Attributes:**

    - `value`: the mean.
    - `standard_error`: the standard deviation of `value`, itself estimated from the
        samples.
    """

    value: Scalar
    standard_error: Scalar


def entropy_monte_carlo(
    mixture: AbstractGaussianMixture, key: KeyLike, n_samples: int
) -> Estimate:
    r"""The differential entropy $-\int p \log p$ from samples, in nats.

    **Arguments:**

    - `key`: a `jax.random` key.
    - `n_samples`: how many; a Python integer of at least two.

    Its gradient is unbiased in all parameters of components that have weight: through
    the samples in means and covariances, through the weight of each sample's component
    in the weights.
    """
    check_mixture(mixture)
    key = as_key(key)
    n_samples = _check_n_samples(n_samples)
    return _entropy(mixture, key, n_samples)


def kl_monte_carlo(
    first: AbstractGaussianMixture,
    second: AbstractGaussianMixture,
    key: KeyLike,
    n_samples: int,
) -> Estimate:
    r"""The Kullback-Leibler divergence $D(p \| q) = \int p \log (p / q)$ from samples
    of `first`, in nats.

    Arguments and gradients as for [`gmmx_eqx.divergences.entropy_monte_carlo`][]. The
    value is unbiased, and so may be negative where the divergence is small.

    **Example:**

    ```python
    p = gx.GaussianMixture.from_squeezed([[0.0]], [1.0], [1.0], "spherical")
    q = gx.GaussianMixture.from_squeezed([[1.0]], [1.0], [1.0], "spherical")
    estimate = gx.divergences.kl_monte_carlo(p, q, jr.key(0), 10_000)
    print(estimate.value.round(1))
    ```

    ```text
    0.5
    ```
    """
    first, second = check_pair(first, second)
    key = as_key(key)
    n_samples = _check_n_samples(n_samples)
    return _kl(first, second, key, n_samples)


def _check_n_samples(n_samples: int) -> int:
    n_samples = inputs.check_count(n_samples, "n_samples")
    if n_samples < 2:
        raise ValueError("`n_samples` must be at least 2 for a standard error; got 1.")
    return n_samples


@program()
def _entropy(mixture: AbstractGaussianMixture, key: Any, n_samples: int) -> Estimate:
    return _mean(mixture, lambda x: -mixture.log_prob(x), key, n_samples)


@program()
def _kl(
    first: AbstractGaussianMixture,
    second: AbstractGaussianMixture,
    key: Any,
    n_samples: int,
) -> Estimate:
    log_ratio = lambda x: first.log_prob(x) - second.log_prob(x)
    return _mean(first, log_ratio, key, n_samples)


def _mean(
    mixture: AbstractGaussianMixture, fn: Any, key: Any, n_samples: int
) -> Estimate:
    x, labels = mixture.sample_labelled(key, n_samples)
    values: PerDatum = fn(x)
    error = jnp.std(values, ddof=1) / n_samples**0.5
    # One, with the derivative that the number of samples of a component would have.
    weights = mixture.weights[0, :, 0, 0][labels]
    ratio = weights / jax.lax.stop_gradient(weights)
    return Estimate(jnp.mean(ratio * values), error)
