"""Many fits as one program, beside scikit-learn, each in a process of its own.

`python -m benchmarks.many` prints, and writes to `benchmarks/results/many.json`, in
float64:

- the time of 64 restarts over that of one scikit-learn fit from one start, with the
  same number of steps;
- the time of a scikit-learn loop over 1000 data sets over that of `fit_batch`, all
  converged to the same tolerance.
"""

import json
import sys
import warnings
from collections.abc import Callable

import numpy as np

from .processes import medians, time_of
from .record import write


SIZES = ((272, 3, 2), (1000, 5, 4), (5000, 8, 8))  # samples, components, features
N_STEPS, N_RESTARTS, ROUNDS, REPEATS = 50, 64, 3, 3
N_SETS, SET_SHAPE = 1000, (200, 2)
TOL = 1e-6


def data(n_samples: int, n_components: int, n_features: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(n_components, n_features))
    noise = rng.normal(size=(n_samples, n_features))
    return centres[rng.integers(n_components, size=n_samples)] + noise


def sets() -> np.ndarray:
    rng = np.random.default_rng(1)
    label = rng.integers(2, size=(N_SETS, SET_SHAPE[0], 1))
    return 3 * label + rng.normal(size=(N_SETS, *SET_SHAPE))


def ours_restarts(*size: int) -> Callable[[], float]:
    import jax

    jax.config.update("jax_enable_x64", True)
    import gmmx_eqx as gx

    x, n_components = jax.numpy.asarray(data(*size)), size[1]
    solver = gx.EM(tol=0.0, max_steps=N_STEPS)
    options = {"n_restarts": N_RESTARTS, "solver": solver, "width": N_RESTARTS}

    def run():
        key = jax.random.key(0)
        initialiser = gx.RandomPoints("standard")
        population = gx.fit_restarts(
            x, n_components, key=key, initialiser=initialiser, **options
        )
        return float(population.best.mean_log_likelihood)

    return run


def sklearn_restarts(*size: int) -> Callable[[], float]:
    from sklearn.mixture import GaussianMixture

    x, n_components = data(*size), size[1]
    options = {"max_iter": N_STEPS, "tol": 0.0, "init_params": "random_from_data"}

    def run():
        estimator = GaussianMixture(n_components, random_state=0, **options)
        return float(estimator.fit(x).lower_bound_)

    return run


def ours_batch() -> Callable[[], float]:
    import jax

    jax.config.update("jax_enable_x64", True)
    import gmmx_eqx as gx

    xs = jax.numpy.asarray(sets())
    solver = gx.EM(tol=TOL, max_steps=500)
    options = {"solver": solver, "reg_covar": 1e-6}

    def run():
        solutions = gx.fit_batch(xs, 2, key=jax.random.key(0), **options)
        return float(solutions.mean_log_likelihood.mean())

    return run


def sklearn_batch() -> Callable[[], float]:
    from sklearn.mixture import GaussianMixture

    xs = sets()
    make = lambda: GaussianMixture(2, tol=TOL, max_iter=500, random_state=0)
    return lambda: float(np.mean([make().fit(x).lower_bound_ for x in xs]))


CONTENDERS: dict[str, Callable[..., Callable[[], float]]] = {
    "ours_restarts": ours_restarts,
    "sklearn_restarts": sklearn_restarts,
    "ours_batch": ours_batch,
    "sklearn_batch": sklearn_batch,
}


def worker(contender: str, request: dict) -> None:
    run = CONTENDERS[f"{contender}_{request['task']}"](*request["size"])
    warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
    is_loop = contender == "sklearn" and request["task"] == "batch"
    print(json.dumps({"s": time_of(run, 1 if is_loop else REPEATS)}))


def compare(task: str, size: tuple[int, ...] = ()) -> tuple[float, float]:
    """Median seconds of ours, and of scikit-learn at its better thread count."""
    found = medians("benchmarks.many", ROUNDS, task=task, size=size)
    return found["ours"]["s"], found["sklearn"]["s"]


def main() -> None:
    records = []
    for size in SIZES:
        ours, peer = compare("restarts", size)
        records.append({"restarts": size, "gmmx_eqx": ours, "sklearn": peer})
        print(
            f"N, K, D = {size}: {N_RESTARTS} restarts {1e3 * ours:.0f} ms, one "
            f"scikit-learn fit {1e3 * peer:.0f} ms, ratio {ours / peer:.2f}",
            flush=True,
        )
    ours, peer = compare("batch")
    records.append({"sets": (N_SETS, *SET_SHAPE), "gmmx_eqx": ours, "sklearn": peer})
    print(
        f"{N_SETS} sets of {SET_SHAPE}, 2 components: fit_batch {1e3 * ours:.0f} ms, "
        f"scikit-learn {1e3 * peer:.0f} ms, {peer / ours:.0f} times"
    )
    write(records, "many")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1], json.loads(sys.argv[2]))
    else:
        main()
