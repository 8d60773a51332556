"""The fourteen models of mclust.

The covariance of each component has a volume, a shape and an orientation. Three letters
say, in this order, which of them are equal for all components (E), variable (V) or the
identity (I). Here all fourteen models are fitted to the same three clusters, beginning
with their true labels. The rows of the picture differ in orientation, the columns in
volume and shape. Above each stand its name, the number of parameters of the
covariances, and the library's own name if there is one.
"""

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
from _picture import save

import gmmx_eqx as gx
from gmmx_eqx import plotting


ROWS = (
    ("EII", "VII"),
    ("EEI", "VEI", "EVI", "VVI"),
    ("EEE", "VEE", "EVE", "VVE"),
    ("EEV", "VEV", "EVV", "VVV"),
)
LETTERS = "volume, shape, orientation:\nE equal, V variable, I identity"

# Of each cluster; the second element of a shape is the inverse of the first.
volume = jnp.array([0.25, 0.7, 1.2])[None, :, None, None]
shape = jnp.array([1.8, 4.0, 2.0])
angle = jnp.array([1.3, 0.5, -0.5])
cos, sin = jnp.cos(angle), jnp.sin(angle)
truth = gx.families.Decomposition(
    volume,
    jnp.stack([shape, 1 / shape], axis=1)[None, :, :, None],
    jnp.moveaxis(jnp.array([[cos, -sin], [sin, cos]]), -1, 0)[None],
)
centres = [[-3.0, 3.0], [4.0, 2.5], [0.0, -4.0]]
mixture = gx.GaussianMixture.from_squeezed(centres, truth.dense[0], [1 / 3] * 3)
x, labels = mixture.sample_labelled(jr.key(0), 150)

fig, axes = plt.subplots(4, 4, figsize=(6.0, 7.4), sharex=True, sharey=True)
for models, row in zip(ROWS, axes, strict=True):
    for model, ax in zip(models, row, strict=False):
        start = gx.GaussianMixture.from_labels(x, labels, covariance_type=model)
        fitted = gx.fit(start, x).mixture
        family = fitted.covariances
        own = "" if family.type == model else family.type
        print(f"{model} {own:15s}{family.n_parameters}, BIC {fitted.bic(x):.1f}")
        plotting.plot_mixture(fitted, annotate=False, sigmas=(2.0,), ax=ax)
        ax.scatter(*x.T, s=1, color="black")
        ax.set_title(f"{model}, {family.n_parameters}\n{own}", fontsize=10)
for ax in axes.flat:
    ax.set(xlabel="", ylabel="", xticks=[], yticks=[], aspect="equal")
    ax.set(xlim=(-6.5, 8.5), ylim=(-7.5, 7.5))
for ax in axes[0, 2:]:
    ax.axis("off")
axes[0, 2].text(-6.5, 0.0, LETTERS, fontsize=10, in_layout=False)
save(fig)
