from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs, linalg
from .._core.aliases import Data, Flag, Means, SampleWeight, Weights
from .._core.describe import describe
from .._core.known import constant
from .._core.likes import DataLike, SampleWeightLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._core.table import Table
from .._covariances import AbstractCovariances
from .._em import Frozen
from .._fit import Solution
from .._fit.options import Options
from .._mixture import GaussianMixture
from .._mixture.table import has_numbers, no_error
from .._priors import Prior
from .checks import check_fitted, check_verdict, Verdict
from .coordinates import Coordinates
from .delta import deviations, moves_of
from .information import information, inverse, Square
from .table import table_with_errors


_METHODS = ("information", "sandwich")


class StandardErrors(Pickled, eqx.Module):
    """How sure a fit is of each number of its mixture.

    **Attributes:**

    - `mixture`: the fitted mixture.
    - `errors`: the standard error of every number of it, in its place: what has the
        form of a mixture here is none.
    - `covariance`: of the free parameters, in coordinates without units, shape
        `(parameters, parameters)`.
    - `moves`: by how much every number moves with each of these coordinates, which are
        on a leading axis.
    """

    mixture: GaussianMixture
    errors: GaussianMixture
    covariance: Square
    moves: GaussianMixture

    @property
    def weights(self) -> Weights:
        """Standard errors of the weights, shape `(1, components, 1, 1)`."""
        return self.errors.weights

    @property
    def means(self) -> Means:
        """Standard errors of the means, shape `(1, components, features, 1)`, in the
        units of the data."""
        return self.errors.means

    @property
    def covariances(self) -> AbstractCovariances:
        """Standard errors of the fields of the covariances, such as `values`, in the
        units of each."""
        return self.errors.covariances

    @property
    def weights_squeezed(self) -> Float[Array, "*ensemble components"]:
        """Standard errors of the weights, shape `(components,)`."""
        return self.errors.weights_squeezed

    @property
    def means_squeezed(self) -> Float[Array, "*ensemble components features"]:
        """Standard errors of the means, shape `(components, features)`."""
        return self.errors.means_squeezed

    def __repr__(self) -> str:
        """Every number with its standard error, as a table; without numbers the tree of
        its leaves."""
        table = _table_of(self)
        return eqx.tree_pformat(self) if table is None else table.text()

    def _repr_html_(self) -> str | None:
        table = _table_of(self)
        return None if table is None else table.html()


def standard_errors(
    solution: Solution,
    x: DataLike,
    method: str = "information",
    *,
    sample_weight: SampleWeightLike | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
    adjust: bool = False,
) -> StandardErrors:
    r"""The standard errors of a fit, from the curvature of the likelihood at its
    maximum.

    With the log-densities $\ell_n$ and the weights $w_n$ of samples, the information is
    $I = -\sum_n w_n \nabla^2 \ell_n$. Its inverse is the covariance of the free
    parameters, if the samples come from a mixture of the family. The sandwich $I^{-1}
    \left(\sum_n w_n \nabla \ell_n \nabla \ell_n^T\right) I^{-1}$ does not assume that.
    Both are about the maximum that was found, and for many samples; of few,
    [`gmmx_eqx.bootstrap`][] tells more.

    With a prior the objective takes the place of the likelihood: the information is
    that of the samples and of the prior, and its inverse the covariance of the
    parameters given the data, near the most probable ones. In the sandwich the prior is
    fixed, not a sample: what varies is the samples' own gradients, about their mean.

    **Arguments:**

    - `solution`: of one fit, which has converged.
    - `x`, `sample_weight`, `equal_weights`, `prior`, `frozen`: as they were given to
        the fit. A weight of two is two samples: weights that say how much a sample is
        trusted should have the number of samples for their sum. What is frozen or equal
        has a standard error of zero.
    - `method`: `"information"` or `"sandwich"`.
    - `adjust`: whether the sandwich is multiplied by $n / (n - p)$, for $n$ samples and
        $p$ free parameters, as its estimates are too small for few samples.

    **Returns:**

    A [`gmmx_eqx.uncertainty.StandardErrors`][], for functions of the mixture to be put
    into [`gmmx_eqx.delta_method`][]. Its numbers are as many as the mixture's, of any
    family; those of low-rank factors are at right angles to rotations, which change no
    covariance. While tracing, what would be an error is NaN.

    **Raises:**

    `ValueError` for a fit that has not converged, that is on a boundary of the
    parameters, which says whose, or not at a maximum; for fewer samples than free
    parameters, unless a prior of the components makes up for them; with `adjust`, for
    no more samples than that; and where the samples do not determine a component.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (400, 1))
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x)
    errors = gx.standard_errors(solution, x)
    print(f"{errors.means_squeezed[0, 0]:.3f} {jnp.std(x) / 20:.3f}")
    ```

    ```text
    0.049 0.049
    ```

    ??? cite "Reference"

        McLachlan, Peel (2000), Finite Mixture Models. Wiley. Sections 2.15 and 2.16.

        White (1982), Maximum Likelihood Estimation of Misspecified Models. Econometrica
        50(1), 1-25.

        MacKinnon, White (1985), Some Heteroskedasticity-Consistent Covariance Matrix
        Estimators with Improved Finite Sample Properties. Journal of Econometrics
        29(3), 305-325. For `adjust`.

        Boldea, Magnus (2009), Maximum Likelihood Estimation of the Multivariate Normal
        Mixture Model. Journal of the American Statistical Association 104(488),
        1539-1549.
    """
    if method not in _METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(map(repr, _METHODS))}; got "
            f"{describe(method)}."
        )
    is_sandwich = method == "sandwich"
    if adjust and not is_sandwich:
        raise ValueError(
            '`adjust` is of `method="sandwich"` alone; the information is not smaller '
            "for few samples. Leave it out."
        )
    fitted = check_fitted(solution, x, sample_weight, equal_weights, frozen, prior)
    coordinates, x, weight, n_samples, options = fitted
    if adjust:
        _check_more(weight, coordinates.size)
    args = constant(is_sandwich), constant(bool(adjust)), solution.converged
    found = _standard_errors(coordinates, x, weight, options, *args)
    check_verdict(found.verdict, coordinates.mixture, x[:n_samples])
    return StandardErrors(
        coordinates.mixture, found.errors, found.covariance, found.moves
    )


class _Found(NamedTuple):
    covariance: Square
    errors: GaussianMixture
    moves: GaussianMixture
    verdict: Verdict


@program(lambda coordinates, x, *_: x.size)
def _standard_errors(
    coordinates: Coordinates,
    x: Data,
    weight: SampleWeight,
    options: Options,
    is_sandwich: Flag,
    adjust: Flag,
    converged: Flag,
) -> _Found:
    about = information(coordinates, x, weight, options)
    inverted = inverse(about.observed)
    bread = inverted.matrix
    sandwich = linalg.matmul(linalg.matmul(bread, about.outer), bread)
    total = jnp.sum(weight)
    sandwich = sandwich * jnp.where(adjust, total / (total - coordinates.size), 1)
    covariance = jnp.where(is_sandwich, sandwich, bread)
    verdict = Verdict.of(coordinates, about, inverted)
    covariance = jnp.where(converged & verdict.is_maximum, covariance, jnp.nan)
    moves = moves_of(coordinates)
    return _Found(covariance, deviations(moves, covariance), moves, verdict)


def _check_more(weight: SampleWeight, n_parameters: int) -> None:
    """Raises a `ValueError` unless there are more samples than free parameters."""
    known = inputs.concrete(weight)
    total = None if known is None else float(np.sum(known))
    if total is not None and total <= n_parameters:
        raise ValueError(
            f"`adjust` needs more samples than the {n_parameters} free parameters; got "
            f"{total:g}. Use fewer components, a simpler family, or a bootstrap."
        )


@no_error
def _table_of(errors: StandardErrors) -> Table | None:
    if not has_numbers(errors):
        return None
    title = f"StandardErrors: {len(errors.covariance)} free parameters"
    return table_with_errors(title, errors.mixture, errors.errors)
