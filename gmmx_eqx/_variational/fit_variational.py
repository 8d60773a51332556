from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core import inputs
from .._core.aliases import Count, Data, Flag, Scalar, Weighting, Weights
from .._core.describe import check_instance
from .._core.known import constant
from .._core.likes import AmountLike, CountLike, DataLike, SampleWeightLike
from .._core.programs import program
from .._core.results import RESULTS
from .._covariances import wishart
from .._em import Complete, MStep, packed_length
from .._em.noise import Noise
from .._em.solver import as_max_steps, as_tol, settles
from .._fit.error import raise_unless_successful
from .._fit.solution import moved
from .._mixture import as_plain_mixture, GaussianMixture
from .._priors import Dirichlet, Prior, PseudoSamples, StickBreaking
from .._sources import chunk_size, InMemory
from .posterior import Posterior
from .step import VariationalStep


def fit_variational(
    mixture: GaussianMixture,
    x: DataLike,
    prior: Prior,
    *,
    weights: Dirichlet | StickBreaking | None = None,
    sample_weight: SampleWeightLike | None = None,
    tol: AmountLike = 1e-6,
    max_steps: CountLike = 1000,
    samples_per_chunk: int | None = None,
    throw: bool = True,
) -> Posterior:
    r"""The posterior of a mixture's parameters, by variational inference.

    Among all distributions in which components of samples are independent of
    parameters, and weights of means and covariances, it climbs to one that is nearest
    to the posterior. What rises is a lower bound of the log evidence, with all its
    constants: it can be compared over numbers of components, families and priors.

    **Arguments:**

    - `mixture`: where to start. It also says the family, one of `full`, `tied`, `diag`,
        `spherical`, `tied_diag` and `tied_spherical`, and the number of components.
    - `x`: the data, shape `(n_samples, n_features)`.
    - `prior`: a [`gmmx_eqx.Prior`][] with `components`, such as
        `gx.Prior.like_sklearn(x)`. Its `drop_below` is not for this.
    - `weights`: the prior of the weights, a [`gmmx_eqx.Dirichlet`][] or a
        [`gmmx_eqx.StickBreaking`][]; that of `prior` if not given and if it has one, or
        a Dirichlet distribution whose concentration is one over the number of
        components.
    - `sample_weight`: shape `(n_samples,)`. Zero removes a sample, two doubles it.
    - `tol`: stops when the bound per sample grows by less, in nats.
    - `max_steps`: how many steps to take at most, one or more.
    - `samples_per_chunk`, `throw`: as in [`gmmx_eqx.fit`][].

    **Returns:**

    A [`gmmx_eqx.Posterior`][].

    **Raises:**

    `ValueError` for arguments that cannot be right. With `throw`, a
    [`gmmx_eqx.FitError`][] if it does not converge.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
    posterior = gx.fit_variational(start, x, gx.Prior.like_sklearn(x))
    print(posterior.mixture.weights_numpy.round(1), posterior.log_prob(x).shape)
    ```

    ```text
    [0.5 0.5] (200,)
    ```

    ??? cite "Reference"

        Attias (2000), A Variational Bayesian Framework for Graphical Models. NeurIPS
        12. Bishop (2006), Pattern Recognition and Machine Learning, section 10.2.
    """
    mixture = as_plain_mixture(mixture)
    wishart(mixture.covariances, mixture.n_features)
    n_components = mixture.n_components
    x, weight = inputs.as_data(
        x, sample_weight, n_features=mixture.n_features, like=mixture, fits=True
    )
    inputs.check_enough_samples(x, weight, 1)
    check_instance(prior, Prior, "prior", "Prior.like_sklearn(x)")
    if prior.components is None:
        raise ValueError(
            "`prior` must have `components` for a variational fit, such as "
            "`gmmx_eqx.Prior.like_sklearn(x)`; it has none."
        )
    prior.check(mixture.n_features, False)
    if prior.drop_below is not None:
        raise ValueError(
            "`prior.drop_below` is for fits of one mixture. A variational fit has the "
            "weights of components that are not needed near zero; leave it out."
        )
    weights = _as_weights(weights, prior, n_components)
    _, unit = inputs.balance(weight)
    if (unit != 1).any():
        raise ValueError(
            "`sample_weight` must count samples, since `prior` does; some weights are "
            "too large or too small for that. Divide the weights by their mean."
        )
    steps, history_size = as_max_steps(max_steps)
    known = inputs.concrete(steps)
    if known is not None and known < 1:
        raise ValueError(f"`max_steps` must be at least one; got {max_steps!r}.")
    if samples_per_chunk is not None:
        name = "samples_per_chunk"
        samples_per_chunk = inputs.check_count(samples_per_chunk, name)
    posterior = _fit(
        mixture,
        x,
        weight,
        prior,
        weights,
        as_tol(tol),
        steps,
        history_size,
        samples_per_chunk,
    )
    return raise_unless_successful(posterior, posterior) if throw else posterior


def _as_weights(
    weights: Any, prior: Prior, n_components: int
) -> Dirichlet | StickBreaking:
    if weights is None:
        own = prior.weights
        return Dirichlet(constant(1 / n_components)) if own is None else own
    if prior.weights is not None:
        raise ValueError(
            "`weights` and `prior.weights` are both given; leave one of them out."
        )
    if not isinstance(weights, StickBreaking):
        check_instance(weights, Dirichlet, "weights", "Dirichlet(0.1)")
    return weights


class _Climb(eqx.Module):
    """Where the ascent is."""

    mixture: GaussianMixture
    counts: Weights
    bound: Scalar
    bounds: Any
    # How many posteriors there have been, the start not counted.
    n_steps: Count
    stop: Flag
    result: RESULTS
    noise: Noise


@program(lambda mixture, x, *_: mixture.n_components * x.size)
def _fit(
    mixture: GaussianMixture,
    x: Data,
    weight: Weighting,
    prior: Prior,
    weights: Dirichlet | StickBreaking,
    tol: Scalar,
    max_steps: Count,
    history_size: int,
    samples_per_chunk: int | None,
) -> Posterior:
    mixture, x = inputs.common_dtype(mixture, x)
    n_packed = packed_length(mixture.covariances, x.shape[1])
    size = samples_per_chunk or chunk_size(x, n_packed)
    source = InMemory.from_data(x, weight, size)
    e_step = Complete.create(source, mixture.covariances)
    assert prior.components is not None
    pseudo = PseudoSamples.of(prior.components, mixture.covariances, source)
    no_ridge = jnp.zeros_like(source.variances)
    m_step = MStep(source, e_step.is_exact, no_ridge, None, False, None)
    step = VariationalStep(e_step, m_step, pseudo, weights)
    total = source.total

    def turn(climb: _Climb) -> _Climb:
        found = step(climb.mixture, climb.counts)
        first = climb.n_steps == 0
        # Of the start, which is no posterior, there is no bound: the lowest number
        # stands for it, since an infinity less another is NaN.
        lowest = 0.5 * float(jnp.finfo(x.dtype).min)
        bound = found.log_normaliser - found.divergence
        nonfinite = ~jnp.isfinite(found.log_normaliser) | (
            ~jnp.isfinite(bound) & ~first
        )
        bound = jnp.where(first, lowest, bound)
        settled, noise = settles(tol, climb.noise, bound, climb.bound, total)
        settled = settled & ~first
        exhausted = climb.n_steps >= max_steps
        stop = settled | exhausted | nonfinite
        result = RESULTS.where(settled, RESULTS.successful, RESULTS.max_steps_reached)
        result = RESULTS.where(nonfinite, RESULTS.nonfinite, result)
        keep = lambda old, new: jnp.where(stop, old, new)
        # Out of range, which is dropped, before there is one.
        at = jnp.where(first, history_size, climb.n_steps - 1)
        return _Climb(
            jax.tree.map(keep, climb.mixture, found.mixture),
            keep(climb.counts, found.counts),
            bound,
            climb.bounds.at[at].set(bound, mode="drop"),
            climb.n_steps + (~stop).astype(int),
            stop,
            result,
            noise,
        )

    unknown = jnp.full((), -jnp.inf, x.dtype)
    start = moved(mixture, -source.pivot)
    climb = _Climb(
        mixture=start,
        counts=jnp.zeros_like(start.weights),
        bound=unknown,
        bounds=jnp.full((history_size,), unknown),
        n_steps=jnp.array(0),
        stop=jnp.array(False),
        result=RESULTS.nonfinite,
        noise=Noise.none(unknown),
    )
    end = jax.lax.while_loop(lambda climb: ~climb.stop, turn, climb)
    own, shrinkage, degrees = step.parts(end.mixture, end.counts)
    beyond = jnp.arange(history_size) >= end.n_steps
    return Posterior(
        weights=own,
        means=end.mixture.means + source.pivot,
        covariances=end.mixture.covariances,
        shrinkage=shrinkage,
        degrees_of_freedom=degrees,
        bound=end.bound,
        bounds=jnp.where(beyond, end.bound, end.bounds),
        n_steps=end.n_steps,
        result=end.result,
    )
