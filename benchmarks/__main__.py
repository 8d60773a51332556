"""Seconds per EM step, each contender in a process of its own.

`python -m benchmarks [--quick]` prints a table and writes `benchmarks/results/*.json`.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

from .problem import Problem


# (contender, environment): which is the best thread count differs by problem.
RUNNERS = {
    "gmmx_eqx": ("gmmx_eqx", {}),
    "sklearn, 1 thread": ("sklearn", {"OMP_NUM_THREADS": "1"}),
    "sklearn, all threads": ("sklearn", {}),
    "gmmx": ("gmmx", {}),
}
RESULTS = pathlib.Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="one round, fewer samples")
    parser.add_argument("--limit", type=float, default=150, help="seconds per process")
    options = parser.parse_args()
    n_samples = 8192 if options.quick else 65536
    rounds = 1 if options.quick else 3
    problems = [
        Problem(n_samples, n_features, n_components, dtype)
        for dtype in ("float32", "float64")
        for n_features in (8, 32)
        for n_components in (16, 64)
    ]
    records = [measure(problem, rounds, options.limit) for problem in problems]
    write(records)


def measure(problem: Problem, rounds: int, limit: float) -> dict:
    """Interleaved rounds of all contenders; prints one line."""
    seconds = {name: [] for name in RUNNERS}
    likelihoods = {}
    peaks = {}
    for _ in range(rounds):
        for name in RUNNERS:
            # gmmx computes in float32 alone; who runs out of time is not asked again.
            if (
                (name == "gmmx" and problem.dtype == "float64")
                or name in peaks
                and (not seconds[name])
            ):
                continue
            result = run_worker(name, problem, limit)
            peaks[name] = result and result["MiB"]
            if result:
                seconds[name] += result["s"]
                likelihoods[name] = result["log_likelihood"][0]
    check_same(likelihoods)
    medians = {name: statistics.median(s) for name, s in seconds.items() if s}
    if "gmmx_eqx" not in medians or len(medians) < 2:
        print(f"{problem}: not done in {limit:.0f} s: {sorted(medians)}", flush=True)
        return {"problem": vars(problem), "seconds_per_step": seconds}
    ours = medians["gmmx_eqx"]
    best = min(medians[n] for n in medians if n.startswith("sklearn"))
    line = (
        f"{problem.dtype} D={problem.n_features:<3} K={problem.n_components:<3} "
        f"gmmx_eqx {1e3 * ours:8.1f} ms   scikit-learn {1e3 * best:8.1f} ms "
        f"({best / ours:4.1f} x)"
    )
    if "gmmx" in medians:
        line += (
            f"   gmmx {1e3 * medians['gmmx']:8.1f} ms ({medians['gmmx'] / ours:.1f} x)"
        )
    elif problem.dtype == "float32":
        line += f"   gmmx: not done in {limit:.0f} s"
    print(line, flush=True)
    return {"problem": vars(problem), "seconds_per_step": seconds, "peak_MiB": peaks}


def run_worker(name: str, problem: Problem, limit: float) -> dict | None:
    contender, environment = RUNNERS[name]
    steps = {"sklearn": (1, 3, 2), "gmmx": (1, 3, 1)}.get(contender, (3, 9, 5))
    request = json.dumps(vars(problem) | {"steps": steps})
    command = [sys.executable, "-m", "benchmarks.worker", contender, request]
    try:
        done = subprocess.run(
            command,
            env=os.environ | environment,
            capture_output=True,
            check=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout)


def check_same(likelihoods: dict[str, float]) -> None:
    """All contenders must have done the same steps from the same start."""
    # gmmx_eqx takes more steps than its slower peers are given.
    peers = [value for name, value in likelihoods.items() if name != "gmmx_eqx"]
    if peers and max(peers) - min(peers) > 1e-3 * abs(peers[0]):
        raise RuntimeError(f"The contenders disagree: {likelihoods}.")


def write(records: list[dict]) -> None:
    packages = ("gmmx_eqx", "jax", "jaxlib", "equinox", "scikit-learn", "numpy", "gmmx")
    provenance = {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "em_step.json"
    path.write_text(json.dumps({**provenance, "records": records}, indent=1) + "\n")
    print(f"{provenance['processor']}, {provenance['cores']} cores; wrote {path.name}")


def processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
