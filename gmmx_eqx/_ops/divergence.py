"""The Kullback-Leibler divergence between mixtures: bounds and an approximation."""

import jax
import jax.numpy as jnp

from .._core import linalg
from .._core.aliases import Scalar, Weights
from .._core.axes import Axis
from .._core.programs import program
from .._mixture import AbstractGaussianMixture
from . import entropy, gaussians, pairwise
from .arguments import check_pair
from .entropy import Bounds
from .gaussians import Pairs


# Of the coupling in the upper bound; each of them gives a bound.
_N_STEPS = 30


def kl_variational(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> Scalar:
    r"""An approximation of $D(p \| q)$, in nats (Hershey and Olsen's variational
    one):

    $$\sum_a w_a \log
      \frac{\sum_{a'} w_{a'} e^{-D(p_a \| p_{a'})}}{\sum_b v_b e^{-D(p_a \| q_b)}}.$$

    Zero if the mixtures are the same, but not a bound: it may be negative.

    **Example:**

    ```python
    p = gx.GaussianMixture.from_squeezed([[0.0]], [1.0], [1.0], "spherical")
    q = gx.GaussianMixture.from_squeezed([[1.0]], [1.0], [1.0], "spherical")
    print(gx.divergences.kl_variational(p, q).round(3))
    ```

    ```text
    0.5
    ```

    ??? cite "Reference"

        Hershey, Olsen (2007), Approximating the Kullback Leibler Divergence Between
        Gaussian Mixture Models. ICASSP.
    """
    return _kl_variational(*check_pair(first, second))


def kl_bounds(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> Bounds:
    r"""Bounds of the Kullback-Leibler divergence $D(p \| q)$, in nats.

    $D(p \| q) = H(p, q) - H(p)$. Jensen's inequality bounds the cross-entropy below and
    a variational one above (Durrieu et al.); of the entropy those of
    [`gmmx_eqx.divergences.entropy_bounds`][] are taken. Below, zero is the other bound.
    Above, it is that of a coupling of the components (Hershey & Olsen's variational
    upper bound): zero where the mixtures are the same.

    ??? cite "Reference"

        Durrieu, Thiran, Kelly (2012), Lower and Upper Bounds for Approximation of the
        Kullback-Leibler Divergence Between Gaussian Mixture Models. ICASSP.

        Hershey, Olsen (2007), Approximating the Kullback Leibler Divergence Between
        Gaussian Mixture Models. ICASSP.
    """
    return _kl_bounds(*check_pair(first, second))


@program()
def _kl_variational(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> Scalar:
    to = lambda other: linalg.log_mix(
        -pairwise.kl(*gaussians.pair(first, other)), other.weights
    )
    return gaussians.average(first.weights, to(first) - to(second))


@program()
def _kl_bounds(
    first: AbstractGaussianMixture, second: AbstractGaussianMixture
) -> Bounds:
    p, q = gaussians.pair(first, second)
    own = entropy.bounds(first)
    mean = lambda values: gaussians.average(first.weights, values)
    divergence = pairwise.kl(p, q)
    jensen = -mean(linalg.log_mix(pairwise.log_overlap(p, q), second.weights))
    closest = linalg.log_mix(-divergence, second.weights)
    variational = mean(pairwise.entropy(p) - closest)
    coupled = _coupled(divergence, first.weights, second.weights)
    lower = jnp.maximum(jensen - own.upper, 0)
    upper = jnp.minimum(variational - own.lower, coupled)
    # Of two equal mixtures both are zero but for rounding.
    return Bounds(lower=lower, upper=jnp.maximum(upper, 0))


def _coupled(divergence: Pairs, weights: Weights, other: Weights) -> Scalar:
    r"""$\sum_{ab} φ_{ab} D(p_a \| q_b) + \sum_b m_b \log (m_b / v_b)$ for a coupling
    $φ$ with the marginals $w$ and $m$.

    This is Hershey and Olsen's bound with their $ψ$ eliminated. Every coupling gives a
    bound; a few steps of theirs make it a good one.
    """
    log_other = linalg.safe_log(other)
    present = other > 0
    rows = gaussians.as_batch(weights)

    def log_ratio(conditional: Pairs) -> Weights:
        marginal = jnp.sum(rows * conditional, axis=Axis.batch, keepdims=True)
        ratio = jnp.where(present, linalg.safe_log(marginal) - log_other, 0)
        # A marginal that underflows: a finite floor, since zero times infinity is NaN.
        return jnp.maximum(ratio, jnp.finfo(rows.dtype).min / 4)

    def step(conditional: Pairs, _: None) -> tuple[Pairs, None]:
        log_conditional = linalg.safe_log(conditional)
        joint = log_conditional - log_ratio(conditional) - divergence
        return jax.nn.softmax(joint, axis=Axis.components), None

    start = jax.nn.softmax(log_other - divergence, axis=Axis.components)
    conditional, _ = jax.lax.scan(step, start, None, length=_N_STEPS)
    cost = jnp.where(conditional > 0, conditional * divergence, 0)
    excess = jnp.where(conditional > 0, conditional * log_ratio(conditional), 0)
    return gaussians.average(
        weights, jnp.sum(cost + excess, axis=Axis.components, keepdims=True)
    )
