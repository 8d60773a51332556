"""A ridge for each feature, learnt through the fit: 13 numbers no grid could search.

The ridge that makes samples likely that a fit has not seen is found by gradient ascent
on the cross-validated log-likelihood of wines, whose derivative goes through `gx.fit`.
"""

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax
import sklearn.datasets
from _picture import save
from jaxtyping import Array, Float
from matplotlib.figure import Figure

import gmmx_eqx as gx


N_COMPONENTS = 3
GRID = tuple(np.geomspace(0.01, 1, 13).tolist())
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito's

Logs = Float[Array, " features"]


class FeatureRidge(gx.extend.AbstractRidge):
    """A fraction of the variance of each feature, of which the logarithms are given."""

    log_fractions: Logs

    def resolve(self, variances: Any) -> Any:
        fractions = jnp.exp(self.log_fractions).astype(variances.dtype)
        return variances * fractions[None, None, :, None]


def load() -> tuple[Any, Any, list[str]]:
    """Wines to learn from, shape (120, 13), others for the end, shape (58, 13)."""
    data: Any = sklearn.datasets.load_wine()
    x = data.data[np.random.default_rng(0).permutation(len(data.data))]
    # Units of what is learnt from: the others stay unseen.
    x = (x - x[58:].mean(axis=0)) / x[58:].std(axis=0)
    return jnp.asarray(x[58:], float), jnp.asarray(x[:58], float), data.feature_names


class Folds(eqx.Module):
    """Weights that hide a part of the samples from each fit, and where fits begin."""

    x: Float[Array, "n features"]
    weights: Float[Array, "folds n"]
    starts: gx.GaussianMixture

    @classmethod
    def create(cls, x: Any, n_folds: int) -> "Folds":
        seen = np.arange(len(x)) % n_folds != np.arange(n_folds)[:, None]
        weights = jnp.asarray(seen, x.dtype)
        keys = jr.split(jr.key(0), n_folds)
        return cls(
            x, weights, eqx.filter_vmap(start, in_axes=(None, 0, 0))(x, weights, keys)
        )

    def score(self, log_fractions: Logs) -> Float[Array, ""]:
        """The mean log-density of a sample under the fit that has not seen it, nats."""

        def held_out(start: gx.GaussianMixture, weight: Any) -> Any:
            mixture = fit(start, self.x, log_fractions, weight)
            return jnp.sum((1 - weight) * mixture.log_prob(self.x))

        totals = jax.vmap(held_out)(self.starts, self.weights)
        return jnp.sum(totals) / len(self.x)


def start(x: Any, weight: Any, key: Any) -> gx.GaussianMixture:
    ridge = gx.RelativeRidge(0.1)
    return gx.GaussianMixture.from_k_means(
        x, N_COMPONENTS, key=key, reg_covar=ridge, sample_weight=weight
    )


def fit(begin: Any, x: Any, log_fractions: Logs, weight: Any) -> gx.GaussianMixture:
    # Derivatives need fits that have settled. A fold that has not would be NaN.
    solver = gx.EM(tol=1e-7 if x.dtype == jnp.float64 else 1e-5, max_steps=2000)
    options: Any = {"sample_weight": weight, "solver": solver, "throw": False}
    return gx.fit(begin, x, reg_covar=FeatureRidge(log_fractions), **options).mixture


def learn(folds: Folds, begin: Logs, n_steps: int) -> tuple[Logs, np.ndarray]:
    """The logarithms of the fractions, and the score before every step."""
    optimiser = optax.adam(0.1)

    @jax.jit
    def step(logs: Logs, state: Any) -> Any:
        score, slope = jax.value_and_grad(folds.score)(logs)
        updates, state = optimiser.update(-slope, state)
        return optax.apply_updates(logs, updates), state, score

    logs, state, scores = begin, optimiser.init(begin), []
    for _ in range(n_steps):
        logs, state, score = step(logs, state)
        scores.append(float(score))
    return logs, np.array(scores)


def draw(grid: Any, learnt: Any, logs: Any, names: list[str]) -> Figure:
    """Scores of one ridge for all features, those of the learnt ones, and these."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2))
    titles = ("cross-validated", "wines not used at all")
    for values, level, title, colour in zip(
        np.transpose(grid), learnt, titles, (BLUE, ORANGE), strict=True
    ):
        left.plot(GRID, values, "o-", ms=4, color=colour, label=title)
        left.axhline(level, color=colour, ls="--")
        text = f"learnt: {level - np.max(values):+.2f}"
        style: Any = {"textcoords": "offset points", "ha": "right", "color": colour}
        left.annotate(text, (1, level), (0, 4), **style)
    left.legend(loc="lower center")
    left.margins(y=0.09)
    left.set(xscale="log", xlabel="One ridge for all features (fraction of variance)")
    left.set_ylabel("Mean log-density of a wine (nats)")
    left.set_title("A grid (points), 13 learnt (dashed)")
    order = np.argsort(logs)
    fractions = np.exp(np.asarray(logs))[order]
    right.hlines(range(len(order)), np.min(fractions) / 2, fractions, color="0.8")
    right.plot(fractions, range(len(order)), "o", color=BLUE)
    short = lambda name: name.removesuffix("_of_diluted_wines").replace("_", " ")
    labels = [short(names[i]) for i in order]
    right.set_yticks(range(len(order)), labels)
    right.set(xscale="log", xlabel="Learnt ridge (fraction of variance)")
    ticks = [
        tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if tick < max(fractions)
    ]
    right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    right.set_xticks([], minor=True)
    right.set_title("Ridge of each feature")
    return figure


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    x, unseen, names = load()
    folds = Folds.create(x, 5)
    begin = start(x, None, jr.key(0))
    on_unseen = jax.jit(lambda logs: fit(begin, x, logs, None).score(unseen))
    score = eqx.filter_jit(folds.score)
    same = lambda fraction: jnp.full(x.shape[1], np.log(fraction))
    scores = lambda logs: (float(score(logs)), float(on_unseen(logs)))
    grid = [scores(same(fraction)) for fraction in GRID]
    best = max(range(len(GRID)), key=lambda i: grid[i][0])
    begin_time = time.perf_counter()
    logs, history = learn(folds, same(GRID[best]), 60)
    seconds = time.perf_counter() - begin_time
    learnt = scores(logs)
    print("Mean log-density of a wine, nats   cross-validated   unseen")
    rows = {f"best of the grid, {GRID[best]:.3f}": grid[best], "13 ridges": learnt}
    for name, (validated, final) in rows.items():
        print(f"{name:30s}{validated:20.3f}{final:9.3f}")
    print(f"{len(history)} steps, {seconds:.1f} s, compiling included.")
    save(draw(grid, learnt, logs, names))


if __name__ == "__main__":
    main()
