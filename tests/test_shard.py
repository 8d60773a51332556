"""Data spread over eight virtual devices, and over several processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import run_python


# Programs are read as they were compiled for the calls of users.
SETUP = """
import collections
import pathlib
import re
import sys
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
import gmmx_eqx as gx

mesh = jax.make_mesh((8,), ("data",))
rng = np.random.default_rng(0)
# Two chunks of each shard, padded, and a component so far away in its own widths that
# it is taken by residuals.
is_double = jnp.zeros(0).dtype == jnp.float64
n = 8 * 150
x = rng.normal(size=(n, 2)) * [1, 3] + [4, 1] * rng.integers(0, 3, size=(n, 1))
x[:50] = (200 if is_double else 20) + 0.1 * rng.normal(size=(50, 2))
x = jnp.asarray(x)
odd = np.arange(26).reshape(13, 2)
weight = jnp.asarray(rng.integers(0, 3, size=n), x.dtype)
spread = jax.device_put(x, NamedSharding(mesh, P("data")))
few = {"throw": False, "solver": gx.EM(max_steps=6, tol=0.0), "samples_per_chunk": 100}
KINDS = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"


def exchanged(name):
    "What devices send each other: before, and within, the loops of a program."
    files = pathlib.Path(sys.argv[1]).glob(f"*jit_{name}.*after_optimizations.txt")
    found = []
    for file in files:
        text = file.read_text()
        if "num_partitions=8" not in text:
            continue
        rest, entry = text.split("\\nENTRY ")
        entry, after = entry.split("\\n}", 1)
        count = lambda text: dict(
            collections.Counter(re.findall(rf" ({KINDS})(?:-start)?[(]", text))
        )
        found.append((count(entry), count(rest + after)))
        file.unlink()
    return found


def apart(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(
        float(np.max(np.abs(np.asarray(a) - np.asarray(b)) / (1 + np.abs(b))))
        for a, b in leaves
    )

"""
FITS = (
    SETUP
    + """
for name in sys.argv[2:]:
    k, family = (22, "diag") if name == "many" else (3, name)
    family = gx.LowRank(1) if name == "low_rank" else family
    start = gx.GaussianMixture.from_k_means(x, k, key=jr.key(1), covariance_type=family)
    expected = gx.fit(start, x, sample_weight=weight, **few)
    found = gx.fit(start, spread, sample_weight=weight, **few)
    before, within = exchanged("_fit")[0]
    same = lambda s: (s.mixture, s.log_likelihood, s.log_likelihoods)
    print(name, list(before), within, apart(same(found), same(expected)), sep="|")
"""
)
OTHERS = (
    SETUP
    + """
calls = {
    "_fit": lambda x: gx.fit(start, x, labels=labels, **few),
    "fit_lanes": lambda x: gx.fit_restarts(
        x, 3, n_restarts=3, key=jr.key(0), sample_weight=weight, labels=labels,
        solver=few["solver"],
    ).solutions,
    "weighted_sum": lambda x: start.score(x, weight),
    "per_datum": lambda x: (start.log_prob(x), start.predict_proba(x)),
    "_from_responsibilities": lambda x: start.update_parameters(x, resp),
    "_best": lambda x: np.array([
        [cell.bic, cell.icl]
        for cell in gx.select(
            x, [2, 3], ["diag"], n_restarts=2, key=jr.key(0), sample_weight=weight,
            labels=labels, solver=few["solver"],
        ).cells
    ]),
    "_from_initialiser": lambda x: gx.GaussianMixture.from_k_means(
        x, 3, key=jr.key(1), sample_weight=weight
    ),
}
start = gx.GaussianMixture.from_k_means(x, 3, key=jr.key(1))
resp = start.predict_proba(x)
labels = np.where(np.arange(n) % 10 == 0, np.arange(n) // 10 % 2, -1)
for name, call in calls.items():
    expected, found = call(x), call(spread)
    programs = exchanged(name)
    programs = programs or exchanged("_take_rows")
    print(name, programs, apart(found, expected), sep="|")
print("spread", len(start.log_prob(spread).sharding.device_set), sep="|")
"""
)
BAD = (
    SETUP
    + """
flat = jax.make_mesh((1, 2), ("data", "features"))
by_feature = jax.device_put(x, NamedSharding(flat, P(None, "features")))
start = gx.GaussianMixture.create(2, 2)
put = lambda array: jax.device_put(array, spread.sharding)
nan = put(x.at[700, 1].set(jnp.nan))
calls = {
    "features": lambda: gx.fit(start, by_feature),
    "no axis": lambda: gx.shard(x, jax.sharding.Mesh(np.array(jax.devices()[0]), ())),
    "other axis": lambda: gx.shard(x, mesh, axis="model"),
    "no mesh": lambda: gx.shard(x, 8),
    "NaN": lambda: gx.fit(start, nan),
    "NaN of a shard": lambda: gx.shard(np.asarray(nan), mesh),
    "large": lambda: start.score(put(x.at[3, 0].set(1e30))),
    "weight": lambda: start.score(spread, put(weight.at[9].set(-1))),
    "no weight": lambda: gx.fit(start, spread, sample_weight=0 * weight),
    "few": lambda: gx.fit_restarts(
        spread, 2, key=jr.key(0), sample_weight=jnp.eye(1, n)[0]
    ),
    "integers": lambda: gx.fit(start, put(2**28 + jnp.arange(2 * n).reshape(n, 2) % 7)),
    "text": lambda: gx.shard(["a", "b"]),
    "one sample": lambda: gx.shard(np.ones(3)),
}
for name, call in calls.items():
    try:
        call()
        print(name, "fine", sep="|")
    except ValueError as error:
        print(name, str(error).replace("\\n", " "), sep="|")
# What is right: a number of samples that is no multiple, integers that keep their
# digits, and a NaN where the weight is zero.
whole, counted = gx.shard(odd, mesh)
few_left = put(jnp.where(jnp.arange(n) == 700, 0, weight))
print(
    whole.shape, whole.dtype, float(counted.sum()), len(counted.sharding.device_set),
    gx.fit(start, nan, sample_weight=few_left, **few).status,
    start.score(nan, few_left) == start.score(x, np.asarray(few_left)),
    abs(start.score(whole, counted) - start.score(odd)) < 1e-4,
    sep="|",
)
"""
)
# What each of several processes runs.
RANK = """
import sys
import jax
import numpy as np

rank, n, port = map(int, sys.argv[1:4])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(
    f"127.0.0.1:{port}", n, rank,
    heartbeat_timeout_seconds=20, shutdown_timeout_seconds=20,
)
import jax.random as jr
import gmmx_eqx as gx

rng = np.random.default_rng(0)
x = rng.normal(size=(1001, 2)) + [[4, 1]] * rng.integers(0, 3, size=(1001, 1))
own = np.array_split(x, n)[rank]
"""
AGREE = (
    RANK
    + """
data, weight = gx.shard(own, per_process=True)
start = gx.GaussianMixture.from_k_means(data, 3, key=jr.key(0), sample_weight=weight)
few = gx.EM(max_steps=8, tol=0.0)
solution = gx.fit(start, data, sample_weight=weight, solver=few, throw=False)
best = gx.fit_restarts(
    data, 3, n_restarts=2, key=jr.key(1), sample_weight=weight, solver=few
).best
print(*map(float, solution.mixture.means_numpy.ravel()), float(best.log_likelihood))
said = []
for call in (
    lambda: gx.shard(own[rank:]),
    lambda: gx.shard(own[:, : 1 + min(rank, 1)], per_process=True),
    lambda: gx.shard(own if rank else "text", per_process=True),
    lambda: gx.shard(np.where((own == own[5]) & (rank == 1), np.nan, own)),
):
    try:
        call()
    except ValueError as error:
        said.append(str(error))
print(*said, sep="|")
"""
)
ENDLESS = (
    RANK
    + """
data, weight = gx.shard(own, per_process=True)
start = gx.GaussianMixture.create(3, 2)
few = {"throw": False, "solver": gx.EM(max_steps=1000, tol=0.0)}
gx.fit(start, data, sample_weight=weight, **few)
print("ready", flush=True)
while True:
    gx.fit(start, data, sample_weight=weight, **few)
"""
)
FLAGS = os.environ.get("XLA_FLAGS", "")


def on_eight(code, folder, *arguments) -> list[list[str]]:
    """The lines that a script prints on eight devices."""
    flags = (
        f"{FLAGS} --xla_force_host_platform_device_count=8 --xla_dump_to={folder} "
        "--xla_dump_hlo_as_text --xla_dump_hlo_module_re=jit_.*"
    )
    said = run_python(code, str(folder), *arguments, XLA_FLAGS=flags)
    return [line.split("|") for line in said.splitlines()]


def tolerance() -> float:
    """What was asked for: a sum in another order differs by less."""
    return 1e-10 if jax.config.read("jax_enable_x64") else 1e-5


def start_ranks(code, n) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(gx.__file__).parents[1])
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, (rank, n, port))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        for rank in range(n)
    ]


# One of each kind: packed features of each shape, sums that do not change, inner loops;
# and so many components that those of float32 may be taken in float64.
SOME = ("full", "tied", "tied_spherical", "low_rank", "VVE", "many")


def test_one_message_for_each_step(tmp_path):
    lines = on_eight(FITS, tmp_path, *SOME)
    assert [name for name, *_ in lines] == list(SOME)
    for name, before, within, apart in lines:
        assert before == "['all-reduce']", name
        assert within == "{'all-reduce': 1}", name
        assert float(apart) < tolerance(), name


@pytest.mark.x64
def test_whatever_takes_data(tmp_path):
    lines = on_eight(OTHERS, tmp_path)
    *calls, (_, n_devices) = lines
    assert int(n_devices) == 8
    assert len(calls) == 7
    for name, programs, apart in calls:
        assert programs != "[]", name
        assert "all-gather" not in programs and "all-to-all" not in programs, name
        assert float(apart) < tolerance(), name
    found = {name: programs for name, programs, _ in calls}
    # Of all lanes together.
    assert found["fit_lanes"].endswith("{'all-reduce': 1})]")
    assert "all-reduce" not in found["per_datum"]


@pytest.mark.x32
def test_bad_input(tmp_path):
    *lines, right = on_eight(BAD, tmp_path)
    found = {name: message for name, message in lines}
    expected = {
        "features": ("`x`", "features", "shard(x, mesh, axis='features')"),
        "no axis": ("`mesh`", "with an axis to spread samples over"),
        "other axis": ("`axis`", "'data'", "'model'"),
        "no mesh": ("`mesh`", "got 8"),
        "NaN": ("`x` must be finite", "1 of its 2400", "(700, 1)"),
        "NaN of a shard": ("`x` must be finite", "(700, 1)"),
        "large": ("`x` reaches 1e+30", "Rescale"),
        "weight": ("`sample_weight`", "-1.0 at 9"),
        "no weight": ("`sample_weight` is zero for every sample",),
        "few": ("at least as many samples", "got 1 of positive weight"),
        "integers": ("int32 and computed in float32", "not told apart"),
        "text": ("`x` must be numeric",),
        "one sample": ("`x` must have shape (n_samples, n_features); got (3,)",),
    }
    assert found.keys() == expected.keys()
    for name, texts in expected.items():
        for text in texts:
            assert text in found[name], (name, found[name])
    assert right == [
        "(16, 2)",
        "float32",
        "13.0",
        "8",
        "max_steps_reached",
        "True",
        "True",
    ]


@pytest.mark.x64
@pytest.mark.parametrize("n", [2, 4])
def test_processes_agree(n):
    ranks = start_ranks(AGREE, n)
    said = [rank.communicate(timeout=200) for rank in ranks]
    for rank, (_, errors) in zip(ranks, said, strict=True):
        assert rank.returncode == 0, errors
    found = [lines.splitlines()[-2:] for lines, _ in said]
    numbers = np.array([line.split() for line, _ in found], float)
    assert np.all(numbers == numbers[0])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1001, 2)) + [[4, 1]] * rng.integers(0, 3, size=(1001, 1))
    start = gx.GaussianMixture.from_k_means(x, 3, key=jax.random.key(0))
    few = gx.EM(max_steps=8, tol=0.0)
    expected = gx.fit(start, x, solver=few, throw=False).mixture.means_numpy
    np.testing.assert_allclose(numbers[0, :-1], expected.ravel(), rtol=1e-10)
    for i, (_, messages) in enumerate(found):
        samples, features, text, *rest = messages.split("|")
        assert "same number of samples in every process" in samples
        assert "per_process=True" in samples
        assert "same number of features in every process; got 1, 2" in features
        assert ("`x` must be numeric" if i == 0 else "of process 0 was refused") in text
        # The number of samples is not the same either.
        assert len(rest) == 1


@pytest.mark.x64
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_killed_process_ends_the_others():
    ranks = start_ranks(ENDLESS, 2)
    try:
        for rank in ranks:
            assert rank.stdout is not None
            while "ready" not in (line := rank.stdout.readline()):
                assert line, "ended before it began"
        time.sleep(1)
        assert ranks[0].poll() is None
        ranks[1].send_signal(signal.SIGKILL)
        begin = time.monotonic()
        _, errors = ranks[0].communicate(timeout=60)
        assert time.monotonic() - begin < 60
        assert ranks[0].returncode != 0
        assert "Gloo all-reduce failed" in errors
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
