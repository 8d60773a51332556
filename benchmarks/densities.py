"""`predict` and `score_samples` beside scikit-learn's, full covariances.

`python -m benchmarks.densities [ROUNDS]` prints milliseconds for 100000 samples.
"""

import json
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .problem import Problem
from .processes import medians, peak_mib, time_of


N_SAMPLES = 100_000
POINTS = [(64, k) for k in (2, 4, 8, 16, 32, 64)] + [
    (d, 128) for d in (2, 4, 8, 16, 32, 64)
]
METHODS = ("predict", "score_samples")


def ours(problem: Problem) -> dict[str, Callable[[], Any]]:
    import jax

    jax.config.update("jax_enable_x64", problem.dtype == "float64")
    import gmmx_eqx as gx

    x = jax.numpy.asarray(problem.data())
    weights, means, covariances = problem.start()
    mixture = gx.GaussianMixture.from_squeezed(means, covariances, weights)
    methods = (mixture.predict, mixture.score_samples)
    wait = jax.block_until_ready
    return dict(zip(METHODS, (lambda m=m: wait(m(x)) for m in methods), strict=True))


def sklearn(problem: Problem) -> dict[str, Callable[[], Any]]:
    from sklearn.mixture import GaussianMixture

    x = problem.data()
    weights, means, covariances = problem.start()
    estimator = GaussianMixture(problem.n_components)
    estimator.weights_, estimator.means_ = weights, means
    estimator.covariances_ = covariances
    inverse = np.linalg.inv(np.linalg.cholesky(covariances))
    u = np.ascontiguousarray(np.swapaxes(inverse, 1, 2))
    estimator.precisions_cholesky_ = u
    return {
        "predict": lambda: estimator.predict(x),
        "score_samples": lambda: estimator.score_samples(x),
    }


def worker(contender: str, request: dict) -> None:
    runs = {"ours": ours, "sklearn": sklearn}[contender](Problem(**request))
    result: dict[str, Any] = {name: time_of(runs[name], 3) for name in METHODS}
    result["mean"] = float(np.mean(runs["score_samples"]()))
    print(json.dumps(result | {"MiB": peak_mib()}))


def main(rounds: int) -> None:
    for dtype in ("float32", "float64"):
        ratios = []
        for d, k in POINTS:
            found = medians(
                "benchmarks.densities",
                rounds,
                n_samples=N_SAMPLES,
                n_features=d,
                n_components=k,
                dtype=dtype,
            )
            a, b = found["ours"], found["sklearn"]
            np.testing.assert_allclose(a["mean"], b["mean"], rtol=1e-3)
            text = f"{dtype} D={d:<3} K={k:<4}"
            for name in METHODS:
                ratios.append(b[name] / a[name])
                text += (
                    f"{name} {1e3 * a[name]:6.1f} ms, scikit-learn {1e3 * b[name]:7.1f}"
                    f" ms ({ratios[-1]:4.1f} x)   "
                )
            print(f"{text}peak {a['MiB']:.0f} and {b['MiB']:.0f} MiB", flush=True)
        mean = statistics.geometric_mean(ratios)
        print(f"{dtype}: {mean:.1f} times (geometric mean), at least {min(ratios):.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        worker(sys.argv[1], json.loads(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
