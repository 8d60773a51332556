"""Peak memory of a fit over the data and the interpreter with JAX loaded.

`python -m benchmarks.memory` fits a million samples (Linux only).
"""

import pathlib

import jax
import numpy as np

import gmmx_eqx as gx


N_SAMPLES, N_FEATURES, N_COMPONENTS = 1_000_000, 16, 32


def status(field: str) -> float:
    """A field of /proc/self/status in MB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_SAMPLES, N_FEATURES), dtype=np.float32)
    means = x[:N_COMPONENTS]
    start = gx.GaussianMixture.from_squeezed(
        means,
        np.broadcast_to(np.eye(N_FEATURES), (N_COMPONENTS, N_FEATURES, N_FEATURES)),
        np.full(N_COMPONENTS, 1 / N_COMPONENTS),
    )
    x = jax.block_until_ready(jax.numpy.asarray(x))
    start.score(x[:1]).block_until_ready()
    before = status("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    solution = gx.fit(start, x, solver=gx.EM(tol=0.0, max_steps=3), throw=False)
    solution.log_likelihood.block_until_ready()
    peak = status("VmHWM")
    print(
        f"N={N_SAMPLES} D={N_FEATURES} K={N_COMPONENTS} {x.dtype}: "
        f"{peak - before:.0f} MB over {before:.0f} MB (data {x.nbytes / 1e6:.0f} MB)"
    )


if __name__ == "__main__":
    main()
