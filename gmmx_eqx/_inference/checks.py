"""What cannot be asked of a fit, and why."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._core import buckets, inputs
from .._core.aliases import Data, Flag, SampleWeight, Scalar, Weighting
from .._core.axes import Axis
from .._core.describe import check_instance
from .._core.likes import DataLike, SampleWeightLike
from .._core.programs import program
from .._em import Frozen, with_equal_weights
from .._fit import Solution
from .._fit.options import Options
from .._mixture import as_plain_mixture, GaussianMixture
from .._priors import Prior
from .coordinates import Coordinates
from .information import Information, Inverse, mover


# Squared distance to the maximum, in standard errors, from which a fit is not at it.
_FAR = 0.25
# Squared widths of the data in those of a component that has collapsed onto samples.
_NARROW = 1e4
# And in those of the narrowest component of the fit to all data.
_TIMES_NARROWER = 100


class Fitted(NamedTuple):
    """A fit that has converged, and its data, as programs take them.

    - `n_samples`: how many samples there are; the data is padded with others.
    - `options`: of what was maximised; no ridge.
    """

    coordinates: Coordinates
    x: Data
    weight: SampleWeight
    n_samples: int
    options: Options


def check_fitted(
    solution: Any,
    x: DataLike,
    sample_weight: SampleWeightLike | None,
    equal_weights: bool,
    frozen: Frozen | None,
    prior: Prior | None,
) -> Fitted:
    """The coordinates of a fit, and its data.

    **Raises:**

    `ValueError` unless it is one fit that has converged, to as many samples as it has
    parameters or with a prior of its components, and no component has lost all of them.
    """
    mixture = check_solution(solution)
    is_all_free = frozen is None and not equal_weights
    options = Options.create(
        mixture.n_features,
        reg_covar=0.0,
        equal_weights=equal_weights,
        frozen=frozen,
        prior=prior,
    )
    _check_prior(solution, prior)
    is_carried = prior is not None and prior.components is not None
    if frozen is not None:
        frozen.check(mixture)
    data, weight = inputs.as_data(
        x, sample_weight, n_features=mixture.n_features, like=mixture
    )
    check_status(solution, mixture, data)
    mixture, data = inputs.common_dtype(mixture, data)
    if equal_weights:
        mixture = with_equal_weights(mixture)
    known = None if weight is None else inputs.concrete(weight)
    n_samples = data.shape[0]
    n_counted = n_samples if known is None else int(np.count_nonzero(known))
    if is_all_free and not is_carried:
        # Before anything is made whose size is the square of that number.
        _check_enough(n_counted, mixture.n_parameters, known is not None)
    coordinates = Coordinates.of(mixture, frozen, equal_weights)
    if not coordinates.size:
        raise ValueError(
            "`frozen` leaves no parameter free, so that there is nothing to be unsure "
            "of. Freeze fewer."
        )
    if not is_carried:
        _check_enough(n_counted, coordinates.size, known is not None)
    filled, weighting = buckets.fill(data, weight, mixture)
    full = full_weights(weighting, filled)
    # A sample of weight zero is not there, whatever it holds.
    filled = jnp.where(full[:, None] > 0, filled, filled[jnp.argmax(full > 0)][None])
    return Fitted(coordinates, filled, full, n_samples, options)


def _check_prior(solution: Solution, prior: Prior | None) -> None:
    """Raises a `ValueError` unless there is a prior just if the fit had one."""
    if solution.log_prior is not None and prior is None:
        raise ValueError(
            "`solution` was fitted with a prior, and how sure it is depends on that. "
            "Give the same one here: `prior=prior`."
        )
    if solution.log_prior is None and prior is not None:
        raise ValueError(
            "`prior` was given, but `solution` was fitted without one. Leave it out, "
            "or fit with it: `gx.fit(solution.mixture, x, prior=prior)`."
        )


def _check_enough(n_samples: int, n_parameters: int, is_weighted: bool) -> None:
    if n_samples < n_parameters:
        raise ValueError(
            f"`x` has {n_samples} samples"
            + (" of positive weight" if is_weighted else "")
            + f", fewer than the {n_parameters} free parameters of the mixture: they "
            "cannot say how sure each of them is. Use fewer components or a simpler "
            "covariance family."
        )


def full_weights(weighting: Weighting, x: Data) -> SampleWeight:
    """One weight for each sample."""
    if weighting is None:
        return jnp.ones(x.shape[0], x.dtype)
    if weighting.ndim == 0:
        return buckets.weights_of(weighting, x.shape[0], x.dtype)
    return weighting.astype(x.dtype)


def check_solution(solution: Any) -> GaussianMixture:
    """The mixture of one fit; refuses what is not a `Solution`, and many of them."""
    check_instance(solution, Solution, "solution", "fit(mixture, x)")
    shape = solution.log_likelihood.shape
    if shape:
        raise ValueError(
            f"`solution` must be of one fit; it has leading axes {shape}. Take one of "
            "them, such as `solution[0]`."
        )
    return as_plain_mixture(solution.mixture, "solution.mixture")


def check_status(solution: Solution, mixture: GaussianMixture, x: Data) -> None:
    """Raises a `ValueError` if a fit is known not to have converged, or to have a
    component without samples."""
    if inputs.concrete(solution.converged) is None:
        return
    weights = mixture.weights_numpy
    empty = np.flatnonzero(weights == 0)
    status = solution.status
    if status == "component_collapsed" or empty.size:
        lost = int(empty[0]) if empty.size else _narrowest(mixture, x)
        how = "has lost all its samples" if empty.size else "has collapsed"
        raise ValueError(
            f"`solution` is on a boundary of the parameters: component {lost} {how}. "
            "How sure a fit is follows from the likelihood around a maximum. Fit with "
            "fewer components or a simpler covariance family, or start elsewhere."
        )
    if status != "successful":
        raise ValueError(
            f"`solution` has not converged: its status is {status!r}. How sure a fit "
            "is follows from the likelihood around a maximum. Go on from "
            "`solution.mixture` with more steps, by `gx.fit(solution.mixture, x, "
            "solver=gx.EM(max_steps=...))`."
        )


class Verdict(NamedTuple):
    """Whether a fit is at a maximum that is one.

    - `is_regular`: whether the information is positive definite.
    - `distance`: to the maximum, squared, in standard errors.
    - `component`: which component is least determined, or would move.
    """

    is_regular: Flag
    distance: Scalar
    component: Any

    @classmethod
    def of(
        cls, coordinates: Coordinates, found: Information, inverse: Inverse
    ) -> "Verdict":
        step = inverse.matrix @ found.score
        way = jnp.where(inverse.is_regular, step, inverse.weakest)
        component = mover(coordinates, way)
        return cls(inverse.is_regular, found.score @ step, component)

    @property
    def is_maximum(self) -> Flag:
        """Whether derivatives at the fit say what they say at a maximum."""
        return self.is_regular & (self.distance <= _FAR)


def check_verdict(verdict: Verdict, mixture: GaussianMixture, x: Data) -> None:
    """Raises a `ValueError` if a fit is known not to be at a maximum of its objective
    that is the only one around."""
    if inputs.concrete(verdict.is_maximum) is None or verdict.is_maximum:
        return
    k = int(verdict.component)
    if narrowness(mixture, x)[k] > _NARROW:
        raise ValueError(
            f"`solution` is on a boundary of the parameters: component {k} has "
            "collapsed onto few samples, and rests on the ridge. Fit with fewer "
            "components or a simpler covariance family, or start elsewhere."
        )
    if not verdict.is_regular:
        raise ValueError(
            "`solution` has singular information: the samples do not determine "
            f"component {k}, whose standard errors would be infinite. Use fewer "
            "components or a simpler covariance family."
        )
    raise ValueError(
        "`solution` is not at the maximum of its objective: what is left, most of it "
        f"of component {k}, is {float(verdict.distance) ** 0.5:.2g} standard errors. "
        "Go on with a smaller `tol`, without a ridge that shows, by "
        "`gx.fit(solution.mixture, x, solver=gx.EM(tol=...), reg_covar=...)`. What was "
        "frozen or equal, `sample_weight` and `prior` must be given here as to the fit."
    )


def _narrowest(mixture: GaussianMixture, x: Data) -> int:
    return int(np.argmax(narrowness(mixture, x)))


def narrowness(mixture: GaussianMixture, x: Data) -> Float[np.ndarray, "*lanes _"]:
    """The largest variance of the data in units of each component's own, given the
    other features; of a mixture, or of many."""
    ratios = np.asarray(_precision_diagonal(mixture))[..., 0, :, :, 0]
    # A covariance that has no inverse is as narrow as can be.
    ratios = np.nan_to_num(ratios, nan=np.inf) * np.var(np.asarray(x), axis=0)
    *lanes, _, k, _, _ = mixture.means.shape
    return np.max(np.broadcast_to(ratios, (*lanes, k, x.shape[1])), axis=-1)


def has_narrowed(
    mixtures: GaussianMixture, like: GaussianMixture, x: Data
) -> Bool[np.ndarray, " lanes"]:
    """In which of many mixtures a component has collapsed: it is narrow beside the
    data, and beside all components of `like`."""
    own = float(np.max(narrowness(like, x)))
    limit = max(_TIMES_NARROWER * own, _NARROW)
    return np.max(narrowness(mixtures, x), axis=-1) > limit


@program()
def _precision_diagonal(mixture: GaussianMixture) -> Float[Array, "*lanes 1 _ _ 1"]:
    one = lambda m: (
        m.covariances.whitening(m.n_features, tolerant=True).precision_diagonal
    )
    for _ in range(mixture.means.ndim - len(Axis)):
        one = jax.vmap(one)
    return one(mixture)
