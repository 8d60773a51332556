"""Six covariance families.

The same data, three clusters of different shapes, fitted by each family that is
compared by default. The more a family shares between components or features, the fewer
parameters it has, and the fewer shapes it can take. BIC, in the titles, weighs one
against the other; lower is better.
"""

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
from _picture import save

import gmmx_eqx as gx
from gmmx_eqx import plotting


truth = gx.GaussianMixture.from_squeezed(
    means=[[0.0, 0.0], [5.0, 0.0], [1.0, 5.0]],
    covariances=[
        [[2.0, 1.6], [1.6, 2.0]],
        [[0.3, 0.0], [0.0, 1.5]],
        [[1.5, 0.0], [0.0, 0.3]],
    ],
    weights=[0.5, 0.25, 0.25],
)
x = truth.sample(jr.key(0), 400)
families = ["full", "tied", "diag", "tied_diag", "spherical", "tied_spherical"]

fig, axes = plt.subplots(2, 3, sharex=True, sharey=True, figsize=(7.5, 5.4))
for family, ax in zip(families, axes.flat, strict=True):
    population = gx.fit_restarts(x, 3, family, n_restarts=8, key=jr.key(1))
    mixture = population.best.mixture
    bic = jnp.round(mixture.bic(x))
    print(f"{family:15s} {mixture.n_parameters:3d} parameters, BIC {bic:.0f}")
    plotting.plot_mixture(mixture, x, annotate=False, ax=ax)
    ax.set(title=f"{family}, {bic:.0f}", xlabel="", ylabel="")
    ax.set(xlim=(-5, 9), ylim=(-5, 8))
save(fig)
