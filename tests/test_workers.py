"""Blocks that other processes read and compute with: the same as in one process."""

import concurrent.futures
import functools as ft
import multiprocessing
import os
import pickle
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .test_blocks import check_same, KINDS, make_x, N_SAMPLES, ROWS, start


SPAWN = multiprocessing.get_context("spawn")


def pool(n=2, context=SPAWN):
    return concurrent.futures.ProcessPoolExecutor(n, mp_context=context)


@pytest.fixture(scope="module")
def spawned():
    # Workers begin in the other mode: tasks have the caller's.
    before = os.environ.get("JAX_ENABLE_X64")
    os.environ["JAX_ENABLE_X64"] = str(int(not jax.config.read("jax_enable_x64")))
    with pool() as executor:
        yield executor
    del os.environ["JAX_ENABLE_X64"]
    if before is not None:
        os.environ["JAX_ENABLE_X64"] = before


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options, processes=True) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", make_x())
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.fixture(params=["spawned", "dask"])
def executor(request):
    if request.param == "spawned":
        return request.getfixturevalue("spawned")
    return request.getfixturevalue("client").get_executor()


def leaves_equal(one, other):
    trees = jax.tree.leaves(one), jax.tree.leaves(other)
    for a, b in zip(*trees, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.x64
def test_a_fit_by_workers(executor, file):
    weight = np.random.default_rng(0).integers(0, 3, N_SAMPLES).astype(float)
    x = np.asarray(file)
    mixture = start(x)
    data = gx.blocks(file, rows=ROWS, sample_weight=weight, executor=executor)
    solver = gx.EM(tol=0.0, max_steps=5)
    got = gx.fit(mixture, data, solver=solver, throw=False)
    expected = gx.fit(mixture, x, sample_weight=weight, solver=solver, throw=False)
    check_same(got, expected, 1e-10)
    # One block a task, added in order: the same as in this process, whoever is first.
    here = gx.blocks(file, rows=ROWS, sample_weight=weight)
    leaves_equal(gx.fit(mixture, here, solver=solver, throw=False), got)
    for name in ("score", "bic"):
        found = getattr(mixture, name)(data)
        in_memory = getattr(mixture, name)(x, sample_weight=weight)
        np.testing.assert_allclose(found, in_memory, rtol=1e-10)
    np.testing.assert_array_equal(
        gx.map_blocks(mixture.predict, data), mixture.predict(x)
    )


@pytest.mark.x64
def test_more_blocks_than_tasks(spawned, file):
    data = gx.blocks(file, rows=3, executor=spawned)
    found = gx.map_blocks(first_feature, gx.blocks(file, rows=50, executor=spawned))
    np.testing.assert_array_equal(found, file[:, 0])
    mixture = start(np.asarray(file))
    np.testing.assert_allclose(mixture.score(data), mixture.score(file), rtol=1e-12)


@pytest.mark.x64
def test_restarts_and_a_selection_by_workers(spawned, file):
    own = gx.blocks(file, rows=ROWS)
    theirs = gx.blocks(file, rows=ROWS, executor=spawned)
    options = {"key": jax.random.key(0), "solver": gx.EM(tol=0.0, max_steps=3)}
    for call in (
        lambda data: gx.fit_restarts(data, 2, n_restarts=2, **options),
        lambda data: gx.select(data, [1, 2], ["diag"], 2, criterion="icl", **options),
    ):
        leaves_equal(call(theirs), call(own))


def first_feature(x):
    return x[:, 0]


@pytest.mark.x32
def test_float32_data(spawned, file):
    data = gx.blocks(file, rows=ROWS, executor=spawned)
    mixture = start(np.asarray(file))
    got = mixture.score(data)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, mixture.score(gx.blocks(file, rows=ROWS)))


class Lethal:
    """A file of which a block kills the process that reads it, as often as there are
    flags to take away."""

    def __init__(self, path, flags):
        self.path, self.flags, self.caller = path, flags, os.getpid()
        self.shape, self.dtype = (N_SAMPLES, 3), np.dtype(np.float64)

    def __getitem__(self, index):
        if index.start == 3 * ROWS and os.getpid() != self.caller:
            for flag in os.listdir(self.flags):
                os.remove(os.path.join(self.flags, flag))
                os.kill(os.getpid(), signal.SIGKILL)
        return np.load(self.path, mmap_mode="r")[index]


@pytest.fixture
def lethal(file, tmp_path):
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags" / "0").touch()
    return Lethal(tmp_path / "x.npy", tmp_path / "flags")


def check_killed(lethal, file, executor):
    mixture = start(np.asarray(file))
    got = mixture.score(gx.blocks(lethal, rows=ROWS, executor=executor))
    assert not os.listdir(lethal.flags)
    assert got == mixture.score(gx.blocks(file, rows=ROWS))


@pytest.mark.x64
def test_a_killed_worker_of_dask(lethal, file, client):
    check_killed(lethal, file, client.get_executor())


@pytest.mark.x64
def test_a_killed_worker_of_a_pool(lethal, file):
    made = []

    def make():
        made.append(pool(1))
        return made[-1]

    check_killed(lethal, file, make)
    assert len(made) == 2
    for executor in made:
        executor.shutdown()


@pytest.mark.x64
def test_a_pool_that_cannot_go_on(lethal):
    with pool(1) as executor:
        data = gx.blocks(lethal, rows=ROWS, executor=executor)
        with pytest.raises(RuntimeError, match="Give a function that makes one"):
            gx.map_blocks(first_feature, data)


@pytest.mark.x64
def test_a_block_that_always_kills():
    class Broken(concurrent.futures.Executor):
        def submit(self, fn, /, *args, **kwargs):
            raise concurrent.futures.BrokenExecutor("out of memory")

    data = gx.blocks(make_x(), rows=ROWS, executor=lambda: Broken())
    with pytest.raises(RuntimeError, match="killed 3 times .* smaller `rows`"):
        gx.map_blocks(first_feature, data)


class Missing(Lethal):
    """A file that is not whole, with an error that a pickle cannot hold."""

    def __getitem__(self, index):
        if index.start == 3 * ROWS:
            raise Unportable(5, "the disk is gone")
        return np.load(self.path, mmap_mode="r")[index]


class Unportable(OSError):
    def __init__(self, number, text):
        OSError.__init__(self, f"{number}: {text}")


def test_an_error_names_its_block(request, tmp_path):
    np.save(tmp_path / "x.npy", make_x().astype(np.float64))
    data = Missing(tmp_path / "x.npy", None)
    expected = {"own": Unportable, "spawned": RuntimeError, "dask": RuntimeError}
    executors = {
        "own": lambda: None,
        "spawned": lambda: request.getfixturevalue("spawned"),
        "dask": lambda: request.getfixturevalue("client").get_executor(),
    }
    for name, executor in executors.items():
        of_workers = gx.blocks(data, rows=ROWS, executor=executor())
        with pytest.raises(expected[name], match="the disk is gone") as caught:
            gx.map_blocks(first_feature, of_workers)
        assert caught.value.__notes__ == ["In block 3, the samples 900 to 1199."]


@pytest.mark.x64
def test_what_is_computed_is_wrong(spawned, file):
    data = gx.blocks(file, rows=ROWS, executor=spawned)
    with pytest.raises(
        ValueError, match="(?s)one row per sample.*In block 0"
    ) as caught:
        gx.map_blocks(jnp.sum, data)
    assert "samples 0 to 299" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="cannot be pickled for a worker"):
        gx.map_blocks(ft.partial(max, threading.Lock()), data)


def as_path(x, folder):
    KINDS["parquet"](x, folder)
    return folder / "x.parquet"


def view_of_map(x, folder):
    whole = np.memmap(folder / "x", x.dtype, "w+", offset=24, shape=(N_SAMPLES + 5, 9))
    view = whole[5:, 1:8:3]
    view[:] = x
    return np.asarray(view)


# Kinds of data, and how many numbers' bytes a pickle may have beside them.
ELSEWHERE = {
    "memory map": KINDS["memory map"],
    "view": view_of_map,
    "parquet": as_path,
    "hdf5": KINDS["hdf5"],
    "zarr": KINDS["zarr"],
    "files": lambda x, folder: [view_of_map(x, folder)[:900], x[900:1300], x[1300:]],
}


@pytest.mark.x64
@pytest.mark.parametrize("kind", {**KINDS, **ELSEWHERE})
def test_a_pickle_holds_no_samples_of_files(kind, tmp_path):
    x = make_x()
    given = {**KINDS, **ELSEWHERE}[kind]
    data = gx.blocks(given(x, tmp_path), rows=ROWS, executor=InThread())
    for content in (pickle.dumps(data), pickle.dumps(data.part(range(2, 4)))):
        again = pickle.loads(content)
        assert again.workers is None and again.shape == x.shape
        for number in (2, 3):
            np.testing.assert_array_equal(again.load(number).x, data.load(number).x)
    if kind in ELSEWHERE and kind != "files":
        assert len(content) < 4000
    # A part has some of the samples, wherever they are.
    assert len(content) < 2 * ROWS * 3 * 8 + 20_000


class InThread:
    """An engine that has nothing but `submit`."""

    def submit(self, fn, *args):
        future = concurrent.futures.Future()
        future.set_result(fn(*args))
        return future


@pytest.mark.x64
def test_an_engine_that_has_submit_alone():
    x = make_x()
    data = gx.blocks(x, rows=ROWS, executor=InThread())
    np.testing.assert_array_equal(gx.map_blocks(first_feature, data), x[:, 0])


def forked():
    return pool(1, multiprocessing.get_context("fork"))


def of_dask(x):
    return pytest.importorskip("dask.array").from_array(x, chunks=(len(x), -1))


LARGE = np.broadcast_to(np.float32(0), (2**20, 3))
BAD = {
    "fork": (lambda: gx.blocks(make_x(), executor=forked()), "forks its workers"),
    "made fork": (lambda: gx.blocks(make_x(), executor=forked), "forks its workers"),
    "number": (lambda: gx.blocks(make_x(), executor=2), "must have `submit`"),
    "made": (
        lambda: gx.blocks(make_x(), executor=lambda: 2),
        "function that returns 2",
    ),
    "memory": (lambda: gx.blocks(LARGE, executor=InThread()), "12 MiB in the memory"),
    "graph": (
        lambda: gx.blocks(of_dask(np.zeros((2**18, 3))), executor=InThread()),
        "seems to hold the samples",
    ),
    "generator": (
        lambda: gx.blocks(Holder(x for x in ()), executor=InThread()),
        "cannot be pickled",
    ),
}


class Holder:
    shape, dtype = (10, 2), np.dtype(np.float32)

    def __init__(self, x):
        self.x = x

    def __getitem__(self, index):
        raise NotImplementedError


@pytest.mark.x64
@pytest.mark.parametrize("case", BAD)
def test_bad_executors_and_data(case):
    call, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.x64
def test_a_file_in_memory_and_a_path_that_is_not_known(tmp_path):
    h5py = pytest.importorskip("h5py")
    memory = h5py.File(tmp_path / "none.h5", "w", driver="core", backing_store=False)
    with pytest.raises(ValueError, match="is in memory, where"):
        gx.blocks(memory.create_dataset("x", data=make_x()), executor=InThread())
    file = KINDS["parquet"](make_x(), tmp_path)
    with pytest.raises(ValueError, match="does not know its path"):
        gx.blocks(file, executor=InThread())


@pytest.mark.x64
def test_another_version(spawned, monkeypatch, file):
    data = gx.blocks(file, rows=ROWS, executor=spawned)
    monkeypatch.setattr(gx, "__version__", "0")
    with pytest.raises(RuntimeError, match="other versions"):
        gx.map_blocks(first_feature, data)
