"""The sweep of mclust's introduction, iris by fourteen models with one to nine
components, here and in R, each in a process of its own.

`python -m benchmarks.mclust` prints medians of fresh processes, which take turns: the
first sweep, imports included; the CPU seconds of the process until then; and a second
sweep inside it. It writes them to `benchmarks/results/mclust.json`. Ours is measured in
float64, without a cache of programs, and with one that another process has filled.
Without R, or without its package mclust, it says so and measures ours alone.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from .processes import ask
from .record import write


BEGIN = time.perf_counter()
_MODULE = "benchmarks.mclust"
_KEYS = ("wall", "CPU", "again")

# R's own times are in `proc.time`: of this process, since it began.
_SCRIPT = """
options(digits = 10)
suppressPackageStartupMessages(library(mclust))
sweep <- function() mclustBIC(iris[, 1:4], G = 1:9, verbose = FALSE)
table <- sweep()
first <- proc.time()
begin <- proc.time()[["elapsed"]]
invisible(sweep())
again <- proc.time()[["elapsed"]] - begin
cat(first[["user.self"]] + first[["sys.self"]], again, max(table, na.rm = TRUE),
    as.character(packageVersion("mclust")), as.character(getRversion()))
"""


def sweep() -> float:
    """The best BIC, in mclust's sign."""
    import jax
    from sklearn.datasets import load_iris

    import gmmx_eqx as gx

    x, _ = load_iris(return_X_y=True)
    table = gx.select(
        x,
        range(1, 10),
        gx.MODELS,
        n_restarts=1,
        initialiser=gx.Hierarchical(),
        reg_covar=0.0,
        key=jax.random.key(0),
    )
    return -table.best.bic


def worker(folder: str | None) -> dict[str, float]:
    # Of whoever measures.
    os.environ.pop("GMMX_EQX_CACHE", None)
    import jax

    import gmmx_eqx as gx

    jax.config.update("jax_enable_x64", True)
    if folder is not None:
        gx.cache_programs(folder)
    value = sweep()
    first = time.perf_counter() - BEGIN
    usage = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    sweep()
    return {
        "wall": first,
        "CPU": usage.ru_utime + usage.ru_stime,
        "again": time.perf_counter() - begin,
        "BIC": value,
    }


def has_mclust() -> bool:
    """Whether R and its package are there; says what is not."""
    if shutil.which("Rscript") is None:
        print("mclust is not measured: there is no `Rscript`. Install R.")
        return False
    command = ["Rscript", "-e", 'quit(status = !requireNamespace("mclust"))']
    if subprocess.run(command, capture_output=True).returncode:
        print(
            "mclust is not measured: R does not have it. "
            "`Rscript -e 'install.packages(\"mclust\")'` installs it."
        )
        return False
    return True


def run_r() -> dict[str, Any]:
    begin = time.perf_counter()
    done = subprocess.run(
        ["Rscript", "-e", _SCRIPT], capture_output=True, text=True, check=True
    )
    both = time.perf_counter() - begin
    cpu, again, best, mclust, r = done.stdout.split()
    return {
        "wall": both - float(again),
        "CPU": float(cpu),
        "again": float(again),
        "BIC": float(best),
        "versions": {"mclust": mclust, "R": r},
    }


def measure(rounds: int) -> dict[str, Any]:
    """Medians, by contender and by what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        ours = lambda where: ask(_MODULE, "ours", {}, 600, folder=where)
        contenders = {"ours": lambda: ours(None), "ours, cached": lambda: ours(folder)}
        if has_mclust():
            contenders["mclust"] = run_r
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, run in contenders.items():
                result = run()
                # The first turn fills the cache, and those of the file system.
                if turn and result:
                    found[name].append(result)
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in _KEYS}
        | {key: runs[0][key] for key in runs[0] if key not in _KEYS}
        for name, runs in found.items()
        if runs
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs")
    records = measure(parser.parse_args().rounds)
    for name, record in records.items():
        text = "   ".join(f"{key} {record[key]:7.3f}" for key in _KEYS)
        print(f"{name:13s} {text}   best BIC {record['BIC']:.4f}")
    write(records, "mclust")


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        print(json.dumps(worker(**json.loads(sys.argv[2]))))
    else:
        main()
