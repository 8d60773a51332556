"""A mixture as the prior of an autoencoder.

A small variational autoencoder of handwritten digits, whose prior is a mixture with
unconstrained parameters: encoder, decoder and prior are trained together on the
evidence lower bound. New digits are decoded samples of the prior, a row for each of the
four components of largest weight.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import optax
import sklearn.datasets
from _picture import save

import gmmx_eqx as gx


N_CODES, N_COMPONENTS, N_STEPS = 4, 10, 1000
images, _ = sklearn.datasets.load_digits(return_X_y=True)
digits = jnp.asarray(images, jnp.float32) / 16


class VAE(eqx.Module):
    encoder: eqx.nn.MLP
    decoder: eqx.nn.MLP
    prior: gx.UnconstrainedMixture

    def bound(self, x, key):
        """A sample of the evidence lower bound, of pixels with noise of 0.2."""
        mean, log_sd = jnp.split(self.encoder(x), 2)
        code = mean + jnp.exp(log_sd) * jr.normal(key, mean.shape)
        error = jnp.sum((self.decoder(code) - x) ** 2) / (2 * 0.2**2)
        entropy = jnp.sum(log_sd)
        return -error + entropy + self.prior.log_prob(code[None])[0]


keys = jr.split(jr.key(0), 4)
spread = gx.GaussianMixture.from_squeezed(
    2 * jr.normal(keys[0], (N_COMPONENTS, N_CODES)),
    jnp.ones((N_COMPONENTS, N_CODES)),
    jnp.full(N_COMPONENTS, 1 / N_COMPONENTS),
    "diag",
)
model = VAE(
    eqx.nn.MLP(64, 2 * N_CODES, 128, 1, key=keys[1]),
    eqx.nn.MLP(N_CODES, 64, 128, 1, key=keys[2]),
    gx.UnconstrainedMixture.from_mixture(spread),
)
trained, rest = eqx.partition(model, eqx.is_inexact_array)
optimiser = optax.adam(3e-3)


def step(carry, key):
    trained, state = carry

    def loss(trained):
        batch = digits[jr.randint(key, (128,), 0, len(digits))]
        model = eqx.combine(trained, rest)
        return -jnp.mean(jax.vmap(model.bound)(batch, jr.split(key, 128)))

    value, slope = jax.value_and_grad(loss)(trained)
    updates, state = optimiser.update(slope, state)
    return (optax.apply_updates(trained, updates), state), value


run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys))
begin = (trained, optimiser.init(trained))
(trained, _), losses = run(begin, jr.split(keys[3], N_STEPS))
model = eqx.combine(trained, rest)
print(f"bound: {-losses[:50].mean():.1f} at first, {-losses[-50:].mean():.1f} at last")

prior = model.prior.mixture
order = jnp.argsort(-prior.weights_squeezed)
fig, axes = plt.subplots(4, 8, figsize=(6, 3.2))
for row, k in zip(axes, order, strict=False):
    one = gx.GaussianMixture.from_squeezed(
        prior.means_squeezed[k][None],
        prior.covariances.values_squeezed[k][None],
        jnp.ones(1),
        "diag",
    )
    decoded = jax.vmap(model.decoder)(one.sample(jr.key(1), 8))
    for ax, image in zip(row, decoded, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set_axis_off()
save(fig)
