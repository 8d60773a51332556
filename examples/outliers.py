"""Outliers and anomaly scores.

The log-density under a mixture says how unusual a sample is. The threshold is the
log-density that one in a hundred samples of the mixture falls below, so that it holds
for any number of features. Forty anomalies were mixed into 400 new samples.
"""

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx


def moons(rng: np.random.Generator, n: int) -> np.ndarray:
    angle, upper = rng.uniform(0, np.pi, n), rng.integers(2, size=n) * 2 - 1
    curve = np.stack([np.cos(angle) * upper + 0.5 * (1 - upper), np.sin(angle) * upper])
    curve[1] += 0.25 * (1 - upper)
    return (curve.T + 0.08 * rng.normal(size=(n, 2))).astype(np.float32)


rng = np.random.default_rng(0)
x, usual = moons(rng, 600), moons(rng, 400)
unusual = rng.uniform([-1.6, -1.1], [2.6, 1.6], size=(40, 2)).astype(np.float32)
mixture = gx.fit_restarts(x, 8, n_restarts=8, key=jr.key(0)).best.mixture
drawn = mixture.log_prob(mixture.sample(jr.key(1), 20_000))
threshold = float(np.quantile(drawn, 0.01))
found = mixture.log_prob(unusual) < threshold
alarms = mixture.log_prob(usual) < threshold
print(f"{found.sum()} of 40 anomalies found, {alarms.sum()} false alarms in 400")

fig, ax = plt.subplots(figsize=(6.4, 4.2))
a, b = np.meshgrid(np.linspace(-1.7, 2.7, 150), np.linspace(-1.2, 1.7, 120))
grid = np.stack([a.ravel(), b.ravel()], axis=1).astype(np.float32)
density = np.asarray(mixture.log_prob(grid)).reshape(a.shape)
shades = ax.contourf(a, b, density, levels=np.arange(-12, 2), extend="min", alpha=0.6)
ax.contour(a, b, density, levels=[threshold], colors="black", linewidths=1.5)
ax.plot(*usual.T, ".", color="white", mec="0.3", mew=0.5, label="usual")
ax.plot(*unusual.T, "X", color="C4", mec="white", ms=8, label="anomalies")
ax.legend(loc="upper right", frameon=True)
ax.set(xlabel="first feature", ylabel="second feature")
fig.colorbar(shades, label="log-density (nats)")
save(fig)
