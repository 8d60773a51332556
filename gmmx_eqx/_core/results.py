import functools as ft
import operator as op

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool

from .known import constant, is_on_host


class RESULTS(eqx.Enumeration):
    """How a fit ended, one item per fit (per lane, under `vmap`).

    - `successful`: the mean log-likelihood settled to within `tol`.
    - `max_steps_reached`: it did not within `max_steps`.
    - `nonfinite`: a NaN or infinity arose from the data or the starting mixture.
    - `component_collapsed`: a component lost all samples or its covariance became
        singular.
    - `too_few_samples`: fewer samples of positive weight than components.
    - `component_unresolved`: a component is narrower than the `resolution` of the
        measurement.
    - `singular`: it settled where a covariance is singular. With noise of known
        covariance that is a right answer, and `converged` is true.
    - `dropped`: a start that was not among the best after the first steps of a race.
    - `passes_taken`: the passes that were asked for were taken, by a solver that does
        not look at whether the log-likelihood settles.
    """

    successful = ""
    max_steps_reached = (
        "EM reached `max_steps` before its log-likelihood settled. Increase "
        "`max_steps`, loosen `tol`, or start from a better mixture. With `throw=False` "
        "the mixture reached so far is returned."
    )
    nonfinite = (
        "EM met a NaN or an infinity. Check `x`, `sample_weight` and the starting "
        "mixture: its covariances must be positive definite (where a feature is "
        "constant, or all samples are equal, give an absolute `reg_covar`), and its "
        "densities must not all underflow at any sample."
    )
    component_collapsed = (
        "A component collapsed: it lost all its samples, or its covariance became "
        "singular. Increase `reg_covar`, use fewer components or a simpler covariance "
        "family, or start elsewhere. Where features are nearly dependent, float64 may "
        "tell a covariance from a singular one where float32 cannot. With "
        "`throw=False` the last mixture before the collapse is returned."
    )
    too_few_samples = (
        "There are fewer samples of positive weight than components. Use fewer "
        "components, or leave this data set out."
    )
    component_unresolved = (
        "A component is narrower than the resolution of the measurement: it describes "
        "how the data was rounded. Use fewer components, increase `reg_covar`, or "
        "start elsewhere. With `throw=False` the mixture is returned."
    )
    dropped = (
        "This start was not among the best after the first steps. Increase `keep` or "
        "`short_steps`."
    )
    passes_taken = (
        "The passes over the data were taken. Whether the log-likelihood settled is "
        "not known: `gmmx_eqx.InTurn(solver, gmmx_eqx.EM())` goes on until it has."
    )
    singular = (
        "The most likely covariance of a component is singular: all of its spread in "
        "some direction is noise. Increase `reg_covar`, or the noise may be less than "
        "was said."
    )


# By their numbers.
STATUSES = (
    "successful",
    "max_steps_reached",
    "nonfinite",
    "component_collapsed",
    "too_few_samples",
    "component_unresolved",
    "dropped",
    "passes_taken",
    "singular",
)


def is_any(result: RESULTS, *items: RESULTS) -> Bool[Array, "..."]:
    """Whether the result, or each of many, is one of the items."""
    codes, *known = (jax.tree.leaves(item)[0] for item in (result, *items))
    if is_on_host(codes):
        return constant(np.isin(np.asarray(codes), np.asarray(known)))
    return ft.reduce(op.or_, (codes == code for code in known))


def number(result: RESULTS) -> np.ndarray:
    """Which of `STATUSES` it is; of many, an array."""
    return np.asarray(jax.tree.leaves(result)[0])
