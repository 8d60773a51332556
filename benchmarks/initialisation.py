"""k-means, begun by k-means++, beside scikit-learn's `KMeans`.

`python -m benchmarks.initialisation [ROUNDS]` prints milliseconds, and what both reach:
the inertia, the sum of squared distances to the nearest centre. Five keys each.
"""

import functools
import json
import sys
from collections.abc import Callable

import numpy as np

from .problem import Problem
from .processes import medians, peak_mib, time_of


SIZE = {"n_samples": 65536, "n_features": 16, "n_components": 32}
N_KEYS = 5

Run = Callable[[int], np.ndarray]


def ours(problem: Problem) -> Run:
    import jax

    jax.config.update("jax_enable_x64", problem.dtype == "float64")
    import gmmx_eqx as gx

    x = jax.numpy.asarray(problem.data())
    # The means of a start are the centres; its weights and variances are included.
    start = functools.partial(
        gx.GaussianMixture.from_initialiser,
        gx.KMeans("none"),
        x,
        problem.n_components,
        covariance_type="spherical",
    )
    return lambda seed: start(key=jax.random.key(seed)).means_numpy


def sklearn(problem: Problem) -> Run:
    from sklearn.cluster import KMeans

    x = problem.data()

    def run(seed):
        estimator = KMeans(problem.n_components, max_iter=100, random_state=seed)
        return estimator.fit(x).cluster_centers_

    return run


def inertia(x: np.ndarray, centres: np.ndarray) -> float:
    squares = np.min([np.sum((x - centre) ** 2, axis=1) for centre in centres], axis=0)
    return float(np.sum(squares))


def worker(contender: str, request: dict) -> None:
    problem = Problem(**request)
    run = {"ours": ours, "sklearn": sklearn}[contender](problem)
    seconds, inertias = [], []
    x = problem.data()
    for seed in range(N_KEYS):
        seconds += time_of(lambda seed=seed: run(seed), 1)
        inertias.append(inertia(x, run(seed)))
    print(json.dumps({"s": seconds, "inertia": inertias, "MiB": peak_mib()}))


def main(rounds: int) -> None:
    for dtype in ("float32", "float64"):
        found = medians("benchmarks.initialisation", rounds, **SIZE, dtype=dtype)
        text = ", ".join(
            f"{name} {1e3 * m['s']:.0f} ms (inertia {m['inertia']:.6g}, {m['MiB']:.0f}"
            " MiB)"
            for name, m in found.items()
        )
        ratio = found["sklearn"]["s"] / found["ours"]["s"]
        print(f"{dtype}: {text}; {ratio:.1f} times", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        worker(sys.argv[1], json.loads(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
