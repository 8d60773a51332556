"""Time to a first result, imports included, as someone meets it who replaces
scikit-learn's estimator by this library's: whole processes on small data sets.

`python -m benchmarks.first_result` prints medians of fresh processes, which take turns:
wall and CPU seconds of the whole process, seconds of a second run inside it, and how
many programs were compiled. Ours is measured without a cache of programs, and with one
that another process has filled.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from .processes import ask, ONE_THREAD
from .record import write


BEGIN = time.perf_counter()
FAMILIES = ("full", "tied", "diag", "spherical")


def iris(estimator: Any) -> float:
    """One mixture of three components."""
    from sklearn.datasets import load_iris

    x, _ = load_iris(return_X_y=True)
    mixture = estimator(3, random_state=0).fit(x)
    mixture.predict(x)
    return mixture.score(x)


def classes(estimator: Any) -> float:
    """A mixture for each of ten classes of ten sizes, and every sample's class."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    x, labels = load_digits(return_X_y=True)
    x = PCA(8, random_state=0).fit_transform(x)
    own = [x[labels == label] for label in range(10)]
    mixtures = [estimator(3, random_state=0).fit(part) for part in own]
    scores = np.stack([mixture.score_samples(x) for mixture in mixtures])
    return float(np.mean(np.argmax(scores, axis=0) == labels))


def search(estimator: Any) -> float:
    """Five folds of six numbers of components of each of four families."""
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV, KFold

    grid = {"n_components": list(range(1, 7)), "covariance_type": list(FAMILIES)}
    folds = KFold(5, shuffle=True, random_state=0)
    model = GridSearchCV(estimator(random_state=0), grid, cv=folds)
    return model.fit(load_iris(return_X_y=True)[0]).best_score_


def sweep(estimator: Any) -> float:
    """Nine numbers of components of each of four families, of five starts each."""
    from sklearn.datasets import load_iris

    x, _ = load_iris(return_X_y=True)
    return min(
        estimator(k, covariance_type=c, n_init=5, random_state=0).fit(x).bic(x)
        for c in FAMILIES
        for k in range(1, 10)
    )


TASKS: dict[str, Callable[[Any], float]] = {
    "iris": iris,
    "classes": classes,
    "search": search,
    "sweep": sweep,
}


def worker(contender: str, task: str, folder: str | None) -> dict[str, float]:
    import warnings

    # scikit-learn's, of fits that need more than a hundred steps.
    warnings.simplefilter("ignore")
    n_programs = 0
    # Of whoever measures.
    os.environ.pop("GMMX_EQX_CACHE", None)
    if contender == "ours":
        import jax

        import gmmx_eqx as gx
        from gmmx_eqx.sklearn import GaussianMixture

        def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
            del duration_secs, kwargs
            nonlocal n_programs
            n_programs += event == "/jax/core/compile/backend_compile_duration"

        jax.monitoring.register_event_duration_secs_listener(listen)
        if folder is not None:
            gx.cache_programs(folder)
    else:
        from sklearn.mixture import GaussianMixture
    value = TASKS[task](GaussianMixture)
    first = time.perf_counter() - BEGIN
    usage = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    TASKS[task](GaussianMixture)
    return {
        "wall": first,
        "CPU": usage.ru_utime + usage.ru_stime,
        "again": time.perf_counter() - begin,
        "programs": n_programs,
        "value": value,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_result")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    options = parser.parse_args()
    records = {}
    for task in options.tasks:
        records[task] = measure(task, options.rounds)
        theirs = min(
            (records[task]["sklearn, one thread"], records[task]["sklearn"]),
            key=lambda found: found["CPU"],
        )
        for name, found in records[task].items():
            ratios = [found[key] / theirs[key] for key in ("wall", "CPU", "again")]
            text = "   ".join(
                f"{key} {found[key]:7.3f} ({ratio:4.1f} x)"
                for key, ratio in zip(("wall", "CPU", "again"), ratios, strict=True)
            )
            print(f"{task:8s} {name:20s} {text}   programs {found['programs']:.0f}")
    write(records, "first_result")


def measure(task: str, rounds: int) -> dict[str, dict[str, float]]:
    """Medians, by contender and by what was measured."""
    import statistics

    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, tuple[str, dict, str | None]] = {
            "ours": ("ours", {}, None),
            "ours, cached": ("ours", {}, folder),
            "sklearn": ("sklearn", {}, None),
            "sklearn, one thread": ("sklearn", ONE_THREAD, None),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, (contender, environment, where) in contenders.items():
                request = {"task": task, "folder": where}
                module = "benchmarks.first_result"
                result = ask(module, contender, environment, 600, **request)
                # The first turn fills the cache, and those of the file system.
                if turn and result:
                    found[name].append(result)
    return {
        name: {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        for name, runs in found.items()
        if runs
    }


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in ("ours", "sklearn"):
        print(json.dumps(worker(sys.argv[1], **json.loads(sys.argv[2]))))
    else:
        main()
