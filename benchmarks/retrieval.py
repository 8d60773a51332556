"""A sweep over numbers of components of data like the index of a search engine, with
the default prior, beside scikit-learn's `GaussianMixture`, each in its own process.

Passages embedded as vectors make clusters of a handful to many thousands of points,
narrow and wide ones. `python -m benchmarks.retrieval` fits mixtures of full covariances
to 97 000 of them, and to a tenth of that, with 12 features in float32, from one start
by k-means each; ours with the default prior, and those of the tenth with a hundredth of
its scale, too. It prints, and writes to `benchmarks/results/retrieval.json`: seconds,
compilation included, of the clock and of all cores together, how every fit ended, how
many steps it took, its smallest standard deviation in any direction, how many of its
components are narrower than any cluster, and the mean log-density of points that were
held out, in nats.
"""

import argparse
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .processes import ask, peak_mib
from .record import write


SIZES_OF_DATA, N_FEATURES = (9_700, 97_000), 12
NUMBERS = (8, 16, 32, 64, 96)
TOL, MAX_STEPS = 1e-3, 200
# Of clusters, which are drawn with uniform logarithms between these.
SIZES, WIDTHS = (4, 20_000), (0.02, 0.5)
# The narrowest directions of a cluster, in its widths, and half of what is left of them
# in the narrowest cluster: a component that is narrower has collapsed.
NARROW = 0.3
COLLAPSED = 0.5 * NARROW * WIDTHS[0]


def data(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples, and a tenth as many of the same clusters that are held out."""
    rng = np.random.default_rng(0)
    n_held_out = n_samples // 10
    rows, n_rows = [], 0
    while n_rows < n_samples + n_held_out:
        size, width = (np.exp(rng.uniform(*np.log(ends))) for ends in (SIZES, WIDTHS))
        axes, _ = np.linalg.qr(rng.normal(size=(N_FEATURES, N_FEATURES)))
        deviations = width * rng.uniform(NARROW, 1, size=N_FEATURES)
        noise = deviations * rng.normal(size=(int(size), N_FEATURES))
        rows.append(rng.normal(size=N_FEATURES) + noise @ axes.T)
        n_rows += int(size)
    x = rng.permutation(np.concatenate(rows)).astype(np.float32)
    return x[:n_samples], x[n_samples : n_samples + n_held_out]


def ours(n_samples: int, numbers: list[int], factor: float = 1.0) -> dict[str, Any]:
    import jax

    import gmmx_eqx as gx

    x, held_out = data(n_samples)
    begin = time.perf_counter()
    own = gx.Prior.from_data(x).components
    assert own is not None
    components = gx.NormalInverseWishart(
        own.mean,
        own.shrinkage,
        own.degrees_of_freedom,
        factor * np.asarray(own.scale),
        divided=True,
    )
    table = gx.select(
        x,
        numbers,
        ["full"],
        n_restarts=1,
        key=jax.random.key(0),
        initialiser=gx.KMeans(),
        prior=gx.Prior(components=components),
        solver=gx.EM(tol=TOL, max_steps=MAX_STEPS),
        width=1,
    )
    cells = [
        {
            "n_components": cell.n_components,
            "status": cell.status,
            "n_steps": cell.n_steps,
            "log_likelihood": cell.log_likelihood / n_samples,
            "held_out": float(cell.solution.mixture.score(held_out)),
            **of_components(
                cell.solution.mixture.weights_numpy * n_samples,
                cell.solution.mixture.covariances.values_numpy,
            ),
        }
        for cell in table.cells
    ]
    return {"s": time.perf_counter() - begin, **of_process(), "cells": cells}


def sklearn(n_samples: int, numbers: list[int]) -> dict[str, Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    warnings.simplefilter("ignore", ConvergenceWarning)
    x, held_out = data(n_samples)
    begin, cells = time.perf_counter(), []
    for k in numbers:
        estimator = GaussianMixture(k, tol=TOL, max_iter=MAX_STEPS, random_state=0)
        try:
            estimator.fit(x)
        except ValueError as error:
            cells.append({"n_components": k, "status": str(error).split(".")[0]})
            continue
        cells.append(
            {
                "n_components": k,
                "status": "converged" if estimator.converged_ else "not converged",
                "n_steps": estimator.n_iter_,
                "log_likelihood": float(estimator.score(x)),
                "held_out": float(estimator.score(held_out)),
                **of_components(
                    n_samples * np.asarray(estimator.weights_),
                    np.asarray(estimator.covariances_),
                ),
            }
        )
    return {"s": time.perf_counter() - begin, **of_process(), "cells": cells}


def of_process() -> dict[str, float]:
    """Seconds of all cores, imports and data included, and the most memory."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"CPU s": usage.ru_utime + usage.ru_stime, "MiB": peak_mib()}


def of_components(counts: np.ndarray, covariances: np.ndarray) -> dict[str, float]:
    """The smallest number of samples of a component, the smallest standard deviation of
    any in any direction, and how many components have collapsed."""
    variances = np.linalg.eigvalsh(covariances.astype(np.float64))[:, 0]
    deviations = np.sqrt(np.maximum(variances, 0))
    return {
        "fewest_samples": float(counts.min()),
        "narrowest": float(deviations.min()),
        "collapsed": int(np.sum(deviations < COLLAPSED)),
    }


NARROW_PRIOR = "ours, narrow"
CONTENDERS: dict[str, Callable[[int, list[int]], dict[str, Any]]] = {
    "ours": ours,
    NARROW_PRIOR: lambda *request: ours(*request, factor=0.01),
    "sklearn": sklearn,
}


def compare(n_samples: int, numbers: list[int]) -> dict[str, Any]:
    """What every contender finds, in turn."""
    record: dict[str, Any] = {"n_samples": n_samples}
    for name in CONTENDERS:
        if name == NARROW_PRIOR and n_samples > SIZES_OF_DATA[0]:
            continue
        request = {"n_samples": n_samples, "numbers": numbers}
        found = ask("benchmarks.retrieval", name, {}, 1800, **request)
        record[name] = found
        if found is None:
            continue
        print(
            f"{n_samples} samples, {name}: {found['s']:.0f} s, {found['CPU s']:.0f} s "
            f"of all cores, {found['MiB']:.0f} MiB"
        )
        for cell in found["cells"]:
            text = ", ".join(f"{key} {value}" for key, value in cell.items())
            print(f"  {text}", flush=True)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval")
    parser.add_argument("--samples", type=int, nargs="*", default=SIZES_OF_DATA)
    parser.add_argument("--numbers", type=int, nargs="*", default=NUMBERS)
    options = parser.parse_args()
    records = [compare(n, list(options.numbers)) for n in options.samples]
    write({"tol": TOL, "max_steps": MAX_STEPS, "sizes": records}, "retrieval")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in CONTENDERS:
        request = json.loads(sys.argv[2])
        run = CONTENDERS[sys.argv[1]]
        print(json.dumps(run(request["n_samples"], request["numbers"])))
    else:
        main()
