"""How programs are compiled: the options for their size, and the cache of programs."""

import json
import types

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core import kept, programs

from .helpers import make_data, make_mixture, run_python


pytestmark = pytest.mark.x64


@pytest.fixture
def used(monkeypatch):
    """The options that programs are compiled with."""
    found = []

    def record(fn, effort):
        found.append(effort)
        return fn

    monkeypatch.setattr(programs, "_compiled", record)
    return found


def test_small_programs_are_hardly_optimised(used):
    mixture = make_mixture("full", 8, 2)
    mixture.log_prob(make_data(100))
    assert used == [0]
    mixture.log_prob(make_data(9000))
    assert used == [0, 1]
    mixture.log_prob(make_data(1_100_000))
    assert used == [0, 1, 2]


def test_a_part_of_another_program_has_no_options_of_its_own(used):
    mixture, x = make_mixture("full"), jnp.asarray(make_data(50))
    jax.jit(lambda x: mixture.log_prob(x))(x)
    jax.vmap(lambda x: mixture.log_prob(x))(x[None])
    jax.grad(lambda x: jnp.sum(mixture.log_prob(x)))(x)
    jax.lax.map(lambda x: mixture.log_prob(x[None])[0], x)
    # Of known arrays, too.
    jax.jit(lambda: mixture.log_prob(x))()
    assert used == []


def test_the_default_device_is_where_arrays_of_numpy_go(monkeypatch):
    other = types.SimpleNamespace(platform="gpu")
    cpu, x = jax.local_devices()[0], make_data(3)
    assert programs.starts_program(x)
    monkeypatch.setattr(jax, "local_devices", lambda: [other])
    assert not programs.starts_program(x)
    assert not programs.starts_program(jnp.asarray(x))  # not committed to the CPU
    assert programs.starts_program(x, jnp.asarray(x, device=cpu))
    for default in (cpu, "cpu"):
        with jax.default_device(default):
            assert programs.starts_program(x)


OPTIONS = """
import os
import jax
import jax.numpy as jnp
import numpy as np
import gmmx_eqx as gx
from gmmx_eqx._core import kept, programs

jax.config.update("jax_enable_x64", True)
assert programs._known_options()
x = np.random.default_rng(0).normal(size=(150, 3)) + 4 * np.arange(150)[:, None] // 50
start = gx.GaussianMixture.from_k_means(x, 3, key=jax.random.key(0))
run = lambda x: gx.fit(start, x, throw=False)
for n in (150, 3000, 60_000):
    data = np.tile(x, (n // 150, 1))
    with_options, without = run(data), jax.jit(run)(jnp.asarray(data))
    assert with_options.n_steps == without.n_steps
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
        with_options.mixture,
        without.mixture,
    )
print(*(len(programs._options(effort)) for effort in range(3)))
"""


def test_options_change_nothing_but_rounding():
    assert run_python(OPTIONS, XLA_FLAGS="").split() == ["4", "3", "0"]


def test_options_of_users_are_theirs():
    flags = "--xla_backend_optimization_level=1"
    assert run_python(OPTIONS, XLA_FLAGS=flags).split() == ["3", "2", "0"]


CACHE = """
import json
import sys
import jax
import numpy as np
import gmmx_eqx as gx

events = []
listen = lambda event, *_, **kwargs: events.append(event.rpartition("/")[2])
jax.monitoring.register_event_listener(listen)
jax.monitoring.register_event_duration_secs_listener(listen)
# A program before the cache is there must not keep it from working.
jax.jit(lambda x: x + 1)(1.0)
folder = gx.cache_programs(sys.argv[1])
events.clear()
x = np.random.default_rng(0).normal(size=(int(sys.argv[2]), 2))
key = jax.random.key(0)
start = gx.GaussianMixture.from_k_means(x, int(sys.argv[3]), key=key)
solution = gx.fit(start, x, throw=False)
labels = solution.mixture.predict(x)
names = ("cache_hits", "cache_misses", "backend_compile_duration")
counts = [events.count(name) for name in names]
print(json.dumps([str(folder), *counts, float(solution.log_likelihood)]))
"""


def test_a_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "programs"
    run = lambda n: json.loads(run_python(CACHE, str(folder), n, "3"))
    path, _, misses, n_compiled, value = run("150")
    assert path == str(folder) and misses > 3 and n_compiled == misses
    # Those that make a key are found in JAX's own cache; the library's are not traced.
    assert run("150") == [path, 2, 0, 2, value]
    assert run("155")[:4] == [path, 2, 0, 2]


PARENT = """
import subprocess
import sys
import gmmx_eqx as gx

fit = "import gmmx_eqx as gx, numpy as np; from gmmx_eqx._core import kept;"
fit += "gx.GaussianMixture.create(2, 2).log_prob(np.zeros((9, 2)));"
fit += "paths = (kept._folder / 'programs').iterdir();"
fit += "print(*((path.name, path.stat().st_mtime_ns) for path in paths))"
gx.cache_programs(sys.argv[1])
for _ in range(2):
    subprocess.run([sys.executable, "-c", fit], check=True)
"""


def test_processes_started_afterwards_use_the_folder(tmp_path):
    first, second = run_python(PARENT, str(tmp_path / "programs")).splitlines()
    assert first and first == second


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path):
    (tmp_path / "file").touch()
    code = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import gmmx_eqx
print(*(str(one.message) for one in caught if "GMMX_EQX_CACHE" in str(one.message)))
"""
    printed = run_python(code, GMMX_EQX_CACHE=str(tmp_path / "file" / "programs"))
    assert "Programs are not kept" in printed


def test_a_cache_of_jax_that_is_set_up_stays(tmp_path):
    code = "import gmmx_eqx, jax; print(jax.config.jax_compilation_cache_dir)"
    own, folder = str(tmp_path / "own"), str(tmp_path / "programs")
    printed = run_python(code, GMMX_EQX_CACHE=folder, JAX_COMPILATION_CACHE_DIR=own)
    assert printed.strip() == own


def test_the_folder_of_the_cache(tmp_path, monkeypatch):
    # So that it is taken away in the end.
    monkeypatch.setenv("GMMX_EQX_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    names = ("dir", "min_compile_time_secs", "min_entry_size_bytes")
    names = [f"jax_compilation_cache_{names[0]}"] + [
        f"jax_persistent_cache_{name}" for name in names[1:]
    ]
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setattr(kept, "_folder", None)
    try:
        folder = gx.cache_programs()
        assert folder.is_dir() and folder.parent == tmp_path / "gmmx_eqx"
        assert jax.config.jax_compilation_cache_dir == str(folder)
        # Of the environment, from now on.
        monkeypatch.setenv("GMMX_EQX_CACHE", str(tmp_path / "other"))
        assert gx.cache_programs() == tmp_path / "other"
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_settings_of_a_thread_reach_others():
    x = make_data(60).astype(np.float32)
    with jax.enable_x64(False):
        assert (
            gx.select(x, [1], ["full", "diag"], 1, key=jr.key(0))
            .cells[1]
            .solution.log_likelihood.dtype
            == np.float32
        )
    with jax.debug_nans(True), jax.numpy_dtype_promotion("strict"):
        gx.select(x.astype(float), [1], ["full", "diag"], 1, key=jr.key(0))
