"""How long will the next eruption of Old Faithful be, given the length of this one?

After a short eruption the next is long; after a long one it may be either. A network
with a mixture for its output can say so, one with a Gaussian cannot.
"""

import pathlib
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax
from _picture import save
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

import gmmx_eqx as gx


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# With many more the network learns its few eruptions by heart.
N_STEPS = 100

Lengths = Float[Array, " n"]


def load() -> tuple[np.ndarray, np.ndarray]:
    """Lengths of eruptions and of those that followed, minutes, shape (271,) each."""
    path = pathlib.Path(__file__).parent / "data" / "old_faithful.csv"
    lengths = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0, dtype=np.float32)
    return lengths[:-1], lengths[1:]


class DensityNetwork(eqx.Module):
    """A mixture whose parameters are a network's, for every input.

    They are what changes of one mixture, the same for all inputs: of numbers without
    constraints and units, zero for no change.
    """

    network: eqx.nn.MLP
    base: gx.UnconstrainedMixture

    def __init__(self, base: gx.GaussianMixture, width: int, *, key: Any):
        self.base = gx.UnconstrainedMixture.from_mixture(base)
        parameters, _ = ravel_pytree(eqx.filter(self.base, eqx.is_inexact_array))
        # One input, a length in minutes; the last layer is small at first.
        mlp = eqx.nn.MLP(1, parameters.size, width, 1, jnp.tanh, key=key)
        last = lambda mlp: (mlp.layers[-1].weight, mlp.layers[-1].bias)
        self.network = eqx.tree_at(last, mlp, replace_fn=lambda leaf: 0.1 * leaf)

    def __call__(self, x: Float[Array, ""]) -> gx.UnconstrainedMixture:
        """The density of what follows `x`."""
        parameters, rest = eqx.partition(self.base, eqx.is_inexact_array)
        numbers, as_parameters = ravel_pytree(parameters)
        changed = numbers + self.network((x - 3.5)[None])
        return eqx.combine(as_parameters(changed), rest)

    def log_prob(self, x: Lengths, y: Lengths) -> Lengths:
        """The log-density of each `y` given the `x` before it."""
        of_pair = lambda x, y: self(x).log_prob(y[None, None])[0]
        return jax.vmap(of_pair)(x, y)

    def quantiles(self, x: Lengths, q: Any) -> Float[Array, "n quantiles"]:
        return jax.vmap(lambda x: gx.univariate.quantile(self(x), q))(x)


class Trained(NamedTuple):
    """A network and, for comparison, two mixtures by EM, on the same pairs."""

    network: DensityNetwork
    base: gx.GaussianMixture  # of y alone, where the network began
    joint: gx.GaussianMixture  # of x and y

    def log_probs(self, x: Lengths, y: Lengths) -> dict[str, Lengths]:
        pairs = jnp.stack([x, y], axis=-1)
        first = gx.marginal(self.joint, 0).log_prob(x[:, None])
        return {
            "unconditional": self.base.log_prob(y[:, None]),
            "joint": self.joint.log_prob(pairs) - first,
            "network": self.network.log_prob(x, y),
        }


def train(
    x: Lengths,
    y: Lengths,
    used: Bool[Array, " n"],
    key: Any,
    *,
    n_components: int,
    n_steps: int,
    width: int = 16,
) -> Trained:
    """On the pairs that are `used`. Can be traced, and vmapped over folds."""
    weight = used.astype(y.dtype)
    keys = jr.split(key, 3)

    def fit(data: Float[Array, "n features"], key: Any) -> gx.GaussianMixture:
        # Wider than a few seconds: many lengths are the same to the second.
        ridge = 0.05**2
        options: Any = {"reg_covar": ridge, "sample_weight": weight}
        start = gx.GaussianMixture.from_k_means(data, n_components, key=key, **options)
        return gx.fit(start, data, **options, throw=False).mixture

    base = fit(y[:, None], keys[0])
    joint = fit(jnp.stack([x, y], axis=-1), keys[1])
    model = DensityNetwork(base, width, key=keys[2])
    trained, rest = eqx.partition(model, eqx.is_inexact_array)
    optimiser = optax.adamw(
        optax.cosine_decay_schedule(1e-2, n_steps), weight_decay=0.1
    )

    def loss(trained: DensityNetwork) -> Float[Array, ""]:
        log_prob = eqx.combine(trained, rest).log_prob(x, y)
        return -jnp.sum(weight * log_prob) / jnp.sum(weight)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        trained, state = carry
        updates, state = optimiser.update(jax.grad(loss)(trained), state, trained)
        return (optax.apply_updates(trained, updates), state), None

    carry = (trained, optimiser.init(trained))
    (trained, _), _ = jax.lax.scan(step, carry, length=n_steps)
    return Trained(eqx.combine(trained, rest), base, joint)


def cross_validate(
    x: np.ndarray, y: np.ndarray, n_components: int, n_folds: int, n_steps: int
) -> dict[str, float]:
    """Mean log-densities of pairs that were held out, nats, a stretch at a time."""
    fold = np.arange(len(x)) * n_folds // len(x)
    held_out = fold == np.arange(n_folds)[:, None]

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(None, None, 0, 0))
    def log_probs(x, y, used, key):
        options: Any = {"n_components": n_components, "n_steps": n_steps}
        return train(x, y, used, key, **options).log_probs(x, y)

    keys = jr.split(jr.key(0), n_folds)
    values = log_probs(jnp.asarray(x), jnp.asarray(y), jnp.asarray(~held_out), keys)
    return {name: float(np.asarray(v)[held_out].mean()) for name, v in values.items()}


def draw(x: np.ndarray, y: np.ndarray, networks: dict[str, DensityNetwork]) -> Figure:
    """The density of what follows every length, its quantiles, and the pairs."""
    lengths = jnp.linspace(1.5, 5.2, 150, dtype=jnp.float32)
    following = jnp.linspace(1.0, 6.0, 200, dtype=jnp.float32)
    density = jax.vmap(
        lambda x, n: jnp.exp(n(x).log_prob(following[:, None])), (0, None)
    )
    options: Any = {"sharex": True, "sharey": True, "squeeze": False}
    figure, panels = plt.subplots(1, len(networks), figsize=(9, 4.2), **options)
    shades = ScalarMappable(Normalize(0, 1.2), "Blues")
    for axes, (title, network) in zip(panels[0], networks.items(), strict=True):
        p = np.asarray(density(lengths, network))
        axes.pcolormesh(lengths, following, p.T, cmap="Blues", norm=shades.norm)
        curves = np.asarray(network.quantiles(lengths, jnp.asarray(QUANTILES)))
        for q, curve in zip(QUANTILES, curves.T, strict=True):
            width = 2.4 if q == 0.5 else 1.2
            dash = (0, (4, 2)) if q in (QUANTILES[0], QUANTILES[-1]) else "-"
            axes.plot(lengths, curve, color="#D55E00", lw=width, ls=dash)
        axes.scatter(x, y, s=12, color="black", ec="white", lw=0.4, zorder=3)
        axes.set_title(title)
        axes.set_xlabel("Length of this eruption (minutes)")
        axes.set(xlim=(1.5, 5.2), ylim=(1.0, 6.0))
    panels[0, 0].set_ylabel("Length of the next (minutes)")
    styles = {"median": (2.4, "-"), "25 %, 75 %": (1.2, "-"), "5 %, 95 %": (1.2, "--")}
    for label, (width, dash) in styles.items():
        panels[0, -1].plot([], [], color="#D55E00", lw=width, ls=dash, label=label)
    panels[0, -1].legend(loc=(0.03, 0.27), fontsize="small")
    figure.colorbar(shades, ax=panels[0], label="Density (1 / minute)", extend="max")
    return figure


def main() -> None:
    x, y = load()
    networks = {}
    print("Mean log-density of eruptions that were held out, nats")
    print("              network   joint by EM   not conditional")
    for n_components, name in ((1, "One Gaussian"), (3, "3 components")):
        options: Any = {"n_components": n_components, "n_steps": N_STEPS}
        score = cross_validate(x, y, n_folds=10, **options)
        columns = (score["network"], score["joint"], score["unconditional"])
        print(f"{name:12s}" + "{:9.3f}{:14.3f}{:18.3f}".format(*columns))
        everything = jnp.ones(len(x), bool)
        fit = eqx.filter_jit(train)
        trained = fit(jnp.asarray(x), jnp.asarray(y), everything, jr.key(0), **options)
        networks[f"{name}: {score['network']:.2f} nats held out"] = trained.network
    save(draw(x, y, networks))


if __name__ == "__main__":
    main()
