"""Fewer steps by SQUAREM.

Where components overlap, EM takes many small steps. `gx.SQUAREM` extrapolates from
pairs of steps, and drops a leap that would lower the likelihood. The picture shows how
far both are below the maximum after each step.
"""

import jax
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx


jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
x = rng.normal(size=(1000, 2)) + 1.2 * rng.integers(3, size=(1000, 1)) * [1.0, 0.5]
start = gx.GaussianMixture.from_k_means(x, 3, key=jr.key(0), covariance_type="tied")

fig, ax = plt.subplots()
best = gx.fit(start, x, solver=gx.SQUAREM(tol=1e-13, max_steps=20_000), throw=False)
for name, kind, style in (("EM", gx.EM, "-"), ("SQUAREM", gx.SQUAREM, "--")):
    solution = gx.fit(start, x, solver=kind(tol=1e-10, max_steps=20_000), throw=False)
    n_steps = int(solution.n_steps)
    print(f"{name:8s} {solution.status}, {n_steps} steps")
    below = best.log_likelihood - solution.log_likelihoods[: n_steps + 1]
    ax.plot(np.maximum(below, 1e-8), style, label=name)
ax.set(yscale="log", xscale="log", xlabel="step", xlim=(1, None), ylim=(1e-6, None))
ax.set_ylabel("nats below the maximum")
ax.legend(loc="upper right")
save(fig)
