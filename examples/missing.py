"""The missing half of a digit.

A mixture of handwritten digits has learnt how their halves go together. The lower half
of digits that it has not seen is NaN, and `gx.impute` fills in its mean given the upper
half.
"""

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import sklearn.datasets
from _picture import save

import gmmx_eqx as gx


images, _ = sklearn.datasets.load_digits(return_X_y=True)
images = np.asarray(images, np.float32)[
    np.random.default_rng(0).permutation(len(images))
]
train, whole = images[:1000], images[-200:]
gaps = whole.copy()
gaps[:, 32:] = np.nan  # rows from above to below

for n_components in (1, 10):
    start = gx.GaussianMixture.from_k_means(
        train, n_components, key=jr.key(0), reg_covar=1.0
    )
    solver = gx.EM(tol=0.01)  # nats for an image of 64 pixels
    mixture = gx.fit(start, train, reg_covar=1.0, solver=solver).mixture
    filled = np.asarray(gx.impute(mixture, gaps))
    error = np.sqrt(np.mean((filled - whole)[:, 32:] ** 2))
    print(f"{n_components:2d} components: error of {error:.2f} grey levels of 16")

fig, axes = plt.subplots(3, 8, figsize=(8, 3.4))
for row, rows in zip(axes, (gaps, filled, whole), strict=True):
    for ax, image in zip(row, rows, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
for ax, title in zip(axes[:, 0], ("given", "filled in", "true"), strict=True):
    ax.set_ylabel(title)
save(fig)
