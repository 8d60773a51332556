"""Weak scaling: twice the samples on two cores beside once the samples on one.

`python -m benchmarks.sharding` prints how many samples a second a step of EM takes on
one core and on two, and writes it to `benchmarks/results/sharding.json`. A core is a
process that is pinned to it, with one thread, and has a million samples of 8 features
in float32; two of them exchange sums over the loopback interface, by gloo. One and two
take turns, and the best of each counts: other programs on the same cores only add time.
"""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np

from .record import write


N_SAMPLES, N_FEATURES, N_COMPONENTS = 1_000_000, 8, 8
N_STEPS, ROUNDS = 10, 5


def worker(rank: int, n_processes: int, port: int) -> None:
    # Before JAX counts the cores that it may use.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank]})
    import jax

    import gmmx_eqx as gx

    if n_processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", n_processes, rank)
    rng = np.random.default_rng(rank)
    centres = 3 * np.random.default_rng(0).normal(size=(N_COMPONENTS, N_FEATURES))
    labels = rng.integers(N_COMPONENTS, size=N_SAMPLES)
    own = np.float32(centres[labels] + rng.normal(size=(N_SAMPLES, N_FEATURES)))
    x, weight = gx.shard(own, per_process=True)
    start = gx.GaussianMixture.from_squeezed(
        centres.astype(np.float32),
        np.tile(np.eye(N_FEATURES, dtype=np.float32), (N_COMPONENTS, 1, 1)),
        np.full(N_COMPONENTS, 1 / N_COMPONENTS, np.float32),
    )

    def seconds(n_steps: int) -> float:
        solver = gx.EM(tol=0.0, max_steps=n_steps)
        begin = time.perf_counter()
        solution = gx.fit(start, x, sample_weight=weight, solver=solver, throw=False)
        solution.log_likelihood.block_until_ready()
        return time.perf_counter() - begin

    seconds(1)  # compiles
    few = min(seconds(1) for _ in range(3))
    many = min(seconds(1 + N_STEPS) for _ in range(3))
    if rank == 0:
        print(json.dumps((many - few) / N_STEPS))


def step(n_processes: int) -> float:
    """Seconds of a step, of as many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.sharding"]
    runs = [
        subprocess.Popen(
            [*command, str(rank), str(n_processes), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n_processes)
    ]
    said = [run.communicate() for run in runs]
    if any(run.returncode for run in runs):
        raise RuntimeError("\n".join(errors for _, errors in said))
    return float(said[0][0].splitlines()[-1])


def main() -> None:
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for n_processes, own in times.items():
            own.append(step(n_processes))
    rates = {n: n * N_SAMPLES / min(own) for n, own in times.items()}
    records = {
        "samples_per_process": N_SAMPLES,
        "features": N_FEATURES,
        "components": N_COMPONENTS,
        "seconds_per_step": {str(n): own for n, own in times.items()},
        "samples_per_second": {str(n): rate for n, rate in rates.items()},
        "scaling": rates[2] / rates[1],
        "cores": os.cpu_count(),
        "load_at_end": os.getloadavg()[0],
    }
    for name, value in records.items():
        print(f"{name}: {value}")
    write(records, "sharding")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(*map(int, sys.argv[1:]))
    else:
        main()
