"""Time to the first result in a fresh process: 1000 samples, 2 features, 3 components.

`python -m benchmarks.first_call` prints the median of five processes, in float32.
"""

import collections
import json
import statistics
import subprocess
import sys
import time

import numpy as np


PHASES = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


def worker() -> None:
    clock = time.perf_counter
    begin = clock()
    import jax

    import gmmx_eqx as gx

    seconds: dict[str, float] = {"import": clock() - begin}
    phases: dict[str, float] = collections.defaultdict(float)
    n_programs = 0

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        nonlocal n_programs
        if event in PHASES:
            phases[PHASES[event]] += duration_secs
            n_programs += PHASES[event] == "compile"

    jax.monitoring.register_event_duration_secs_listener(listen)
    x = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    x[:500] += 4

    def run():
        begin = clock()
        start = gx.GaussianMixture.from_k_means(x, 3, key=jax.random.key(0))
        jax.block_until_ready(start.means)
        middle = clock()
        solution = gx.fit(start, x, throw=False)
        jax.block_until_ready(solution.mixture.means)
        return middle - begin, clock() - middle

    seconds["start"], seconds["fit"] = run()
    seconds |= {f"of these, {phase}": value for phase, value in phases.items()}
    seconds["programs"] = n_programs
    seconds["start again"], seconds["fit again"] = run()
    print(json.dumps(seconds))


def main() -> None:
    command = [sys.executable, "-m", "benchmarks.first_call", "worker"]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    for name in runs[0]:
        median = statistics.median(run[name] for run in runs)
        print(f"{name:20s} {median:8.3f}")


if __name__ == "__main__":
    worker() if len(sys.argv) > 1 else main()
