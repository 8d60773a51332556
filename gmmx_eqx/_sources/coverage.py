"""Whether observations fit a mixture, and see all of its features."""

import jax
import jax.core
import numpy as np

from .observed import Observed


def features_of(observed: Observed) -> int:
    """How many features the latent samples have, for starts.

    **Raises:**

    `ValueError` if `H` only chooses some of them.
    """
    if observed.H is None:
        return observed.n_outputs
    if observed.is_choice:
        raise ValueError(
            "`H` of `gmmx_eqx.Observed` chooses features, and the others are never "
            "seen: a start cannot be made from it. Make one by hand, with "
            "`gmmx_eqx.GaussianMixture.from_squeezed`."
        )
    return observed.H.shape[-1]


def check_features(observed: Observed, n_features: int) -> None:
    """Raises a `ValueError` unless `H` has as many features as the mixture."""
    H = observed.H
    if H is None:
        if observed.n_outputs != n_features:
            raise ValueError(
                f"`y` has {observed.n_outputs} outputs, but the mixture has "
                f"{n_features} features. With fewer or more, `gmmx_eqx.Observed` needs "
                f"`H`, of shape ({observed.n_outputs}, {n_features})."
            )
    elif observed.is_choice:
        highest = int(np.max(np.asarray(H)))
        if highest >= n_features:
            raise ValueError(
                f"`H` chooses feature {highest}, but the mixture has {n_features} "
                f"features: use 0 ... {n_features - 1}."
            )
    elif H.shape[-1] != n_features:
        raise ValueError(
            f"`H` has {H.shape[-1]} features, but the mixture has {n_features}."
        )


def check_coverage(observed: Observed, n_features: int, n_components: int) -> None:
    """Raises a `ValueError` if a feature is never seen, or if fewer samples than
    components are seen at all."""
    known = [observed.y, observed.H, observed.sample_weight]
    if any(isinstance(array, jax.core.Tracer) for array in known):
        return
    seen = ~np.isnan(np.asarray(observed.y))
    if observed.sample_weight is not None:
        seen = seen & (np.asarray(observed.sample_weight) > 0)[:, None]
    n_samples = int(np.count_nonzero(seen.any(axis=1)))
    if n_samples < n_components:
        raise ValueError(
            "There must be at least as many samples of which something was seen as "
            f"there are components, {n_components}; got {n_samples}."
        )
    reached = _reached(observed, seen, n_features)
    unseen = np.flatnonzero(~reached).tolist()
    if unseen:
        raise ValueError(
            f"Feature {unseen[0]} is never observed"
            + (f", nor are {unseen[1:]}" if unseen[1:] else "")
            + ": the data says nothing of it. Leave it out of the mixture."
        )


def _reached(observed: Observed, seen: np.ndarray, n_features: int) -> np.ndarray:
    """Which of the features some output that was seen depends on."""
    outputs = np.unique(np.nonzero(seen)[1])
    if observed.H is None:
        found = outputs
    elif observed.is_choice:
        found = np.asarray(observed.H)[outputs]
    elif observed.H.ndim == 2:
        found = np.nonzero(np.asarray(observed.H)[outputs])[1]
    else:
        found = np.nonzero((np.asarray(observed.H) != 0) & seen[..., None])[-1]
    return np.isin(np.arange(n_features), found)
