"""Which lanes of a population ended at the same optimum."""

import dataclasses

import numpy as np

from .._core.axes import Axis
from .._core.results import is_any, RESULTS
from .._mixture import GaussianMixture
from .solution import Solution, take


@dataclasses.dataclass(frozen=True)
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


def distinct_optima(
    solutions: Solution, nats: float, distance: float
) -> tuple[Optimum, ...]:
    """The optima of all lanes that ended with a valid mixture, the best first.

    **Arguments:**

    - `nats`: two lanes are at the same optimum if their mean log-likelihoods differ by
        at most this,
    - `distance`: and if, with components matched, none differs by more than this; see
        `component_distances`.
    """
    results = RESULTS.successful, RESULTS.max_steps_reached
    valid = np.asarray(is_any(solutions.result, *results))
    values = np.asarray(solutions.mean_log_likelihood, dtype=np.float64)
    order = [int(i) for i in np.argsort(-values, kind="stable") if valid[i]]
    features = [_features(take(solutions, i).mixture) for i in range(len(values))]
    groups: list[list[int]] = []
    for lane in order:
        for group in groups:
            near = values[group[0]] - values[lane] <= nats
            if near and _matched(features[group[0]], features[lane]) <= distance:
                group.append(lane)
                break
        else:
            groups.append([lane])
    return tuple(Optimum(take(solutions, g[0]), tuple(g)) for g in groups)


def _features(mixture: GaussianMixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (K,), means (K, D) and marginal variances (K, D), in NumPy."""
    shape = (1, mixture.n_components, mixture.n_features, 1)
    variances = np.broadcast_to(np.asarray(mixture.covariances.variances), shape)
    axes = (Axis.batch, Axis.features_covar)
    return mixture.weights_numpy, mixture.means_numpy, np.squeeze(variances, axes)


def component_distances(a: tuple, b: tuple) -> np.ndarray:
    """Between every two components, without units, shape `(K, K)`.

    The largest over features of the difference of means in units of the mean standard
    deviation, of the logarithm of the ratio of standard deviations, and the difference
    of weights.
    """
    weights_a, means_a, variances_a = (v[:, None] for v in a)
    weights_b, means_b, variances_b = (v[None] for v in b)
    scale = np.sqrt((variances_a + variances_b) / 2)
    shift = np.abs(means_a - means_b) / scale
    ratio = np.abs(np.log(variances_a / variances_b)) / 2
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
