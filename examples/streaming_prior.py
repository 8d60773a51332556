"""EM of a prior while an encoder is trained.

An autoencoder of handwritten digits learns two codes for each by gradients; the mixture
that is their prior learns from the same batches by stepwise EM, without a step size of
its own. To the left the codes of all digits, in the colours of their labels, with the
prior; to the right what the means of its components decode to.
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


N_COMPONENTS, N_STEPS, NOISE = 10, 2000, 0.1
images, labels = sklearn.datasets.load_digits(return_X_y=True)
digits = jnp.asarray(images, jnp.float32) / 16
keys = jr.split(jr.key(0), 4)
encoder = eqx.nn.MLP(64, 2, 64, 2, key=keys[0])
decoder = eqx.nn.MLP(2, 64, 64, 2, key=keys[1])
start = gx.GaussianMixture.from_squeezed(
    jr.normal(keys[2], (N_COMPONENTS, 2)),
    jnp.full((N_COMPONENTS, 2), 0.3),
    jnp.full(N_COMPONENTS, 1 / N_COMPONENTS),
    "diag",
)
solver = gx.Stepwise(exponent=0.6)
optimiser = optax.adam(2e-3)
networks, rest = eqx.partition((encoder, decoder), eqx.is_inexact_array)


def loss(networks, prior, x, key):
    """With noise on the codes, whose place the decoder cannot then rely on."""
    encoder, decoder = eqx.combine(networks, rest)
    codes = jax.vmap(encoder)(x)
    noisy = codes + NOISE * jr.normal(key, codes.shape)
    error = jnp.sum((jax.vmap(decoder)(noisy) - x) ** 2, axis=1) / (2 * 0.2**2)
    return jnp.mean(error - prior.log_prob(noisy)), noisy


def step(carry, key):
    networks, optimiser_state, state = carry
    x = digits[jr.randint(key, (128,), 0, len(digits))]
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    (value, codes), slope = value_and_grad(networks, state.mixture, x, key)
    updates, optimiser_state = optimiser.update(slope, optimiser_state)
    networks = optax.apply_updates(networks, updates)
    state = solver.update(state, codes, reg_covar=1e-3)
    return (networks, optimiser_state, state), value


run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys))
begin = (networks, optimiser.init(networks), solver.init(start))
(networks, _, state), losses = run(begin, jr.split(keys[3], N_STEPS))
encoder, decoder = eqx.combine(networks, rest)
print(f"loss: {losses[:50].mean():.1f} at first, {losses[-50:].mean():.1f} at last")
prior = state.mixture
print(f"{int(state.n_updates)} updates of the prior")

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6))
codes = jax.vmap(encoder)(digits)
left.scatter(*codes.T, c=labels, s=3, cmap="tab10")
for k in range(N_COMPONENTS):
    mean, sd = prior.means_squeezed[k], jnp.sqrt(prior.covariances.values_squeezed[k])
    turn = jnp.linspace(0, 2 * jnp.pi, 60)
    ring = mean[:, None] + 2 * sd[:, None] * jnp.stack([jnp.cos(turn), jnp.sin(turn)])
    left.plot(*ring, color="0.2", linewidth=0.8)
decoded = jax.vmap(decoder)(prior.means_squeezed).reshape(2, 5, 8, 8)
tiles = jnp.concatenate([jnp.concatenate(list(row), axis=1) for row in decoded])
right.imshow(tiles, cmap="gray_r", vmin=0, vmax=1)
right.set_axis_off()
save(fig)
