"""Restarts and optima.

A likelihood has many maxima. Two hundred starts of five components on iris are fitted
as one program, grouped by where they ended, and the best two are drawn over the petals.
`chance_of_better` estimates how likely one more start is to find something better.
"""

import jax.random as jr
import matplotlib.pyplot as plt
import sklearn.datasets
from _picture import save

import gmmx_eqx as gx
from gmmx_eqx import plotting


x, _ = sklearn.datasets.load_iris(return_X_y=True)
population = gx.fit_restarts(x, 5, "spherical", n_restarts=200, key=jr.key(0))
optima = population.optima()
print(population.n_converged, "fits converged, to", len(optima), "optima")
print(f"chance of a new optimum: {population.chance_of_new():.3f}")
print(f"chance of a better one: {population.chance_of_better():.3f}")

fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8), width_ratios=(1.3, 1, 1))
plotting.plot_optima(population, ax=axes[0])
names = ["petal length (cm)", "petal width (cm)"]
for ax, optimum in zip(axes[1:], optima[:2], strict=True):
    petals = gx.marginal(optimum.solution.mixture, [2, 3])
    plotting.plot_mixture(petals, x[:, 2:], names=names, annotate=False, ax=ax)
    ax.set_title(f"{optimum.solution.log_likelihood:.1f}, {optimum.count} times")
save(fig)
