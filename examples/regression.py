"""Regression by conditioning.

A mixture of inputs and outputs together is a regression: `gx.condition` gives the
density of the output at any input, with as many modes as it has. The mean of such a
density (dashed) may lie where there is no data; quantiles show the branches.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from _picture import save

import gmmx_eqx as gx


rng = np.random.default_rng(0)
y = rng.uniform(0, 1, 600)
x = y + 0.3 * np.sin(2 * np.pi * y) + 0.05 * rng.normal(size=600)
pairs = np.stack([x, y], axis=1).astype(np.float32)
mixture = gx.fit_restarts(pairs, 8, n_restarts=8, key=jr.key(0)).best.mixture

inputs = jnp.linspace(0, 1, 120, dtype=jnp.float32)
outputs = jnp.linspace(-0.1, 1.1, 150, dtype=jnp.float32)
quantiles = jnp.array([0.05, 0.5, 0.95], jnp.float32)


@jax.jit
@jax.vmap
def conditional(value):
    """The density of the output, its mean and quantiles, at one input."""
    output = gx.condition(mixture, 0, value[None])
    curves = gx.univariate.quantile(output, quantiles)
    return jnp.exp(output.log_prob(outputs[:, None])), gx.mean(output)[0], curves


density, mean, curves = conditional(inputs)
at_half = int(jnp.argmin(jnp.abs(inputs - 0.5)))
print(f"at x = 0.5: mean {mean[at_half]:.2f}, 5, 50 and 95 %:", curves[at_half])

fig, ax = plt.subplots()
shades = ax.pcolormesh(inputs, outputs, density.T, cmap="Blues", vmax=12)
ax.plot(*pairs.T, ".", color="black", ms=2, alpha=0.5)
ax.plot(inputs, curves[:, [0, 2]], color="C4", label=["5 and 95 %", None])
ax.plot(inputs, mean, "--", color="C4", lw=2, label="mean")
ax.set(xlabel="input", ylabel="output", xlim=(0, 1), ylim=(-0.1, 1.1))
ax.legend(loc="upper left")
fig.colorbar(shades, label="density of the output", extend="max")
save(fig)
