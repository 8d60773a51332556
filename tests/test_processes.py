"""A forked child has none of the threads that JAX computes with."""

import multiprocessing
import sys

import pytest

from .helpers import run_python


# Each child answers within the time, or is killed.
FORKS = """
import multiprocessing as mp
import os
import sys
import warnings
import numpy as np
import gmmx_eqx as gx
import gmmx_eqx.sklearn

warnings.simplefilter("ignore")
x = np.random.default_rng(0).normal(size=(40, 2))


def attempt(queue, call):
    try:
        call()
        queue.put("works")
    except RuntimeError as error:
        queue.put("spawn" in str(error) and "loky" in str(error))
    except BaseException as error:
        queue.put(repr(error))


def answer(call):
    context = mp.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=attempt, args=(queue, call))
    process.start()
    process.join(20)
    if process.is_alive():
        process.kill()
        return "hangs"
    return queue.get()


def fit():
    import jax.random as jr
    mixture = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(0))
    gx.fit(mixture, x, throw=False)
"""

BEFORE = (
    FORKS
    + """
print(answer(fit))
print(answer(lambda: answer(fit)))
print(answer(lambda: gmmx_eqx.sklearn.GaussianMixture(2, random_state=0).fit(x)))
"""
)
AFTER = (
    FORKS
    + """
import pickle
import jax
import jax.numpy as jnp
import jax.random as jr
key = jr.key(0)
mixture = gx.GaussianMixture.create(2, 2)
line = gx.GaussianMixture.create(2, 1)
estimator = gmmx_eqx.sklearn.GaussianMixture(2, random_state=0).fit(x)
stored = pickle.dumps(mixture)
calls = [
    lambda: estimator.fit(x),
    lambda: estimator.predict(x),
    lambda: estimator.sample(3),
    lambda: estimator.score(x),
    lambda: estimator.mixture_,
    lambda: gx.fit(mixture, x),
    lambda: gx.fit_restarts(x, 2, key=key),
    lambda: gx.fit_batch([x], 2, key=key),
    lambda: gx.select(x, key=key),
    lambda: gx.GaussianMixture.create(2, 2),
    lambda: gx.GaussianMixture.from_k_means(x, 2, key=key),
    lambda: gx.GaussianMixture.from_squeezed([[0.0]], [[[1.0]]], [1.0]),
    lambda: mixture.log_prob(x),
    lambda: mixture.sample(key, 3),
    lambda: gx.mean(mixture),
    lambda: gx.covariance(mixture),
    lambda: gx.univariate.cdf(line, 0.0),
    lambda: gx.reduce(mixture, 1),
    lambda: gx.divergences.wasserstein(mixture, mixture),
    lambda: gx.divergences.kl_monte_carlo(mixture, mixture, key, 8),
    lambda: gx.EM(tol=1e-4),
    lambda: gx.stack([mixture, mixture]),
    lambda: gx.UnconstrainedMixture.from_mixture(mixture),
    lambda: pickle.loads(stored),
    # In a child of a child too.
    lambda: [print(answer(lambda: gx.mean(mixture))), gx.mean(mixture)],
]
for call in calls:
    print(answer(call))
"""
)
OTHERWISE = (
    FORKS
    + """
import jax.numpy as jnp
jnp.zeros(3).block_until_ready()
print(answer(lambda: gx.GaussianMixture.create(2, 2)))
"""
)

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin",
    reason="processes are not forked here",
)


@pytest.mark.x32
def test_forked_before_jax_was_used():
    assert run_python(BEFORE).split() == ["works"] * 3


@pytest.mark.x32
def test_forked_after_jax_was_used():
    said = run_python(AFTER).split()
    assert said == ["True"] * 26


@pytest.mark.x32
def test_forked_after_jax_was_used_by_others():
    assert run_python(OTHERWISE).split() == ["True"]
