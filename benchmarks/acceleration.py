"""Steps and time to a tolerance of 1e-8 nats per sample where EM crawls.

`python -m benchmarks.acceleration` prints plain EM, SQUAREM and scikit-learn, each in a
process of its own, from the same k-means start, in float64, and writes
`benchmarks/results/acceleration.json`.
"""

import json
import pathlib
import statistics
import sys
from collections.abc import Callable

import numpy as np

from .processes import ask, ONE_THREAD, time_of
from .record import write


TOL, MAX_STEPS, REG_COVAR, REPEATS = 1e-8, 20_000, 1e-6, 5


def old_faithful() -> np.ndarray:
    root = pathlib.Path(__file__).parents[1]
    path = root / "examples" / "data" / "old_faithful.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1)


def from_sklearn(name: str) -> np.ndarray:
    import sklearn.datasets

    x = getattr(sklearn.datasets, f"load_{name}")().data
    return (x - x.mean(axis=0)) / x.std(axis=0)


def overlapping(n_samples: int, n_features: int, n_components: int, apart: float):
    rng = np.random.default_rng(0)
    centres = apart * rng.normal(size=(n_components, n_features))
    label = rng.integers(n_components, size=n_samples)
    return centres[label] + rng.normal(size=(n_samples, n_features))


# name -> data, components, family
PROBLEMS: dict[str, tuple[Callable[[], np.ndarray], int, str]] = {
    "Old Faithful": (old_faithful, 4, "tied"),
    "Old Faithful, full": (old_faithful, 3, "full"),
    "iris": (lambda: from_sklearn("iris"), 4, "full"),
    "wine": (lambda: from_sklearn("wine"), 3, "diag"),
    "breast cancer": (lambda: from_sklearn("breast_cancer"), 4, "spherical"),
    "two, one sigma apart": (lambda: overlapping(2000, 2, 2, 0.5), 2, "full"),
    "five, overlapping": (lambda: overlapping(2000, 3, 5, 1.0), 5, "full"),
    "eight, overlapping": (lambda: overlapping(5000, 4, 8, 1.0), 8, "diag"),
}


def start_of(name: str):
    import jax
    import jax.numpy as jnp

    import gmmx_eqx as gx

    jax.config.update("jax_enable_x64", True)
    make, n_components, family = PROBLEMS[name]
    x = jnp.asarray(make())
    start = gx.GaussianMixture.from_k_means(
        x, n_components, key=jax.random.key(0), covariance_type=family
    )
    return x, start


def ours(name: str, solver_name: str) -> tuple[Callable[[], object], Callable]:
    import jax

    import gmmx_eqx as gx

    x, start = start_of(name)
    solver = getattr(gx, solver_name)(tol=TOL, max_steps=MAX_STEPS)

    def run():
        options = {"solver": solver, "reg_covar": REG_COVAR, "throw": False}
        return jax.block_until_ready(gx.fit(start, x, **options))

    def describe(solution):
        return int(solution.n_steps), float(solution.log_likelihood)

    return run, describe


def sklearn(name: str) -> tuple[Callable[[], object], Callable]:
    from sklearn.mixture import GaussianMixture

    x, start = start_of(name)
    x = np.asarray(x)
    estimator = start.to_sklearn()
    precisions = estimator.precisions_

    def run():
        return GaussianMixture(
            start.n_components,
            covariance_type=estimator.covariance_type,
            tol=TOL,
            max_iter=MAX_STEPS,
            reg_covar=REG_COVAR,
            weights_init=estimator.weights_ / estimator.weights_.sum(),
            means_init=estimator.means_,
            precisions_init=precisions,
        ).fit(x)

    return run, lambda fitted: (fitted.n_iter_, float(fitted.score(x) * len(x)))


def worker(contender: str, name: str) -> None:
    make = sklearn if contender == "sklearn" else lambda name: ours(name, contender)
    run, describe = make(name)
    seconds = statistics.median(time_of(run, REPEATS))
    n_steps, log_likelihood = describe(run())
    print(json.dumps([n_steps, seconds, log_likelihood]))


def main() -> None:
    ratios, records = [], []
    for name, (_, n_components, family) in PROBLEMS.items():
        cells = {}
        for contender in ("EM", "SQUAREM", "sklearn"):
            environment = ONE_THREAD if contender == "sklearn" else {}
            cells[contender] = ask(
                "benchmarks.acceleration", contender, environment, 600, name=name
            )
        problem = {"data": name, "components": n_components, "family": family}
        keys = ("n_steps", "seconds", "log_likelihood")
        found = {k: dict(zip(keys, v, strict=True)) for k, v in cells.items()}
        records.append({"problem": problem, **found})
        ratios.append(cells["SQUAREM"][0] / cells["EM"][0])
        text = "   ".join(
            f"{contender} {n_steps:5d} steps {1e3 * seconds:7.1f} ms {value:.4f}"
            for contender, (n_steps, seconds, value) in cells.items()
        )
        print(f"{name:22s} {text}", flush=True)
    print(f"median of the ratio of steps: {statistics.median(ratios):.2f}")
    write(records, "acceleration")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1], **json.loads(sys.argv[2]))
    else:
        main()
