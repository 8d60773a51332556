"""How large compiled programs are, how many of them a first call needs, and what data
on several devices has to be gathered for: the part of speed that no clock is needed
for.

`MAX_LINES`, `MAX_PROGRAMS` and `MAX_GATHERS` have what was measured with jax 0.10.2,
rounded up by about 2 %. Where a change makes programs smaller, lower them:
`JAX_ENABLE_X64=0 python -m tests.test_sizes`, and again with 1, prints what to write.
"""

import contextlib
import functools as ft
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core.programs import _known_options
from gmmx_eqx.sklearn import BayesianGaussianMixture, GaussianMixture as Estimator

from .conftest import X64
from .helpers import make_data, run_python
from .test_programs import step


# (components, features); "full" covariances.
SIZES = ((3, 2), (16, 8), (16, 32))

# Lines of StableHLO of one program of each kind, for each of the sizes.
MAX_LINES = {
    "float32": {
        "start": (1600, 1680, 1680),
        "step": (920, 1130, 1130),
        "fit": (1040, 1220, 1220),
        "gradient": (3030, 3750, 3740),
        "restarts": (3960, 4160, 4160),
        "batch": (4950, 5200, 5200),
        "log_prob": (290, 400, 400),
    },
    # What depends on the type.
    "float64": {
        "step": (940, 1210, 1210),
        "fit": (1060, 1340, 1330),
        "gradient": (3050, 3860, 3850),
    },
}
# What a first call of three components and two features compiles, in float32: programs,
# and lines of StableHLO of all of them.
MAX_PROGRAMS = {
    "start": (1, 1620),
    "fit": (1, 1050),
    "gradient": (3, 3450),
    "restarts": (1, 3960),
    "batch": (1, 5120),
    "select": (2, 4580),
    "log_prob": (1, 290),
    "estimator": (3, 3010),
    "bayesian": (3, 3110),
}
# Operations in which a device collects what the others have.
MAX_GATHERS = {"log_prob": 1, "score": 1, "fit": 1}

FLOAT = "float64" if X64 else "float32"
N = 272
KEY = jr.key(0)
FEW_STEPS = gx.EM(max_steps=2)


def start(mixture, x):
    k = mixture.n_components
    return gx.GaussianMixture.from_k_means(x, k, key=KEY)


def fit(mixture, x):
    return gx.fit(mixture, x, throw=False)


def gradient(mixture, x):
    def log_likelihood(ridge):
        solution = gx.fit(mixture, x, reg_covar=ridge, throw=False)
        return solution.log_likelihood

    return jax.grad(log_likelihood)(jnp.asarray(1e-3, x.dtype))


def restarts(mixture, x):
    return gx.fit_restarts(x, mixture.n_components, "full", 4, key=KEY)


def batch(mixture, x):
    sets = x.reshape(2, -1, x.shape[-1])
    return gx.fit_batch(sets, mixture.n_components, "full", 2, key=KEY)


def log_prob(mixture, x):
    return mixture.log_prob(x)


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "start": start,
    "step": step,
    "fit": fit,
    "gradient": gradient,
    "restarts": restarts,
    "batch": batch,
    "log_prob": log_prob,
}


def n_lines(program: str, n_components: int, n_features: int) -> int:
    """Lines of a program that is not compiled."""
    x = jnp.asarray(make_data(N, n_features), dtype=float)
    mixture = gx.GaussianMixture.create(n_components, n_features)
    lowered = eqx.filter_jit(PROGRAMS[program]).lower(mixture, x)
    return len(lowered.as_text().splitlines())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
@pytest.mark.parametrize("program", MAX_LINES[FLOAT])
def test_lines(program, size):
    limit = MAX_LINES[FLOAT][program][SIZES.index(size)]
    assert 0 < n_lines(program, *size) <= limit


def estimator(mixture, x):
    estimator = Estimator(mixture.n_components, max_iter=2).fit(x)
    return estimator.predict(x), estimator.score(x)


def bayesian(mixture, x):
    estimator = BayesianGaussianMixture(n_components=mixture.n_components, max_iter=2)
    return estimator.fit(x).predict(x), estimator.score(x)


def select(mixture, x):
    counts = [1, mixture.n_components]
    return gx.select(x, counts, ["full"], 2, key=KEY, solver=FEW_STEPS)


# From NumPy arrays, as users have them: an operation outside of `jit` is a program too.
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "start": start,
    "fit": fit,
    "gradient": gradient,
    "restarts": restarts,
    "batch": batch,
    "select": select,
    "log_prob": log_prob,
    "estimator": estimator,
    "bayesian": bayesian,
}


@contextlib.contextmanager
def compiled() -> Iterator[list[int]]:
    """The number of lines of each program that is compiled inside, from nothing."""
    lines: list[int] = []
    settings = ("jax_dump_ir_to", "jax_dump_ir_modes", "jax_disable_most_optimizations")
    before = {name: jax.config.read(name) for name in settings}
    with tempfile.TemporaryDirectory() as folder:
        jax.clear_caches()
        for name, value in zip(settings, (folder, "stablehlo", True), strict=True):
            jax.config.update(name, value)
        try:
            yield lines
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
        for path in pathlib.Path(folder).glob("*.mlir"):
            text = path.read_text(encoding="utf-8").splitlines()
            # Where in the source an operation comes from.
            lines.append(sum(not line.startswith("#loc") for line in text))


def n_programs(call: str) -> tuple[int, int]:
    x = make_data(N, 2)
    mixture = gx.GaussianMixture.create(3, 2)
    # One program of its own, once in a process.
    _known_options()
    with compiled() as lines, warnings.catch_warnings():
        # Two steps are not enough.
        warnings.simplefilter("ignore")
        jax.block_until_ready(CALLS[call](mixture, x))
    return len(lines), sum(lines)


@pytest.mark.x32
@pytest.mark.parametrize("call", CALLS)
def test_programs_of_a_first_call(call):
    programs, lines = n_programs(call)
    max_programs, max_lines = MAX_PROGRAMS[call]
    assert 0 < programs <= max_programs
    assert 0 < lines <= max_lines


GATHERS = """
import re

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import gmmx_eqx as gx

mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
x = jax.device_put(jnp.zeros((65536, 2)), NamedSharding(mesh, P("data")))
mixture = gx.GaussianMixture.create(2, 2)
calls = {
    "log_prob": lambda mixture, x: mixture.log_prob(x),
    "score": lambda mixture, x: mixture.score(x),
    "fit": lambda mixture, x: gx.fit(mixture, x, throw=False),
    "a copy": lambda mixture, x: jax.lax.with_sharding_constraint(
        x, NamedSharding(mesh, P())
    ),
}
for name, call in calls.items():
    text = eqx.filter_jit(call).lower(mixture, x).compile().compiled.as_text()
    print(name, len(re.findall(r" all-gather(?:-start)?[(]", text)), sep=":")
"""


@ft.cache
def n_gathers() -> dict[str, int]:
    devices = "--xla_force_host_platform_device_count=2"
    lines = run_python(GATHERS, XLA_FLAGS=devices).split("\n")
    return {name: int(n) for name, n in (line.split(":") for line in lines if line)}


@pytest.mark.x32
def test_what_is_gathered():
    found = n_gathers()
    assert found.pop("a copy") == 1, "all-gathers are not seen"
    assert found == MAX_GATHERS


def main() -> None:
    """What was measured, rounded up to two or three digits."""
    up = lambda n: -(-n * 102 // 1000) * 10
    for program in MAX_LINES[FLOAT]:
        print(f'"{program}": {tuple(up(n_lines(program, *size)) for size in SIZES)},')
    if X64:
        return
    for call in CALLS:
        programs, lines = n_programs(call)
        print(f'"{call}": {(programs, up(lines))},')
    print(n_gathers())


if __name__ == "__main__":
    main()
