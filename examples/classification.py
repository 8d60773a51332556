"""Classification by a mixture for each class.

Each class of handwritten digits has a mixture of its own, on the first principal
components. Bayes' rule turns the densities into probabilities of classes. All ten
mixtures are fitted as one program, though their data sets differ in size. The picture
has the digits that are classified wrongly with the most confidence.
"""

import equinox as eqx
import jax.random as jr
import jax.scipy as jsp
import matplotlib.pyplot as plt
import numpy as np
import sklearn.datasets
import sklearn.decomposition
from _picture import save

import gmmx_eqx as gx


images, labels = sklearn.datasets.load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
train, test = order[:1200], order[1200:]
pca = sklearn.decomposition.PCA(20, random_state=0).fit(images[train])
x = pca.transform(images).astype(np.float32)

classes = [x[train][labels[train] == digit] for digit in range(10)]
for n_components in (1, 5):
    fits = gx.fit_batch(
        classes, n_components, "diag", reg_covar=gx.RelativeRidge(0.02), key=jr.key(0)
    )
    score = eqx.filter_vmap(lambda mixture: mixture.log_prob(x[test]))(fits.mixture)
    shares = np.log([len(rows) / len(train) for rows in classes], dtype=np.float32)
    joint = np.asarray(score).T + shares
    right = joint.argmax(axis=1) == labels[test]
    print(f"{n_components} components a class: {right.mean():.1%} of {len(test)} right")

posterior = np.exp(joint - np.asarray(jsp.special.logsumexp(joint, axis=1))[:, None])
doubt = np.where(right, -1, posterior.max(axis=1))
fig, axes = plt.subplots(2, 5, figsize=(7, 3.6))
for ax, i in zip(axes.flat, np.argsort(-doubt), strict=False):
    ax.imshow(images[test[i]].reshape(8, 8), cmap="gray_r")
    ax.set_axis_off()
    if not right[i]:
        ax.set_title(f"{labels[test[i]]}, said {joint[i].argmax()}", loc="center")
save(fig)
