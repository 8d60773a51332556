"""How certain is a density?

Two hundred bootstrap samples of 150 waiting times, drawn with replacement, are fitted
as one program. The band holds the middle 90 % of their densities at every point. A
sample that is drawn twice has a weight of two, so all fits share one array of data.
"""

import pathlib

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx


path = pathlib.Path(__file__).parent / "data" / "old_faithful.csv"
waits = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1, dtype=np.float32)
x = np.random.default_rng(0).choice(waits, 150, replace=False)[:, None]
start = gx.fit_restarts(x, 2, n_restarts=8, key=jr.key(0)).best.mixture
times_drawn = np.random.default_rng(1).multinomial(150, np.full(150, 1 / 150), 200)


@eqx.filter_jit
@eqx.filter_vmap
def fit(weight):
    return gx.fit(start, x, sample_weight=weight, throw=False)


solutions = fit(jnp.asarray(times_drawn, jnp.float32))
print(int(solutions.converged.sum()), "of 200 fits converged")
grid = np.linspace(35, 105, 200, dtype=np.float32)[:, None]
density = eqx.filter_vmap(lambda m: jnp.exp(m.log_prob(grid)))(solutions.mixture)
low, high = np.quantile(density, [0.05, 0.95], axis=0)
weights = np.sort(solutions.mixture.weights[:, 0, :, 0, 0], axis=1)[:, 0]
print(f"weight of the short waits: {weights.mean():.3f} +- {weights.std():.3f}")

fig, ax = plt.subplots()
ax.hist(x[:, 0], bins=20, density=True, color="0.88", label="150 waiting times")
ax.fill_between(grid[:, 0], low, high, alpha=0.3, label="90 % of 200 fits")
ax.plot(grid[:, 0], np.exp(start.log_prob(grid)), label="fit of all 150")
ax.set(xlabel="waiting time (min)", ylabel="density (1 / min)")
ax.legend(loc="upper left", fontsize="small")
save(fig)
