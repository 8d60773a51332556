"""Samples that are differentiable in every parameter, the weights among them."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr

from .._core import inputs
from .._core.aliases import Count, Data, Samples, Scalar
from .._core.axes import Axis
from .._core.describe import as_key
from .._core.likes import AmountLike, KeyLike
from .._core.programs import program
from .._covariances import take_components
from .._mixture import AbstractGaussianMixture, check_mixture
from . import line, quantiles


def sample_implicit(
    mixture: AbstractGaussianMixture, key: KeyLike, n_samples: int
) -> Data:
    r"""The samples of `mixture.sample`, of one feature, with unbiased pathwise
    derivatives in the weights too.

    **Arguments:**

    - `key`: a `jax.random` key.
    - `n_samples`: how many; a Python integer of at least one.

    Every sample is taken for the quantile of a fixed probability, so that
    $dx / dθ = -(\partial F / \partial θ) / p(x)$. The weights' derivatives are those of
    weights divided by their sum. A sample near another mode's edge moves far: where
    components hardly overlap, the variance of these derivatives is large.

    For more features, multiply the function whose mean is wanted by
    `w / jax.lax.stop_gradient(w)`, the weight of each sample's component from
    `sample_labelled`: the score function's derivatives.

    ??? cite "Reference"

        Figurnov, Mohamed, Mnih (2018), Implicit Reparameterization Gradients. NeurIPS.

        Graves (2016), Stochastic Backpropagation through Mixture Density Distributions.
        arXiv:1607.05690.
    """
    line.check_line(mixture)
    key = as_key(key)
    n_samples = inputs.check_count(n_samples, "n_samples")
    return _sample_implicit(mixture, key, n_samples)


@program()
def _sample_implicit(
    mixture: AbstractGaussianMixture, key: Any, n_samples: int
) -> Data:
    x = jax.lax.stop_gradient(mixture.sample(key, n_samples))
    samples = inputs.as_samples(x)
    parameters = line.as_line(mixture, x)
    # The probability is fixed: only its derivative, which is zero, would be used.
    return quantiles.attach(parameters, jnp.zeros_like(samples), samples)[:, 0, :, 0]


def sample_relaxed(
    mixture: AbstractGaussianMixture,
    key: KeyLike,
    n_samples: int,
    temperature: AmountLike,
) -> Data:
    r"""Samples of which each is a mean over components, so that they are differentiable
    in the weights; shape `(n_samples, n_features)`.

    $x = \sum_k y_k (μ_k + L_k ε)$ with
    $y = \operatorname{softmax}((\log w + g) / τ)$, where $g$ are Gumbel's and $ε$
    normal random numbers and $Σ_k = L_k L_k^T$.

    **Arguments:**

    - `key`: a `jax.random` key.
    - `n_samples`: how many; a Python integer of at least one.
    - `temperature`: $τ > 0$. As it goes to zero the samples become the mixture's own,
        and the variance of the derivatives grows without bound.

    ??? cite "Reference"

        Jang, Gu, Poole (2017), Categorical Reparameterization with Gumbel-Softmax.
        ICLR.

        Maddison, Mnih, Teh (2017), The Concrete Distribution. ICLR.
    """
    check_mixture(mixture)
    key = as_key(key)
    n_samples = inputs.check_count(n_samples, "n_samples")
    temperature = inputs.as_nonnegative(temperature, "temperature")
    number = inputs.concrete(temperature)
    if number is not None and number == 0:
        raise ValueError("`temperature` must be positive; got 0. Use `sample`.")
    return _sample_relaxed(mixture, key, n_samples, temperature)


@program()
def _sample_relaxed(
    mixture: AbstractGaussianMixture, key: Any, n_samples: int, temperature: Scalar
) -> Data:
    dtype = mixture.means.dtype
    key_gumbel, key_noise = jr.split(key)
    shape = (n_samples, mixture.n_components, 1, 1)
    gumbel = jr.gumbel(key_gumbel, shape, dtype)
    # -inf divided by the temperature would have a derivative of NaN.
    present = mixture.weights > 0
    log_weights = jnp.where(present, mixture.log_weights, 0)
    logits = (log_weights + gumbel) / temperature.astype(dtype)
    logits = jnp.where(present, logits, -jnp.inf)
    share = jax.nn.softmax(logits, axis=Axis.components)
    noise = jr.normal(key_noise, (n_samples, 1, mixture.n_features, 1), dtype)
    covariances = mixture.covariances
    labels = jnp.zeros((n_samples, 1, 1, 1), int)

    # One component at a time: a sample of each would be as many times the memory.
    def add(total: Samples, k: Count) -> tuple[Samples, None]:
        own = take_components(covariances, k[None])
        coloured = own.colour(noise, labels)
        return total + share[:, k[None]] * (mixture.means[:, k[None]] + coloured), None

    components = jnp.arange(mixture.n_components)
    total, _ = jax.lax.scan(jax.checkpoint(add), jnp.zeros_like(noise), components)
    return total[:, 0, :, 0]
