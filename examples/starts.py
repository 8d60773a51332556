"""Four kinds of start.

EM climbs to the nearest maximum, so the start matters. Above, starts of four kinds from
the same key; below, how far 32 fits from each kind end below the best of them. k-means
is the best single start here. The other kinds vary more, so that among many of them
there
may be one that finds what k-means misses.
"""

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx
from gmmx_eqx import plotting


rng = np.random.default_rng(3)
centres = rng.uniform(-8, 8, size=(6, 2))
x = (centres[rng.integers(6, size=500)] + rng.normal(size=(500, 2))).astype(np.float32)
kinds = {
    "k-means": gx.KMeans(),
    "k-means++": gx.KMeansPlusPlus(),
    "random points": gx.RandomPoints(),
    "responsibilities": gx.RandomResponsibilities(),
}

bins = np.linspace(0, 160, 17)
fig, axes = plt.subplots(2, 4, sharey="row", figsize=(10, 5.2))
for (name, kind), (above, below) in zip(kinds.items(), axes.T, strict=True):
    start = gx.GaussianMixture.from_initialiser(kind, x, 6, key=jr.key(0))
    plotting.plot_mixture(start, x, sigmas=(1.0,), annotate=False, ax=above)
    above.set(title=name, xlabel="", ylabel="", xlim=(-11, 11), ylim=(-11, 11))
    population = gx.fit_restarts(x, 6, n_restarts=32, initialiser=kind, key=jr.key(1))
    solutions = population.solutions
    reached = np.asarray(solutions[solutions.converged].log_likelihood)
    best = population.best.log_likelihood
    share = np.mean(reached > best - 1)
    print(f"{name:17s} best {best:.1f}, within a nat of it: {share:.0%}")
    below.hist(np.clip(best - reached, 0, bins[-1]), bins=bins)
    below.set(xlabel="nats below the best")
axes[1, 0].set_ylabel("starts")
save(fig)
