"""No program may run two large batches of LAPACK calls at the same time.

On a CPU, each of jaxlib's batched factorisations hands its work to the thread pool it
runs on and waits for it. Once they occupy all threads, they wait for ever. So they must
depend on each other, which is read off the compiled program here.
"""

import functools as ft
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import gmmx_eqx as gx
from gmmx_eqx._em import EMStep

from .helpers import FAMILIES, make_data, make_mixture


N_COMPONENTS, N_FEATURES = 6, 5
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.-]+) = (.*)$")
NAME = re.compile(r"%([\w.-]+)")


def computations(text: str) -> dict[str, dict[str, str]]:
    """The instructions of every computation of a compiled program, by name."""
    found, current = {}, {}
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")):
            (name, *_) = NAME.findall(line)
            current = found[name] = {}
        elif match := INSTRUCTION.match(line):
            current[match[1]] = match[2]
    return found


def simultaneous(compiled) -> list[tuple[str, str]]:
    """Pairs of batched factorisations, or of loops that hold some, of which neither
    depends on the other."""
    program = computations(compiled.as_text())

    @ft.cache
    def factorises(instruction: str) -> bool:
        called = set(NAME.findall(instruction)) & set(program)
        return "lapack_" in instruction or any(
            factorises(inner) for name in called for inner in program[name].values()
        )

    pairs = []
    for body in program.values():
        before: dict[str, set[str]] = {}
        for name, instruction in body.items():  # operands come first
            operands = set(NAME.findall(instruction)) & set(before)
            before[name] = operands.union(*(before[o] for o in operands))
        heavy = [name for name, instruction in body.items() if factorises(instruction)]
        pairs += [
            (a, b)
            for i, a in enumerate(heavy)
            for b in heavy[i + 1 :]
            if a not in before[b]
        ]
    return pairs


def test_two_factorisations_are_seen():
    """That the test would fail."""
    values = jnp.broadcast_to(jnp.eye(4), (3, 4, 4))

    def both(a, b):
        return jnp.linalg.cholesky(a), jnp.linalg.cholesky(b)

    assert simultaneous(jax.jit(both).lower(values, 2 * values).compile())
    chain = lambda a, b: jnp.linalg.cholesky(jnp.linalg.cholesky(a) + b)
    assert not simultaneous(jax.jit(chain).lower(values, values).compile())


def log_prob(mixture, x):
    return mixture.log_prob(x)


def gradient(mixture, x):
    return jax.grad(lambda mixture: jnp.sum(mixture.log_prob(x)))(mixture)


def step(kernel, mixture, x):
    source = gx.InMemory.from_data(x, None, 64)
    em_step = EMStep.create(mixture.covariances, source, gx.Ridge(1e-6), kernel)
    return em_step(mixture)


def fit(mixture, x):
    return gx.fit(mixture, x, throw=False)


PROGRAMS = {
    "log_prob": log_prob,
    "gradient": gradient,
    "packed": ft.partial(step, "packed"),
    "residual": ft.partial(step, "residual"),
    "auto": ft.partial(step, "auto"),
    "fit": fit,
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", [n for n in FAMILIES if n in ("full", "tied")])
@pytest.mark.parametrize("lanes", [False, True])
def test_factorisations_follow_each_other(name, program, lanes):
    x = jnp.asarray(make_data(150, N_FEATURES), dtype=float)
    mixture = make_mixture(name, N_COMPONENTS, N_FEATURES)
    run = lambda mixture: PROGRAMS[program](mixture, x)
    if lanes:
        run = eqx.filter_vmap(run)
        mixture = gx.stack([mixture, mixture])
    compiled = eqx.filter_jit(run).lower(mixture).compile()
    assert simultaneous(compiled.compiled) == []
