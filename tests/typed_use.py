# pyright: strict
"""What users write, held to the strictest rules of a type checker by `make lint`.

JAX's own functions with incomplete types are left out.
"""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

import gmmx_eqx as gx


Data = Float[Array, "n d"]


def first_fit(x: Data) -> gx.GaussianMixture:
    start = gx.GaussianMixture.from_k_means(x, n_components=3, key=jr.key(0))
    solution = gx.fit(start, x, reg_covar=1e-6, solver=gx.EM(tol=1e-6))
    print(solution.converged, solution.n_steps, solution.result)
    return solution.mixture


def choice(x: Data) -> gx.GaussianMixture:
    selection = gx.select(x, n_components=range(1, 4), key=jr.key(1))
    print(selection, selection["full", 2].bic, selection.margin)
    return selection.best.solution.mixture


def restarts(x: Data) -> Float[Array, " lanes"]:
    population = gx.fit_restarts(x, 3, key=jr.key(2), n_restarts=8)
    print(population.chance_of_new(), population.best.log_likelihood)
    return population.solutions.log_likelihood


def loss(mixture: gx.GaussianMixture, x: Data) -> Float[Array, ""]:
    return -jnp.mean(mixture.log_prob(x))


def posterior(mixture: gx.GaussianMixture, x: Data) -> Data:
    given = gx.condition(mixture, [0], x[0, :1])
    return gx.mean(given)[None]


def uses(mixture: gx.GaussianMixture, x: Data) -> None:
    labels, resp = mixture.predict(x), mixture.predict_proba(x)
    samples = mixture.sample(jr.key(3), 10)
    print(labels.shape, resp.shape, samples.shape, float(mixture.bic(x)))
    gx.save("mixture.safetensors", mixture)
    print(gx.load("mixture.safetensors"))
