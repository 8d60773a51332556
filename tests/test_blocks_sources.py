"""What blocks are read from: iterables, files that change, data that is not right; and
fits that are killed."""

import multiprocessing
import os

import h5py
import jax
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._sources import Blocks

from .helpers import make_data, run_python


KEY = jax.random.key(0)
ROWS = 300


@pytest.fixture(scope="module")
def x():
    x = make_data(2000, 3, seed=0)
    return x.astype(jax.dtypes.canonicalize_dtype(float))


class Again:
    """Yields parts of the data, as a `DataLoader` does."""

    def __init__(self, x, size=170, change=lambda parts, n: parts):
        self._parts = [x[i : i + size] for i in range(0, len(x), size)]
        self._change = change
        self.n_passes = 0

    def __iter__(self):
        self.n_passes += 1
        return iter(self._change(self._parts, self.n_passes))


@pytest.mark.x64
def test_iterables(x):
    source = Again(x, change=lambda parts, n: [(part,) for part in parts])
    data = gx.blocks(source, rows=ROWS)
    assert data.shape == x.shape and data.rows == ROWS and source.n_passes == 1
    # However small the parts are, a block is long enough.
    assert gx.blocks(source).rows == 2000 and data.in_order
    for number in (0, 3, 3, 1, 6, 0):
        found = data.load(number)
        expected = x[number * ROWS : (number + 1) * ROWS]
        np.testing.assert_array_equal(found.x[: found.n_samples], expected)
    drawn, _ = data.draw(100, KEY)
    np.testing.assert_array_equal(drawn, gx.blocks(x).draw(100, KEY)[0])
    mixture = gx.GaussianMixture.create(2, 3, "diag")
    before = source.n_passes
    np.testing.assert_allclose(mixture.score(data), mixture.score(x), rtol=1e-12)
    # In order, however far ahead is read.
    assert source.n_passes == before + 1


def one_shot(x):
    shared = iter([x[:500], x[500:]])

    class OneShot:
        def __iter__(self):
            return shared

    return OneShot()


CHANGES = {
    "fewer": (lambda parts, n: parts[: 20 - n], "yielded 12 blocks .* and 11 now"),
    "more": (lambda parts, n: parts + parts[: n - 1], "and more now"),
    "shuffled": (lambda parts, n: parts[::-1] if n > 1 else parts, "Block 0 .* is not"),
    "other": (lambda parts, n: [part + n for part in parts], "Block 0 .* is not"),
}


@pytest.mark.x32
@pytest.mark.parametrize("case", CHANGES)
def test_iterables_that_change(x, case):
    change, match = CHANGES[case]
    source = Again(x, change=change)
    # Of twelve; the first of these passes is all right.
    source.n_passes = 7 if case == "fewer" else 0
    data = gx.blocks(source, rows=ROWS)
    with pytest.raises(ValueError, match=match):
        for _ in range(2):
            list(data)


BAD = {
    "once": (lambda x: one_shot(x), "yielded 2 blocks .* and 0 now"),
    "generator": (lambda x: (x for _ in range(3)), "every `iter.x.` begins anew"),
    "width": (lambda x: Again(x, change=narrow), "Block 11 of `x` has 2 features"),
    "dtype": (lambda x: Again(x, change=half), "Block 11 of `x` has dtype float16"),
    "axes": (lambda x: Again(x[:, 0]), "Block 0 of `x` must have shape"),
    "empty": (lambda x: Again(x, change=with_empty), "Block 12 of `x` is empty"),
    "nothing": (lambda x: Again(x[:0]), "yields nothing"),
    "pairs": (lambda x: Again(x, change=pairs), "Block 0 of `x` must be one array"),
    "mapping": (lambda x: {"a": x}, "must be an object"),
}


def narrow(parts, n):
    return [*parts[:-1], parts[-1][:, :2]]


def half(parts, n):
    return [*parts[:-1], parts[-1].astype(np.float16)]


def with_empty(parts, n):
    return [*parts, parts[0][:0]]


def pairs(parts, n):
    return [(part, part) for part in parts]


@pytest.mark.x32
@pytest.mark.parametrize("case", BAD)
def test_bad_iterables(x, case):
    make, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        list(gx.blocks(make(x)))


class Slices:
    """Data whose slices are not what it says."""

    def __init__(self, x, read):
        self.shape, self.dtype, self._x, self._read = x.shape, x.dtype, x, read

    def __getitem__(self, index):
        read = self._x[index]
        return self._read(read) if index.start >= 600 else read


READS = {
    "width": (lambda read: read[:, :2], "Block 2, the samples 600 to 899, has shape"),
    "dtype": (lambda read: read.astype(np.float16), "Block 2 has dtype float16"),
    "empty": (lambda read: read[:0], r"Block 2, .* has shape \(0, 3\)"),
    "text": (lambda read: read.astype(str), "Block 2 must hold numbers"),
    "mask": (lambda read: np.ma.masked_less(read, 0), "Block 2 is a masked array"),
}


@pytest.mark.x32
@pytest.mark.parametrize("case", READS)
def test_blocks_that_are_not_right(x, case):
    read, match = READS[case]
    with pytest.raises(ValueError, match=match):
        list(gx.blocks(Slices(x, read), rows=ROWS))


@pytest.mark.x32
def test_files_that_change(x, tmp_path):
    path = tmp_path / "x"
    x.tofile(path)
    data = gx.blocks(np.memmap(path, x.dtype, "r", shape=x.shape), rows=ROWS)
    list(data)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ValueError, match="has been written to since"):
        data.load(0)
    data = gx.blocks(np.memmap(path, x.dtype, "r+", shape=x.shape), rows=ROWS)
    os.utime(path, ns=(1, 1))
    list(data)
    # Without the check, reading beyond the end of a mapped file ends the process.
    os.truncate(path, 4096)
    with pytest.raises(ValueError, match="has changed: it had .* has 4096 now"):
        list(data)
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read any more"):
        list(data)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = file.create_dataset("x", data=x, maxshape=(None, 3), chunks=True)
        data = gx.blocks(stored, rows=ROWS)
        stored.resize((1999, 3))
        with pytest.raises(ValueError, match=r"its shape was \(2000, 3\)"):
            list(data)


def in_fork(queue, mixture, data):
    try:
        queue.put(str(mixture.score(data)))
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.x32
@pytest.mark.filterwarnings("ignore")
def test_forked_processes_fail_at_once(x):
    data = gx.blocks(x, rows=ROWS)
    mixture = gx.GaussianMixture.from_k_means(x, 2, key=KEY)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=in_fork, args=(queue, mixture, data))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert "spawn" in queue.get()


@pytest.mark.x32
def test_how_far_ahead_does_not_matter_to_a_fit(x, monkeypatch):
    mixture = gx.GaussianMixture.from_k_means(x, 2, key=KEY)
    solver = gx.EM(tol=0.0, max_steps=4)
    found, ahead = [], Blocks.ahead
    for depth in (1, 3, 20):
        own = lambda self, load, n=depth, **kw: ahead(self, load, n, **kw)
        monkeypatch.setattr(Blocks, "ahead", own)
        data = gx.blocks(x, rows=ROWS)
        found.append(gx.fit(mixture, data, solver=solver, throw=False))
    for other in found[1:]:
        for one, two in zip(
            jax.tree.leaves(found[0]), jax.tree.leaves(other), strict=True
        ):
            np.testing.assert_array_equal(one, two)


# Children are forked before JAX is first used: they need not import it again.
KILLED = """
import os, random, signal, sys, time
import numpy as np
import gmmx_eqx as gx
import jax

def fit(folder, out):
    x = np.random.default_rng(0).normal(size=(4000, 2)).astype(np.float32)
    x[::2] += 3
    start = gx.GaussianMixture.from_squeezed(
        [[0.0, 1.0], [2.0, 2.0]], np.ones((2, 2)), [0.5, 0.5], "diag"
    )
    solver = gx.EM(tol=0.0, max_steps=300)
    data = gx.blocks(x, rows=500)
    end = gx.fit(start, data, solver=solver, throw=False, checkpoint=folder)
    np.savez(out, *jax.tree.leaves(end))

def child(*args):
    number = os.fork()
    if number == 0:
        fit(*args)
        os._exit(0)
    return number

folder = sys.argv[1]
_, status = os.waitpid(child(folder + "/whole", folder + "/whole.npz"), 0)
assert status == 0
killed, file = folder + "/killed", folder + "/killed/checkpoint"
random.seed(0)
n_killed = 0
for _ in range(10):
    before = os.path.getmtime(file) if os.path.exists(file) else 0
    number = child(killed, folder + "/killed.npz")
    # From when it has begun to save.
    while not os.path.exists(file) or os.path.getmtime(file) == before:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))
    os.kill(number, signal.SIGKILL)
    n_killed += os.waitpid(number, 0)[1] == signal.SIGKILL
_, status = os.waitpid(child(killed, folder + "/killed.npz"), 0)
print(status, n_killed)
with np.load(folder + "/whole.npz") as a, np.load(folder + "/killed.npz") as b:
    print(all(np.array_equal(a[n], b[n]) for n in a.files), len(a.files))
"""


@pytest.mark.x32
def test_killed_fits_go_on(tmp_path):
    printed = run_python(
        KILLED,
        str(tmp_path),
        JAX_COMPILATION_CACHE_DIR=str(tmp_path / "programs"),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    )
    first, second = printed.splitlines()
    assert first == "0 10"
    assert second.startswith("True")


MEMORY = """
import re, sys, threading, time
import numpy as np
import jax
import gmmx_eqx as gx

def mib():
    with open("/proc/self/status") as file:
        (line,) = re.findall(r"RssAnon:\\s+(\\d+)", file.read())
    return int(line) / 1024

def watch():
    global most
    while True:
        most = max(most, mib())
        time.sleep(0.002)

file = np.memmap(sys.argv[1], np.float32, "r", shape=(8_000_000, 8))
before = most = mib()
threading.Thread(target=watch, daemon=True).start()
data = gx.blocks(file)
start = gx.GaussianMixture.create(2, 8)
gx.fit(start, data, solver=gx.EM(max_steps=0), throw=False)
print(most - before, data.rows * 32 / 2**20)
"""


@pytest.mark.x32
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_memory_is_that_of_four_blocks(tmp_path):
    """Of a file of 256 MB; pages of the mapped file itself do not count."""
    path = tmp_path / "x"
    rng = np.random.default_rng(0)
    part = rng.standard_normal((1_000_000, 8), np.float32)
    with open(path, "wb") as file:
        for _ in range(8):
            part.tofile(file)
    most, block = map(float, run_python(MEMORY, str(path)).split())
    path.unlink()
    assert most <= 4 * block + 100
