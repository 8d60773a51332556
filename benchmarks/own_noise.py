"""A pass over samples with noise of their own: a million in three dimensions, with full
matrices, and 32 components.

    python -m benchmarks.own_noise

Prints seconds of a pass by the clock and of all cores, in the type that
`JAX_ENABLE_X64` says, and the most memory that the process had.
"""

import resource
import time

import jax
import numpy as np

import gmmx_eqx as gx


N_SAMPLES, N_FEATURES, N_COMPONENTS = 10**6, 3, 32


def data() -> tuple[gx.GaussianMixture, gx.Observed]:
    rng = np.random.default_rng(0)
    means = 4 * rng.normal(size=(N_COMPONENTS, N_FEATURES))
    x = means[rng.integers(N_COMPONENTS, size=N_SAMPLES)]
    x = x + rng.normal(size=x.shape)
    factor = 0.2 * rng.normal(size=(N_SAMPLES, N_FEATURES, N_FEATURES))
    noise = factor @ factor.swapaxes(1, 2) + 0.05 * np.eye(N_FEATURES)
    errors = rng.normal(size=x.shape)
    y = x + np.einsum("nij,nj->ni", np.linalg.cholesky(noise), errors)
    start = gx.GaussianMixture.from_squeezed(
        means,
        [1.3 * np.eye(N_FEATURES)] * N_COMPONENTS,
        [1 / N_COMPONENTS] * len(means),
    )
    return start, gx.Observed(y, R=noise)


def seconds(start: gx.GaussianMixture, y: gx.Observed, n_steps: int) -> np.ndarray:
    """Of a fit of so many steps: by the clock, and of all cores."""
    before = np.array([time.perf_counter(), time.process_time()])
    solver = gx.EM(tol=0.0, max_steps=n_steps)
    jax.block_until_ready(gx.fit(start, y, solver=solver, throw=False))
    return np.array([time.perf_counter(), time.process_time()]) - before


def main() -> None:
    args = data()
    seconds(*args, 2)
    few, many = (np.min([seconds(*args, n) for _ in range(3)], axis=0) for n in (2, 6))
    clock, cores = (many - few) / 4
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{clock:.2f} s a pass, {cores:.2f} s of all cores, {memory:.2f} GiB")


if __name__ == "__main__":
    main()
