"""Many fits as one program, beside scikit-learn, each in a process of its own.

`python -m benchmarks.many` prints, and writes to `benchmarks/results/many.json`:

- the time of 64 restarts over that of one scikit-learn fit from one start, with the
  same number of steps, in float64;
- the time of 64 restarts that race over that of one scikit-learn fit from random
  samples, the mean of twelve, to the same tolerance, in float64;
- the time of a scikit-learn loop over 1000 data sets over that of `fit_batch`, all
  converged to the same tolerance, in both types.
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
KEEP, SHORT_STEPS, N_PEERS = 8, 5, 12
N_SETS, SET_SHAPE = 1000, (200, 2)
TOL, MAX_STEPS = 1e-6, 500


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


def ours_race(*size: int) -> Callable[[], float]:
    import jax

    jax.config.update("jax_enable_x64", True)
    import gmmx_eqx as gx

    x, n_components = jax.numpy.asarray(data(*size)), size[1]
    solver = gx.EM(tol=TOL, max_steps=MAX_STEPS)
    race = {"keep": KEEP, "short_steps": SHORT_STEPS, "solver": solver}

    def run():
        key = jax.random.key(0)
        population = gx.fit_restarts(
            x, n_components, n_restarts=N_RESTARTS, key=key, **race
        )
        return float(population.best.mean_log_likelihood)

    return run


def sklearn_race(*size: int) -> Callable[[], float]:
    from sklearn.mixture import GaussianMixture

    x, n_components = data(*size), size[1]
    options = {"max_iter": MAX_STEPS, "tol": TOL, "init_params": "random_from_data"}

    def run():
        make = lambda seed: GaussianMixture(n_components, random_state=seed, **options)
        return max(make(seed).fit(x).lower_bound_ for seed in range(N_PEERS))

    return run


def ours_batch(dtype: str) -> Callable[[], float]:
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    import gmmx_eqx as gx

    xs = jax.numpy.asarray(sets().astype(dtype))
    solver = gx.EM(tol=TOL, max_steps=MAX_STEPS)
    options = {"solver": solver, "reg_covar": 1e-6}

    def run():
        solutions = gx.fit_batch(xs, 2, key=jax.random.key(0), **options)
        return float(solutions.mean_log_likelihood.mean())

    return run


def sklearn_batch(dtype: str) -> Callable[[], float]:
    from sklearn.mixture import GaussianMixture

    xs = sets().astype(dtype)
    make = lambda: GaussianMixture(2, tol=TOL, max_iter=MAX_STEPS, random_state=0)
    return lambda: float(np.mean([make().fit(x).lower_bound_ for x in xs]))


CONTENDERS: dict[str, Callable[..., Callable[[], float]]] = {
    "ours_restarts": ours_restarts,
    "sklearn_restarts": sklearn_restarts,
    "ours_race": ours_race,
    "sklearn_race": sklearn_race,
    "ours_batch": ours_batch,
    "sklearn_batch": sklearn_batch,
}


def worker(contender: str, request: dict) -> None:
    run = CONTENDERS[f"{contender}_{request['task']}"](*request["size"])
    warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
    is_loop = contender == "sklearn" and request["task"] != "restarts"
    seconds = time_of(run, 1 if is_loop else REPEATS)
    if request["task"] == "race" and is_loop:
        seconds = [each / N_PEERS for each in seconds]
    print(json.dumps({"s": seconds}))


def compare(task: str, *size: int | str) -> tuple[float, float]:
    """Median seconds of ours, and of scikit-learn at its better thread count."""
    found = medians("benchmarks.many", ROUNDS, task=task, size=size)
    return found["ours"]["s"], found["sklearn"]["s"]


def main() -> None:
    records = []
    for task in ("restarts", "race"):
        for size in SIZES:
            ours, peer = compare(task, *size)
            records.append({task: size, "gmmx_eqx": ours, "sklearn": peer})
            print(
                f"N, K, D = {size}: {N_RESTARTS} fits ({task}) {1e3 * ours:.0f} ms, "
                f"one of scikit-learn {1e3 * peer:.0f} ms, ratio {ours / peer:.2f}",
                flush=True,
            )
    for dtype in ("float64", "float32"):
        ours, peer = compare("batch", dtype)
        record = {"sets": (N_SETS, *SET_SHAPE), "dtype": dtype}
        records.append({**record, "gmmx_eqx": ours, "sklearn": peer})
        print(
            f"{N_SETS} sets of {SET_SHAPE}, 2 components, {dtype}: fit_batch "
            f"{1e3 * ours:.0f} ms, scikit-learn {1e3 * peer:.0f} ms, "
            f"{peer / ours:.0f} times",
            flush=True,
        )
    write(records, "many")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1], json.loads(sys.argv[2]))
    else:
        main()
