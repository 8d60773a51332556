from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core import chunks, linalg
from .._core.aliases import Data, Flag, PerDatum, SampleWeight, Scalar
from .._core.likes import DataLike, SampleWeightLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._em import Frozen
from .._fit import Solution
from .._mixture import GaussianMixture
from .checks import check_fitted, check_verdict, Verdict
from .coordinates import Coordinates
from .information import information, inverse, log_prob, scores


# What the mixtures of one chunk of samples may hold, and fewest samples of a chunk.
_CHUNK_BYTES, _SMALLEST = 8 * 2**20, 16


class LeaveOneOut(Pickled, eqx.Module):
    """What a fit would be without each of its samples.

    **Attributes:**

    - `log_probs`: the log-density of every sample under the mixture fitted without it,
        in nats, shape `(n_samples,)`.
    - `leverages`: by how much the log-density of every sample is raised by itself, to
        first order, shape `(n_samples,)`. Where one is not small, what is said of that
        sample is not accurate.
    - `score`: the mean of `log_probs`, with the weights of samples: what `score` of the
        mixture would be for new data.
    - `shifts`: by how much leaving out a sample moves each free parameter, in
        coordinates without units, shape `(n_samples, parameters)`.
    - `coordinates`: whose mixtures `mixtures` are.
    """

    log_probs: PerDatum
    leverages: PerDatum
    score: Scalar
    shifts: Float[Array, "batch parameters"]
    coordinates: Coordinates

    @property
    def mixtures(self) -> GaussianMixture:
        """The mixtures without each of the samples, an ensemble."""
        return _mixtures(self.coordinates, self.shifts)


def leave_one_out(
    solution: Solution,
    x: DataLike,
    *,
    sample_weight: SampleWeightLike | None = None,
    equal_weights: bool = False,
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

    **Arguments:**

    - `solution`: of one fit, which has converged.
    - `x`, `sample_weight`, `equal_weights`, `frozen`: as they were given to the fit. Of
        a sample of weight two one is left out.

    **Returns:**

    A [`gmmx_eqx.uncertainty.LeaveOneOut`][]. Where a leverage is more than about a
    half, a component rests on that sample: [`gmmx_eqx.bootstrap`][] with
    `kind="jackknife"` fits without it. While tracing, what would be an error is NaN.

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
    fitted = check_fitted(solution, x, sample_weight, equal_weights, frozen)
    coordinates, data, weight, n_samples = fitted
    found = _leave_one_out(coordinates, data, weight, solution.converged)
    check_verdict(found.verdict, coordinates.mixture, data[:n_samples])
    own = lambda leaf: leaf[:n_samples]
    return LeaveOneOut(
        own(found.log_probs),
        own(found.leverages),
        found.score,
        own(found.shifts),
        coordinates,
    )


class _Found(NamedTuple):
    log_probs: PerDatum
    leverages: PerDatum
    score: Scalar
    shifts: Float[Array, "batch parameters"]
    verdict: Verdict


@program(lambda coordinates, x, *_: x.size)
def _leave_one_out(
    coordinates: Coordinates, x: Data, weight: SampleWeight, converged: Flag
) -> _Found:
    about = information(coordinates, x, weight)
    inverted = inverse(about.observed)
    verdict = Verdict.of(coordinates, about, inverted)
    own = scores(coordinates, x)
    shifts = -linalg.matmul(own, inverted.matrix)
    shifts = jnp.where(converged & verdict.is_maximum, shifts, jnp.nan)
    leverages = -jnp.sum(shifts * own, axis=1)
    chart = coordinates.chart()
    one = lambda shift, x: log_prob(chart(shift), x[None])[0]
    bytes_per_sample = 4 * coordinates.mixture.means.size * x.shape[1] * 8
    size = chunks.length(bytes_per_sample, _CHUNK_BYTES, _SMALLEST)
    log_probs = chunks.map_chunks(lambda both: jax.vmap(one)(*both), (shifts, x), size)
    score = jnp.sum(weight * log_probs) / jnp.sum(weight)
    return _Found(log_probs, leverages, score, shifts, verdict)


@program()
def _mixtures(
    coordinates: Coordinates, shifts: Float[Array, "batch parameters"]
) -> GaussianMixture:
    return jax.vmap(coordinates.chart())(shifts)
