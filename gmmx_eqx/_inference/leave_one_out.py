from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._core import chunks, linalg
from .._core.aliases import Count, Data, Flag, PerDatum, SampleWeight, Scalar
from .._core.likes import DataLike, SampleWeightLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._core.trees import where
from .._em import Frozen
from .._em.implicit import advance
from .._fit import Solution
from .._fit.options import Options
from .._fit.solution import moved
from .._mixture import GaussianMixture
from .._priors import Prior
from .._sources import InMemory
from .checks import check_fitted, check_verdict, Verdict
from .coordinates import Coordinates, Numbers
from .information import information, inverse, log_prob, scores


# What the mixtures of one chunk of samples may hold, and fewest samples of a chunk.
_CHUNK_BYTES, _SMALLEST = 8 * 2**20, 16
# Multiplications in the steps of EM that are taken, in all: a second or two of a CPU.
_PRODUCTS = 2**32


class LeaveOneOut(Pickled, eqx.Module):
    """What a fit would be without each of its samples.

    **Attributes:**

    - `log_probs`: the log-density of every sample under the mixture fitted without it,
        in nats, shape `(n_samples,)`.
    - `leverages`: by how much the log-density of every sample is raised by itself, to
        first order, shape `(n_samples,)`.
    - `score`: the mean of `log_probs`, with the weights of samples: what `score` of the
        mixture would be for new data.
    - `shifts`: by how much leaving out a sample moves each free parameter to first
        order, in coordinates without units, shape `(n_samples, parameters)`.
    - `coordinates`: those that `shifts` are in.
    - `improved`: which samples have a mixture that a step of EM has improved, those of
        the largest leverages first, shape `(improved,)`.
    - `improved_mixtures`: these mixtures, an ensemble.
    """

    log_probs: PerDatum
    leverages: PerDatum
    score: Scalar
    shifts: Float[Array, "batch parameters"]
    coordinates: Coordinates
    improved: Int[Array, " improved"]
    improved_mixtures: GaussianMixture

    @property
    def mixtures(self) -> GaussianMixture:
        """The mixtures without each of the samples, an ensemble."""
        mixtures = _mixtures(self.coordinates, self.shifts)
        put = lambda leaf, better: leaf.at[self.improved].set(better)
        return jax.tree.map(put, mixtures, self.improved_mixtures)


def leave_one_out(
    solution: Solution,
    x: DataLike,
    *,
    sample_weight: SampleWeightLike | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
) -> LeaveOneOut:
    r"""The fits without each of the samples, and their cross-validated score, from one
    fit to all of them.

    Leaving out a sample moves the parameters by $-I^{-1} \nabla \ell_n$, to first
    order, with the information $I$ of [`gmmx_eqx.standard_errors`][] and the
    log-density $\ell_n$. Its own log-density falls by the leverage $\nabla \ell_n^T
    I^{-1} \nabla \ell_n$, and by what the mixture that has moved says beyond that.
    The sum of all leverages is what Takeuchi's criterion has in place of the number of
    parameters.

    What is missing is of second order in the leverage. So from where the sample's
    absence has moved the parameters, one step of EM without it is taken: for all
    samples if there are some thousands, and if there are more for those of the largest
    leverages, as `improved` says. A step is a pass over the samples, and all steps
    together are at most about $2^{32}$ multiplications, a second or two.

    **Arguments:**

    - `solution`: of one fit, which has converged.
    - `x`, `sample_weight`, `equal_weights`, `prior`, `frozen`: as they were given to
        the fit. Of a sample of weight two, a weight of one is left out; a sample of
        weight a half is left out as a whole.

    **Returns:**

    A [`gmmx_eqx.uncertainty.LeaveOneOut`][]. Where a leverage is more than about one, a
    component rests on that sample: [`gmmx_eqx.bootstrap`][] with `kind="jackknife"`
    fits without it. While tracing, what would be an error is NaN.

    **Raises:**

    `ValueError` as [`gmmx_eqx.standard_errors`][].

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (100, 1))
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x)
    out = gx.leave_one_out(solution, x)
    print(f"{solution.mixture.score(x):.3f} {out.score:.3f}")
    ```

    ```text
    -1.359 -1.378
    ```

    ??? cite "Reference"

        Cook, Weisberg (1982), Residuals and Influence in Regression. Chapman & Hall.

        Giordano, Stephenson, Liu, Jordan, Broderick (2019), A Swiss Army Infinitesimal
        Jackknife. AISTATS. PMLR 89, 1139-1147.

        Stone (1977), An Asymptotic Equivalence of Choice of Model by Cross-Validation
        and Akaike's Criterion. JRSS B 39(1), 44-47.
    """
    fitted = check_fitted(solution, x, sample_weight, equal_weights, frozen, prior)
    coordinates, data, weight, n_samples, options = fitted
    # The samples that pad the data count, so that it is the same program.
    n_improved = min(len(data), max(_PRODUCTS // _products(coordinates, data), 1))
    args = data, weight, options, solution.converged, n_improved
    found = _leave_one_out(coordinates, *args)
    check_verdict(found.verdict, coordinates.mixture, data[:n_samples])
    own = lambda leaf: leaf[:n_samples]
    log_probs = own(found.log_probs)
    if sample_weight is not None:
        # Samples of weight zero were not in the fit, and not in the data here.
        others = coordinates.mixture.log_prob(x)
        log_probs = jnp.where(own(weight) > 0, log_probs, others)
    return LeaveOneOut(
        log_probs,
        own(found.leverages),
        found.score,
        own(found.shifts),
        coordinates,
        own(found.improved),
        jax.tree.map(own, found.improved_mixtures),
    )


def _products(coordinates: Coordinates, x: Data) -> int:
    """Multiplications in a step of EM."""
    return 2 * coordinates.mixture.means.size * x.size


class _Found(NamedTuple):
    log_probs: PerDatum
    leverages: PerDatum
    score: Scalar
    shifts: Float[Array, "batch parameters"]
    improved: Int[Array, " improved"]
    improved_mixtures: GaussianMixture
    verdict: Verdict


@program(lambda coordinates, x, *_: x.size)
def _leave_one_out(
    coordinates: Coordinates,
    x: Data,
    weight: SampleWeight,
    options: Options,
    converged: Flag,
    n_improved: int,
) -> _Found:
    about = information(coordinates, x, weight, options)
    inverted = inverse(about.observed)
    verdict = Verdict.of(coordinates, about, inverted)
    own = scores(coordinates, x)
    # Of the samples that pad the data nothing is left out.
    left_out = jnp.minimum(weight, 1)
    shifts = -left_out[:, None] * linalg.matmul(own, inverted.matrix)
    shifts = jnp.where(converged & verdict.is_maximum, shifts, jnp.nan)
    leverages = -jnp.sum(shifts * own, axis=1)
    chart = coordinates.chart()
    one = lambda shift, x: log_prob(chart(shift), x[None])[0]
    bytes_per_sample = 4 * coordinates.mixture.means.size * x.shape[1] * 8
    size = chunks.length(bytes_per_sample, _CHUNK_BYTES, _SMALLEST)
    log_probs = chunks.map_chunks(lambda both: jax.vmap(one)(*both), (shifts, x), size)
    _, improved = jax.lax.top_k(jnp.where(weight > 0, leverages, -1), n_improved)
    # Those of weight zero, and so what pads the data, come last.
    args = shifts[improved], improved
    mixtures, better = _improved(coordinates, x, weight, options, *args)
    log_probs = log_probs.at[improved].set(better)
    score = jnp.sum(weight * log_probs) / jnp.sum(weight)
    found = log_probs, leverages, score, shifts, improved, mixtures
    return _Found(*found, verdict)


def _improved(
    coordinates: Coordinates,
    x: Data,
    weight: SampleWeight,
    options: Options,
    shifts: Float[Array, "improved parameters"],
    left_out: Int[Array, " improved"],
) -> tuple[GaussianMixture, Float[Array, " improved"]]:
    """Mixtures without each of some samples, after a step of EM from where first order
    puts them, and the sample's log-density there."""
    source = options.source(x, weight, coordinates.mixture.covariances, of_lanes=True)
    assert isinstance(source, InMemory)
    fitted, chart = coordinates.mixture, coordinates.chart()
    step = options.step(source, fitted.covariances)
    held = Frozen() if options.frozen is None else options.frozen

    def improve(both: tuple[Numbers, Count]) -> tuple[GaussianMixture, Scalar]:
        shift, number = both
        own = weight.at[number].add(-jnp.minimum(weight[number], 1))
        parts = source.split(own), jnp.sum(own)
        own = eqx.tree_at(lambda s: (s.weights, s.total), source, parts)
        step_of = eqx.tree_at(lambda s: s.e_step.source, step, own)
        first = chart(shift)
        begin = moved(first, -source.pivot)
        end, _ = advance(step_of, begin, begin, held.or_empty(begin))
        new = moved(end, source.pivot)
        # What is left of a component's samples may not determine a covariance.
        determined = jnp.isfinite(log_prob(new, x[number][None])[0])
        mixture = where(determined, new, first)
        return mixture, log_prob(mixture, x[number][None])[0]

    bytes_of_step = coordinates.mixture.means.size * source.weights.shape[1] * 8
    size = chunks.length(bytes_of_step, _CHUNK_BYTES, 1)
    return chunks.map_chunks(jax.vmap(improve), (shifts, left_out), size)


@program()
def _mixtures(
    coordinates: Coordinates, shifts: Float[Array, "batch parameters"]
) -> GaussianMixture:
    return jax.vmap(coordinates.chart())(shifts)
