"""Milliseconds per step on JAX's default device: `python -m benchmarks.device float32`.

No other library is timed. `score_samples` takes 100000 samples.
"""

import statistics
import sys
import time

import jax

import gmmx_eqx as gx

from . import contenders
from .problem import Problem
from .timing import seconds_per_step


STEPS = [
    (65536, 8, 16, "full"),
    (65536, 8, 64, "full"),
    (65536, 32, 4, "full"),
    (65536, 32, 16, "full"),
    (65536, 32, 64, "full"),
    (65536, 32, 64, "tied"),
    (65536, 32, 64, "diag"),
    (1_000_000, 16, 32, "full"),
]
SCORES = [(64, 16), (64, 128), (8, 128)]
FEW, MANY, REPEATS = 4, 20, 7


def step(problem: Problem) -> float:
    run = contenders.gmmx_eqx(problem)
    run(FEW)
    run(MANY)
    return statistics.median(seconds_per_step(run, FEW, MANY, REPEATS))


def score(problem: Problem) -> float:
    weights, means, covariances = problem.start()
    mixture = gx.GaussianMixture.from_squeezed(means, covariances, weights)
    x = jax.numpy.asarray(problem.data())
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        mixture.score_samples(x).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    # The first one compiles.
    return statistics.median(seconds[1:])


def main() -> None:
    dtype = sys.argv[1] if len(sys.argv) > 1 else "float32"
    jax.config.update("jax_enable_x64", dtype == "float64")
    print(jax.devices()[0].device_kind, "jax", jax.__version__, dtype)
    print(f"{'samples':>9} {'features':>8} {'components':>10} {'':>13} {'ms':>8}")
    line = "{:9} {:8} {:10} {:>13} {:8.2f}"
    for n, d, k, family in STEPS:
        seconds = step(Problem(n, d, k, dtype, family))
        print(line.format(n, d, k, family, 1e3 * seconds), flush=True)
    for d, k in SCORES:
        seconds = score(Problem(100_000, d, k, dtype))
        print(line.format(100_000, d, k, "score_samples", 1e3 * seconds), flush=True)


if __name__ == "__main__":
    main()
