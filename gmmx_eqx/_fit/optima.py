"""Which lanes of a population ended at the same optimum."""

import dataclasses

import jax
import numpy as np

from .._core.axes import Axis
from .._covariances import deviations_numpy
from .._mixture import GaussianMixture
from .solution import Solution, statuses, take
from .summary import nats


@dataclasses.dataclass(frozen=True, repr=False)
class Optimum:
    """An optimum that some lanes of a population ended at.

    **Attributes:**

    - `solution`: the lane of the highest log-likelihood among them.
    - `lanes`: which lanes, the best first.
    """

    solution: Solution
    lanes: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many lanes ended here."""
        return len(self.lanes)

    def __repr__(self) -> str:
        value = nats(self.solution.log_likelihood)
        return f"Optimum(log_likelihood={value}, lanes={self.lanes})"


def distinct_optima(
    solutions: Solution, nats: float, distance: float
) -> tuple[Optimum, ...]:
    """The optima of all lanes that ended with a valid mixture, the best first.

    **Arguments:**

    - `nats`: two lanes are at the same optimum if their mean objectives differ by
        at most this,
    - `distance`: and if, with components matched, none differs by more than this; see
        `component_distances`.
    """
    deviations = deviations_numpy(solutions.mixture.covariances)
    if deviations is None:
        covariances = solutions.mixture.covariances
        variances = jax.vmap(lambda lane: lane.variances)(covariances)
        deviations = np.sqrt(np.asarray(variances))
    groups = lanes_by_optimum(solutions, deviations, nats, distance)
    return tuple(Optimum(take(solutions, g[0]), tuple(g)) for g in groups)


def _mean_objectives(solutions: Solution) -> np.ndarray:
    means = np.asarray(solutions.mean_log_likelihood, np.float64)
    if solutions.log_prior is None:
        return means
    sums = np.asarray(solutions.log_likelihood, np.float64)
    more = np.asarray(solutions.log_prior, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return means * ((sums + more) / sums)


def lanes_by_optimum(
    solutions: Solution, deviations: np.ndarray, nats: float, distance: float
) -> list[list[int]]:
    """The lanes at each optimum, as `distinct_optima` has them; compiles nothing.

    **Arguments:**

    - `deviations`: the standard deviations of all lanes.
    """
    valid = np.isin(statuses(solutions), ("successful", "max_steps_reached"))
    values = _mean_objectives(solutions)
    order = [int(i) for i in np.argsort(-values, kind="stable") if valid[i]]
    features = list(zip(*_features(solutions.mixture, deviations), strict=True))
    groups: list[list[int]] = []
    for lane in order:
        for group in groups:
            near = values[group[0]] - values[lane] <= nats
            if near and _matched(features[group[0]], features[lane]) <= distance:
                group.append(lane)
                break
        else:
            groups.append([lane])
    return groups


def _features(
    mixture: GaussianMixture, deviations: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (lanes, K), means (lanes, K, D) and standard deviations (lanes, K, D)."""
    deviations = np.broadcast_to(deviations, mixture.means.shape)
    deviations = np.squeeze(deviations, (Axis.batch, Axis.features_covar))
    return mixture.weights_numpy, mixture.means_numpy, deviations


def component_distances(a: tuple, b: tuple) -> np.ndarray:
    """Between every two components, without units, shape `(K, K)`.

    The largest over features of the difference of means in units of the mean standard
    deviation, of the logarithm of the ratio of standard deviations, and the difference
    of weights.
    """
    weights_a, means_a, deviations_a = (v[:, None] for v in a)
    weights_b, means_b, deviations_b = (v[None] for v in b)
    scale = np.sqrt((deviations_a**2 + deviations_b**2) / 2)
    shift = np.abs(means_a - means_b) / scale
    ratio = np.abs(np.log(deviations_a / deviations_b))
    parts = np.maximum(shift, ratio).max(axis=-1)
    return np.maximum(parts, np.abs(weights_a - weights_b))


def _matched(a: tuple, b: tuple) -> float:
    """The largest distance between components that belong together.

    Pairs are made greedily, the nearest first. For mixtures at the same optimum that is
    the right matching; for others any matching shows that they differ.
    """
    distances = component_distances(a, b)
    largest = 0.0
    for _ in range(len(distances)):
        row, column = np.unravel_index(np.argmin(distances), distances.shape)
        largest = max(largest, float(distances[row, column]))
        distances[row, :] = np.inf
        distances[:, column] = np.inf
    return largest
