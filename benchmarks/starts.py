"""What kinds of starts lead to, beside scikit-learn's, from as many starts.

`python -m benchmarks.starts [SUITE …]` prints, for many data sets of each suite, all
fitted to the same tolerance in float64: how often the best of `N_STARTS` fits is more
than half a nat better than that of scikit-learn's `n_init`, and how often it is worse;
the same for one start; and how far the best is from the best that anything found.
"""

import functools as ft
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.datasets
import sklearn.mixture


N_STARTS, TOL, MAX_STEPS, REG_COVAR = 5, 1e-6, 500, 1e-6
DIFFERENCE = 0.5

Sets = list[np.ndarray]


def normals(rng, n_samples, n_features, n_components, apart, unequal=3.0, long=1.0):
    """Normal clusters with random covariances."""
    centres = apart * rng.normal(size=(n_components, n_features))
    weights = rng.dirichlet(np.full(n_components, unequal))
    factors = rng.normal(size=(n_components, n_features, n_features))
    factors *= np.exp(long / 2 * rng.normal(size=(n_components, n_features, 1)))
    label = rng.choice(n_components, size=n_samples, p=weights)
    noise = rng.normal(size=(n_samples, n_features, 1))
    return centres[label] + (factors[label] @ noise)[..., 0]


def subsets(x: np.ndarray, n_samples: int, n_sets: int) -> Sets:
    rng = np.random.default_rng(0)
    x = (x - x.mean(0)) / x.std(0)
    return [x[rng.permutation(len(x))[:n_samples]] for _ in range(n_sets)]


def made(n_sets: int, *args: float, **kwargs: float) -> Sets:
    rng = np.random.default_rng(0)
    return [normals(rng, *args, **kwargs) for _ in range(n_sets)]


def ragged() -> Sets:
    rng = np.random.default_rng(0)
    return [normals(rng, n, 2, 3, 2.0) for n in rng.integers(30, 150, 200)]


def toy(load: Callable[..., Any]) -> np.ndarray:
    return np.asarray(load(return_X_y=True)[0], float)


# Data sets, and how many components to fit.
SUITES: dict[str, tuple[Callable[[], Sets], int]] = {
    "ragged": (ragged, 3),
    "overlapping": (ft.partial(made, 48, 300, 2, 4, 1.0), 4),
    "elongated": (ft.partial(made, 48, 200, 3, 4, 2.0, unequal=1.5, long=2.0), 4),
    "many components": (ft.partial(made, 32, 400, 2, 12, 4.0), 12),
    "iris": (lambda: subsets(toy(sklearn.datasets.load_iris), 100, 40), 3),
    "wine": (lambda: subsets(toy(sklearn.datasets.load_wine), 140, 20), 3),
}


def ours(sets: Sets, n_components: int, initialiser, n_starts: int) -> np.ndarray:
    import jax

    jax.config.update("jax_enable_x64", True)
    import gmmx_eqx as gx

    solutions = gx.fit_batch(
        sets,
        n_components,
        n_restarts=n_starts,
        key=jax.random.key(0),
        initialiser=initialiser,
        reg_covar=REG_COVAR,
        solver=gx.EM(TOL, MAX_STEPS),
    )
    return np.asarray(solutions.log_likelihood)


def theirs(sets: Sets, n_components: int, n_starts: int) -> np.ndarray:
    found = []
    for seed, x in enumerate(sets):
        estimator = sklearn.mixture.GaussianMixture(
            n_components,
            n_init=n_starts,
            tol=TOL,
            max_iter=MAX_STEPS,
            reg_covar=REG_COVAR,
            random_state=seed,
        )
        found.append(estimator.fit(x).score(x) * len(x))
    return np.array(found)


def main(names: list[str]) -> None:
    import gmmx_eqx as gx

    warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
    kinds = {
        "mixed": gx.Mixed(),
        "k-means": gx.KMeans(),
        "k-means, not scaled": gx.KMeans("none"),
        "k-means++": gx.KMeansPlusPlus(),
        "random points": gx.RandomPoints(),
        "random responsibilities": gx.RandomResponsibilities(),
    }
    for name in names:
        make, n_components = SUITES[name]
        sets = make()
        run = {
            kind: [ours(sets, n_components, start, n) for n in (1, N_STARTS)]
            for kind, start in kinds.items()
        }
        run["scikit-learn"] = [theirs(sets, n_components, n) for n in (1, N_STARTS)]
        best = np.max([value for pair in run.values() for value in pair], axis=0)
        print(f"{name}: {len(sets)} data sets, {n_components} components")
        for kind, pair in run.items():
            text = ""
            for n, value, peer in zip(
                (1, N_STARTS), pair, run["scikit-learn"], strict=True
            ):
                better = int(np.sum(value > peer + DIFFERENCE))
                worse = int(np.sum(value < peer - DIFFERENCE))
                # Collapses have no bound; one should not be the whole mean.
                gap = np.mean(np.clip(best - value, 0, 50))
                text += f" | {n}: better {better}, worse {worse}, gap {gap:.1f}"
            print(f"  {kind:24}{text}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(SUITES))
