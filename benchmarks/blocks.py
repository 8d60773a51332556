"""A pass over a file in blocks beside a step over data in memory.

`python -m benchmarks.blocks` makes a file of 50 million samples of 8 features in
float32 (1.6 GB, in the folder of `TMPDIR`, deleted in the end), prints, and writes to
`benchmarks/results/blocks.json`:

- seconds per step and per million samples, from the file, and of a tenth of the samples
  in memory;
- the largest memory of the process that reads the file, above that of one which has
  imported the library and made a step on few samples; pages of the mapped file itself,
  which the system takes back when it needs them, do not count.

Each is a process of its own; in memory and in blocks take turns.

`python -m benchmarks.blocks --fit 100000000 [FOLDER]` makes a file of so many samples
(3.2 GB) in a folder, that of `TMPDIR` if none is given, and writes to
`benchmarks/results/fit_blocks.json` how long a whole fit takes, by two stepwise passes
and the end
by SQUAREM and by EM, with the memory. The file is deleted in the end.
"""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from .record import write


N_SAMPLES, N_FEATURES, N_COMPONENTS = 50_000_000, 8, 8
PART = 10  # of the samples are in memory
N_STEPS, ROUNDS = 3, 3
# What a whole fit ends by, and when, in nats per sample.
ENDS, TOL = ("SQUAREM", "EM"), 1e-6


def make(path: pathlib.Path, n_samples: int) -> None:
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(N_COMPONENTS, N_FEATURES))
    file = np.memmap(path, np.float32, "w+", shape=(n_samples, N_FEATURES))
    for start in range(0, n_samples, 2**20):
        part = file[start : start + 2**20]
        labels = rng.integers(N_COMPONENTS, size=len(part))
        part[:] = centres[labels] + rng.normal(size=part.shape)
    file.flush()


def worker(kind: str, path: str, n_samples: int) -> None:
    import jax

    import gmmx_eqx as gx

    memory = Memory()
    file = np.memmap(path, np.float32, "r", shape=(n_samples, N_FEATURES))
    few = np.array(file[:20_000])
    start = gx.GaussianMixture.from_k_means(few, N_COMPONENTS, key=jax.random.key(0))

    def fit(x, n_steps):
        solver = gx.EM(tol=0.0, max_steps=n_steps)
        begin = time.perf_counter()
        solution = gx.fit(start, x, solver=solver, throw=False)
        solution.log_likelihood.block_until_ready()
        return time.perf_counter() - begin

    if kind in ENDS:
        data = gx.blocks(file)
        solver = gx.InTurn(gx.Stepwise(), getattr(gx, kind)(tol=TOL))
        begin, cpu = time.perf_counter(), time.process_time()
        solution = gx.fit(start, data, solver=solver, throw=False)
        value = float(solution.mean_log_likelihood)
        found = {
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu,
            "status": solution.status,
            "n_steps": int(solution.n_steps),
            "mean_log_likelihood": value,
            "after_two_passes": float(solution.log_likelihoods[2]) / n_samples,
            "mib": memory.mib,
        }
        print(json.dumps(found))
        return
    if kind == "none":
        fit(gx.blocks(few), 1)
        print(json.dumps({"mib": memory.mib}))
        return
    if kind == "memory":
        x = jax.numpy.asarray(np.array(file[: n_samples // PART]))
    else:
        x = gx.blocks(file)
    fit(x, 1)  # compiles, and reads the file for the first time
    times = [fit(x, n) for n in (1, 1 + N_STEPS)]
    per_step = (times[1] - times[0]) / N_STEPS
    print(json.dumps({"s": per_step * 1e6 / x.shape[0], "mib": memory.mib}))


class Memory(threading.Thread):
    """The most memory of its own that this process has held, in MiB (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib = 0.0
        self.start()

    def run(self) -> None:
        while True:
            status = pathlib.Path("/proc/self/status").read_text()
            (line,) = re.findall(r"RssAnon:\s+(\d+)", status)
            self.mib = max(self.mib, int(line) / 1024)
            time.sleep(0.005)


def whole_fit(n_samples: int, folder: str | None = None) -> None:
    needed = n_samples * N_FEATURES * 4
    with tempfile.TemporaryDirectory(dir=folder) as own:
        free = shutil.disk_usage(own).free
        if free < 1.1 * needed:
            sys.exit(f"{own} has {free / 1e9:.1f} GB left; {needed / 1e9:.1f} needed.")
        path = pathlib.Path(own) / "x.dat"
        make(path, n_samples)
        least = run("none", path, n_samples)["mib"]
        found = {kind: run(kind, path, n_samples) for kind in ENDS}
    for name, result in found.items():
        result["mib_above"] = result.pop("mib") - least
        print(f"{name}: {result}")
    if n_samples >= 10**8:
        sizes = {"samples": n_samples, "features": N_FEATURES, "tol": TOL}
        write({**sizes, "components": N_COMPONENTS, **found}, "fit_blocks")


def run(*args: object) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.blocks", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(n_samples: int = N_SAMPLES, rounds: int = ROUNDS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.dat"
        make(path, n_samples)
        found: dict[str, list[dict[str, float]]] = {"memory": [], "blocks": []}
        for _ in range(rounds):
            for kind, results in found.items():
                results.append(run(kind, path, n_samples))
        least = run("none", path, n_samples)["mib"]
    seconds = {
        kind: statistics.median(result["s"] for result in results)
        for kind, results in found.items()
    }
    records = {
        "samples": n_samples,
        "features": N_FEATURES,
        "components": N_COMPONENTS,
        "seconds_per_million": seconds,
        "ratio": seconds["blocks"] / seconds["memory"],
        "mib_above": max(result["mib"] for result in found["blocks"]) - least,
        "rounds": rounds,
    }
    for name, value in records.items():
        print(f"{name}: {value}")
    if n_samples == N_SAMPLES:
        write(records, "blocks")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("memory", "blocks", "none", *ENDS):
        worker(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["--fit"]:
        whole_fit(int(sys.argv[2]), *sys.argv[3:])
    else:
        main(*map(int, sys.argv[1:]))
