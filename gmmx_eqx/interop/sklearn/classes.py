"""A mixture for each class: one ensemble, fitted together or apart."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from ..._core import buckets, inputs
from ..._core.aliases import Data
from ..._core.axes import Axis
from ..._core.known import constant
from ..._core.programs import program
from ..._covariances import map_components, take_components
from ..._em import AbstractEM, Frozen
from ..._fit import fit, fit_batch
from ..._initialisers import AbstractInitialiser
from ..._mixture import GaussianMixture, padding


class Training(NamedTuple):
    """Data of classes, and how to fit it.

    **Attributes:**

    - `x`: shape `(n_samples, n_features)`.
    - `labels`: the number of each sample's class, -1 where that is not known.
    - `weight`: of the samples, or `None`.
    - `classes`: their names.
    """

    x: Float[np.ndarray, "samples features"]
    labels: Int[np.ndarray, " samples"]
    weight: Float[np.ndarray, " samples"] | None
    classes: np.ndarray
    covariance_type: Any
    reg_covar: Any
    solver: AbstractEM


class Fitted(NamedTuple):
    """What a fit to classes found.

    **Attributes:**

    - `mixtures`: an ensemble of NumPy arrays, one member for each class. Components
        beyond a class's own have a weight of zero.
    - `shares`: the share of each class in the samples.
    - `n_steps`: of EM, for each class.
    - `converged`: whether each settled.
    """

    mixtures: GaussianMixture
    shares: Float[np.ndarray, " classes"]
    n_steps: Int[np.ndarray, " classes"]
    converged: np.ndarray


def fit_gaussians(training: Training, priors: np.ndarray | None) -> Fitted:
    """One Gaussian for each class, all of one family: as components of one mixture,
    whose labels are known.

    **Arguments:**

    - `priors`: the classes' probabilities, which matter where labels are not known.
    """
    n_classes = len(training.classes)
    common: Any = {
        "labels": training.labels,
        "sample_weight": training.weight,
        "reg_covar": training.reg_covar,
    }
    start = GaussianMixture.from_labels(
        training.x,
        n_components=n_classes,
        covariance_type=training.covariance_type,
        **common,
    )
    frozen = None
    if priors is not None and np.any(training.labels < 0):
        weights = constant(priors.reshape(start.weights.shape), start.weights.dtype)
        start = GaussianMixture(weights, start.means, start.covariances)
        frozen = Frozen(weights=True)
    solution = fit(
        start, training.x, solver=training.solver, frozen=frozen, throw=False, **common
    )
    _check_status(str(solution.status), "the classes")
    mixture = jax.tree.map(np.asarray, solution.mixture)
    members = []
    for k in range(n_classes):
        own = slice(k, k + 1)
        leaves = (
            np.ones_like(mixture.weights[:, own]),
            mixture.means[:, own],
            take_components(mixture.covariances, own),
        )
        members.append(_like(mixture, leaves))
    return Fitted(
        _stacked(members),
        mixture.weights_numpy,
        np.broadcast_to(solution.n_steps, n_classes),
        np.broadcast_to(solution.converged, n_classes),
    )


def fit_mixtures(
    training: Training,
    n_components: Sequence[int],
    n_starts: int,
    initialiser: AbstractInitialiser,
    seed: int,
) -> Fitted:
    """A mixture for each class, to its samples alone: those of as many components are
    one program, however many samples they have.

    **Arguments:**

    - `n_components`: of each class.
    """
    x, labels, weight = training.x, training.labels, training.weight
    counts = np.asarray(n_components)
    n_steps, converged = np.zeros(len(counts), int), np.zeros(len(counts), bool)
    members: dict[int, GaussianMixture] = {}
    for count in np.unique(counts).tolist():
        own = np.flatnonzero(counts == count)
        solutions = fit_batch(
            [x[labels == k] for k in own],
            count,
            training.covariance_type,
            n_starts,
            key=jr.key(seed),
            initialiser=initialiser,
            sample_weight=None
            if weight is None
            else [weight[labels == k] for k in own],
            reg_covar=training.reg_covar,
            solver=training.solver,
        )
        for name, status in zip(training.classes[own], solutions.status, strict=True):
            _check_status(status, f"class {name!r}")
        n_steps[own], converged[own] = solutions.n_steps, solutions.converged
        mixtures = jax.tree.map(np.asarray, solutions.mixture)
        for lane, k in enumerate(own.tolist()):
            mixture = jax.tree.map(lambda leaf, lane=lane: leaf[lane], mixtures)
            members[k] = _padded(mixture, int(counts.max()))
    is_known = labels >= 0
    known_weight = None if weight is None else weight[is_known]
    totals = np.bincount(labels[is_known], known_weight, len(counts))
    return Fitted(
        _stacked([members[k] for k in range(len(counts))]),
        (totals / totals.sum()).astype(x.dtype),
        n_steps,
        converged,
    )


def _check_status(status: str, what: str) -> None:
    """Raises a `ValueError` if a fit has no mixture to show."""
    if status not in ("successful", "max_steps_reached"):
        raise ValueError(
            f"Fitting {what} ended with the status {status!r}, as where there are too "
            "few samples for a covariance. Increase `reg_covar`, or choose fewer "
            "components or a `covariance_type` with fewer parameters."
        )


def _padded(mixture: GaussianMixture, size: int) -> GaussianMixture:
    """With more components, of weight zero, which are like the first one."""
    n_components = mixture.n_components
    index = np.arange(size)
    index[n_components:] = 0
    take: Any = lambda leaf: np.take(leaf, index, axis=Axis.components)
    weights = take(mixture.weights)
    weights[:, n_components:] = 0
    covariances = map_components(take, mixture.covariances)
    return _like(mixture, (weights, take(mixture.means), covariances))


def _stacked(members: list[GaussianMixture]) -> GaussianMixture:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *members)


def _like(mixture: GaussianMixture, leaves: Any) -> GaussianMixture:
    # Not from the fields, whose check refuses NumPy arrays.
    return jax.tree.unflatten(jax.tree.structure(mixture), jax.tree.leaves(leaves))


def member(mixtures: GaussianMixture, index: int) -> GaussianMixture:
    """One class's mixture, without components of weight zero."""
    own = jax.tree.map(lambda leaf: constant(leaf[index]), mixtures)
    n_components = max(int(np.count_nonzero(own.weights_numpy)), 1)
    return padding.unpad(own, n_components)


def log_densities(mixtures: GaussianMixture, x: Any) -> np.ndarray:
    """The log-density of every sample in every class, shape `(n_samples, classes)`."""
    x, _ = inputs.as_data(x, name="X")
    known = jax.tree.map(lambda leaf: constant(leaf, x.dtype), mixtures)
    filled, _ = buckets.fill(x, None)
    return np.asarray(_log_densities(known, filled))[: len(x)]


@program(lambda mixtures, x: mixtures.means.size // x.shape[1] * len(x))
def _log_densities(mixtures: GaussianMixture, x: Data) -> Float[Array, "batch classes"]:
    return jax.vmap(lambda mixture: mixture.log_prob(x), out_axes=1)(mixtures)
