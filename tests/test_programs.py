"""What must not be in a program.

On a CPU, a call of LAPACK leaves threads spinning that take the cores from the matrix
products, and two batched calls at the same time can wait for each other for ever.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import gmmx_eqx as gx
from gmmx_eqx._em import EMStep

from .helpers import every_family, make_data, make_mixture


pytestmark = pytest.mark.x64

LAPACK = "custom_call @lapack_"


def log_prob(mixture, x):
    return mixture.log_prob(x)


def gradient(mixture, x):
    return jax.grad(lambda mixture: jnp.sum(mixture.log_prob(x)))(mixture)


def step(mixture, x):
    source = gx.extend.InMemory.from_data(x, None, 64)
    em_step = EMStep.create(mixture.covariances, source, gx.Ridge(1e-6))
    return em_step(mixture)


def fit(mixture, x):
    return gx.fit(mixture, x, throw=False)


PROGRAMS = {
    "log_prob": log_prob,
    "gradient": gradient,
    "step": step,
    "fit": fit,
}


def text(run, *args) -> str:
    return eqx.filter_jit(run).lower(*args).as_text()


def test_a_call_of_lapack_is_seen():
    assert LAPACK in text(jnp.linalg.cholesky, jnp.eye(3)[None])


@pytest.mark.parametrize("program", PROGRAMS)
@every_family
def test_no_call_of_lapack(name, program):
    x = jnp.asarray(make_data(150, 5), dtype=float)
    run = lambda mixture: PROGRAMS[program](mixture, x)
    assert LAPACK not in text(run, make_mixture(name, 6, 5))


@every_family
def test_no_call_of_lapack_by_many(name):
    x = jnp.asarray(make_data(150, 5), dtype=float)
    mixture = make_mixture(name, 6, 5)
    run = eqx.filter_vmap(lambda mixture: fit(mixture, x))
    assert LAPACK not in text(run, gx.stack([mixture, mixture]))
