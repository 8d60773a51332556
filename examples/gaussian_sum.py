"""A Gaussian-sum filter.

An object moves along a line, and a sensor measures its distance from the origin, not on
which side it is. The belief is a mixture: an affine map and a convolution predict it,
`gx.observe` updates it for either side, and `gx.reduce` keeps it small. After step 20 a
beacon says that the object is on the right. All steps are one program.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx


N_STEPS = 40
rng = np.random.default_rng(0)
velocity = 0.3 * np.sin(np.arange(N_STEPS) / 6) + 0.05 * rng.normal(size=N_STEPS)
position = 4 + np.cumsum(velocity)
distance = np.abs(position + 0.3 * rng.normal(size=N_STEPS))
chance_of_left = np.where(np.arange(N_STEPS) < 20, 0.5, 1e-4)
grid = jnp.linspace(-10, 10, 300, dtype=jnp.float32)


def step(belief, seen):
    """From one time to the next, of a position and a velocity."""
    distance, left = seen
    move = jnp.array([[1.0, 1.0], [0.0, 1.0]], jnp.float32)
    predicted = gx.convolve(gx.affine(belief, move), noise=[0.001, 0.01])
    see = lambda y: gx.observe(predicted, gx.Features(0), R=0.09, y=y)
    (right, evidence), (other, evidence_of_other) = see(distance), see(-distance)
    chance = jax.nn.sigmoid(evidence_of_other - evidence + jnp.log(left / (1 - left)))
    belief = gx.GaussianMixture.from_squeezed(
        jnp.concatenate([right.means_squeezed, other.means_squeezed]),
        jnp.concatenate([m.covariances.values_squeezed for m in (right, other)]),
        jnp.concatenate(
            [(1 - chance) * right.weights_squeezed, chance * other.weights_squeezed]
        ),
    )
    belief = gx.reduce(belief, n_components=4)
    side = gx.marginal(belief, 0)
    on_right = gx.univariate.survival(side, 0.0)
    return belief, (jnp.exp(side.log_prob(grid[:, None])), on_right)


start = gx.GaussianMixture.from_squeezed(
    np.zeros((4, 2)), np.tile(np.diag([25.0, 0.1]), (4, 1, 1)), np.full(4, 0.25)
)
seen = (jnp.asarray(distance, jnp.float32), jnp.asarray(chance_of_left, jnp.float32))
_, (density, on_right) = jax.jit(lambda seen: jax.lax.scan(step, start, seen))(seen)
for i in (0, 19, 20, 39):
    print(f"after step {i + 1:2d}: on the right with probability {on_right[i]:.4f}")

fig, ax = plt.subplots(figsize=(7, 4.2))
shades = ax.pcolormesh(np.arange(N_STEPS) + 1, grid, density.T, cmap="Blues", vmax=1)
ax.plot(np.arange(N_STEPS) + 1, position, color="C4", label="true position")
ax.axvline(20.5, color="0.4", ls=":")
ax.annotate("beacon", (20.5, -9), (4, 0), textcoords="offset points", color="0.3")
ax.set(xlabel="step", ylabel="position")
ax.legend(loc="upper right")
fig.colorbar(shades, label="density of the position", extend="max")
save(fig)
