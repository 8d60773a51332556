"""Data that is read one block at a time: the same as in memory, from any kind of
source."""

import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx import plotting
from gmmx_eqx._fit.passes import Facts
from gmmx_eqx.sklearn import GaussianMixture

from .families import BY_NAME
from .helpers import interruptible, make_data


KEY = jax.random.key(0)
N_SAMPLES, ROWS = 2000, 300


def make_x(n_features=3, seed=0):
    x = make_data(N_SAMPLES, n_features, seed=seed)
    return x.astype(jax.dtypes.canonicalize_dtype(float))


def start(x, covariance_type="full", n_components=3):
    return gx.GaussianMixture.from_k_means(
        x, n_components, key=KEY, covariance_type=covariance_type
    )


def check_same(got, expected, rtol=None):
    leaves = jax.tree.leaves(got.mixture), jax.tree.leaves(expected.mixture)
    for one, other in zip(*leaves, strict=True):
        # The guard of the kernels promises covariances to eps to the power 0.6.
        tolerance = rtol or (1e-10 if one.dtype == jnp.float64 else 3e-4)
        scale = float(jnp.max(jnp.abs(other)))
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "volume"])
def test_every_family(name):
    x = make_x()
    family = gx.LowRank(1) if name == "low_rank" else name
    mixture = start(x, family)
    solver = gx.EM(tol=0.0, max_steps=6)
    got = gx.fit(mixture, gx.blocks(x, rows=ROWS), solver=solver, throw=False)
    expected = gx.fit(mixture, x, solver=solver, throw=False)
    check_same(got, expected, 1e-9 if x.dtype == np.float64 else None)
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=1e-5)


def in_memory_map(x, folder):
    file = np.memmap(folder / "x", x.dtype, "w+", shape=x.shape)
    file[:] = x
    return file


def as_parquet(x, folder):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = [f"x{i}" for i in range(x.shape[1])]
    table = arrow.table(dict(zip(names, x.T, strict=True)))
    parquet.write_table(table, folder / "x.parquet", row_group_size=170)
    return parquet.ParquetFile(folder / "x.parquet")


def as_hdf5(x, folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file["x"] = x
    return h5py.File(folder / "x.h5", "r")["x"]


def as_zarr(x, folder):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(folder / "z", shape=x.shape, dtype=x.dtype)
    array[:] = x
    return array


def as_dask(x, folder):
    return pytest.importorskip("dask.array").from_array(x, chunks=(ROWS, -1))


def as_frame(x, folder):
    pytest.importorskip("narwhals")
    return pytest.importorskip("pandas").DataFrame(x)


KINDS = {
    "array": lambda x, folder: x,
    "jax": lambda x, folder: jnp.asarray(x),
    "memory map": in_memory_map,
    "parts": lambda x, folder: [x[:7], x[7:900], x[900:]],
    "parquet": as_parquet,
    "hdf5": as_hdf5,
    "zarr": as_zarr,
    "dask": as_dask,
    "frame": as_frame,
}


@pytest.mark.x64
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source(kind, tmp_path):
    x = make_x()
    data = gx.blocks(KINDS[kind](x, tmp_path), rows=ROWS)
    assert data.shape == x.shape and len(data) == 7
    found = np.concatenate([block.x[: block.n_samples] for block in data])
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(data.load(3).x, x[3 * ROWS : 4 * ROWS])
    mixture = start(x)
    np.testing.assert_allclose(mixture.score(data), mixture.score(x), rtol=1e-12)


@pytest.mark.x64
def test_weights_solvers_and_frozen():
    x = make_x()
    weight = np.random.default_rng(0).integers(0, 3, N_SAMPLES).astype(float)
    mixture = start(x)
    frozen = gx.Frozen(means=[True, False, False])
    for options in (
        {"solver": gx.SQUAREM(tol=1e-9)},
        {"frozen": frozen},
        {"reg_covar": 0.1, "samples_per_chunk": 64},
        {"equal_weights": True},
        {"resolution": 100.0, "throw": False},
    ):
        data = gx.blocks(x, rows=ROWS, sample_weight=weight)
        got = gx.fit(mixture, data, **options)
        expected = gx.fit(mixture, x, sample_weight=weight, **options)
        assert got.status == expected.status
        assert int(got.n_steps) == int(expected.n_steps)
        check_same(got, expected, 1e-8)


def test_a_component_far_away():
    """Narrow and far, so that moments are about its own mean."""
    x = make_x()
    x[:200] = 1e-4 * x[:200] + 1e3
    mixture = gx.GaussianMixture.from_labels(x, np.repeat([0, 1], [200, 1800]))
    solver = gx.EM(tol=0.0, max_steps=3)
    got = gx.fit(mixture, gx.blocks(x, rows=ROWS), solver=solver, throw=False)
    expected = gx.fit(mixture, x, solver=solver, throw=False)
    check_same(got, expected, 1e-8 if x.dtype == np.float64 else None)


def test_criteria_and_maps(tmp_path):
    x = make_x()
    mixture = start(x)
    data = gx.blocks(x, rows=ROWS)
    for name in ("score", "aic", "bic", "icl"):
        rtol = 1e-12 if x.dtype == np.float64 else 1e-6
        got, expected = (getattr(mixture, name)(given) for given in (data, x))
        np.testing.assert_allclose(got, expected, rtol=rtol)
    np.testing.assert_array_equal(
        gx.map_blocks(mixture.predict, data), mixture.predict(x)
    )
    out = np.memmap(tmp_path / "out", x.dtype, "w+", shape=(N_SAMPLES, 3))
    assert gx.map_blocks(mixture.predict_proba, data, out=out) is None
    np.testing.assert_allclose(out, mixture.predict_proba(x), rtol=0, atol=1e-6)


def test_counts_are_exact():
    """Sums over blocks are in float64: one by one, float32 stops at 2^24."""

    class Many:
        shape, dtype = (30_000_001, 1), np.dtype(np.float32)

        def __getitem__(self, index):
            n = len(range(*index.indices(self.shape[0])))
            return (np.arange(n, dtype=np.float32) % 2)[:, None]

    facts = Facts.of(gx.blocks(Many(), rows=2**21), jnp.dtype(jnp.float32))
    assert float(facts.total) == np.float32(30_000_001)
    assert abs(float(facts.pivot.ravel()[0]) - 0.5) < 1e-6
    assert abs(float(facts.variances.ravel()[0]) - 0.25) < 1e-6


@pytest.mark.x32
def test_a_step_of_many_samples_is_exact():
    """Counts of a component that has more samples than float32 can count: sums that
    stop there, at 2^24, would give it a weight of 0.85."""
    n_samples, n_left = 30_000_000, 27_000_000

    class Many:
        shape, dtype = (n_samples, 1), np.dtype(np.float32)

        def __getitem__(self, index):
            start, stop, _ = index.indices(n_samples)
            # At 0 and 2 by turns, and at 100 and 102.
            x = 2 * (np.arange(start, stop) % 2).astype(np.float32)
            x[max(n_left - start, 0) :] += 100
            return x[:, None]

    mixture = gx.GaussianMixture.from_squeezed(
        [[0.0], [100.0]], np.ones((2, 1)), [0.5, 0.5], "diag"
    )
    solver = gx.EM(tol=0.0, max_steps=1)
    data = gx.blocks(Many(), rows=2**20)
    got = gx.fit(mixture, data, solver=solver, reg_covar=0.0, throw=False).mixture
    np.testing.assert_allclose(got.weights_numpy, [0.9, 0.1], rtol=1e-6)
    np.testing.assert_allclose(got.means_numpy, [[1.0], [101.0]], rtol=1e-5)


def test_draws():
    x = make_x()
    data = gx.blocks(x, rows=ROWS)
    drawn, weight = data.draw(100, KEY)
    assert drawn.shape == (100, 3) and weight.shape == (100,)
    again, _ = gx.blocks(x, rows=7).draw(100, KEY)
    np.testing.assert_array_equal(drawn, again)
    assert len({tuple(row) for row in drawn.tolist()}) == 100
    everything, _ = data.draw(10**6, KEY)
    np.testing.assert_array_equal(everything, x)
    # Small data is all drawn, and the start is that of data in memory.
    for one, other in zip(
        jax.tree.leaves(start(data)), jax.tree.leaves(start(x)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_how_far_ahead_does_not_matter():
    x = make_x()
    data = gx.blocks(x, rows=ROWS)
    for depth in (1, 2, 50):
        found = [block.x.copy() for block in data.ahead(data.load, depth)]
        assert len(found) == len(data)
        for number, block in enumerate(found):
            np.testing.assert_array_equal(block, data.load(number).x)


def test_an_error_while_reading_ends_the_pass():
    class Broken:
        shape, dtype = (1000, 2), np.dtype(np.float32)

        def __getitem__(self, index):
            if index.start >= 500:
                raise OSError("the disk is gone")
            return np.zeros((index.stop - index.start, 2), np.float32)

    before = threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        list(gx.blocks(Broken(), rows=100))
    assert threading.active_count() <= before


BAD = {
    "once": (lambda x: gx.blocks(iter([x])), "read only once"),
    "widths": (lambda x: gx.blocks([x, x[:, :2]]), "as many features; got 3, 2"),
    "one axis": (lambda x: gx.blocks(x[:, 0]), "must have shape"),
    "empty": (lambda x: gx.blocks(x[:0]), "is empty"),
    "no parts": (lambda x: gx.blocks([]), "at least one part"),
    "text": (lambda x: gx.blocks("file.npy"), "an object with `shape`"),
    "strings": (lambda x: gx.blocks(x.astype(str)), "must hold numbers"),
    "rows": (lambda x: gx.blocks(x, rows=0), "`rows`"),
    "weights": (lambda x: gx.blocks(x, sample_weight=[1.0]), "one number per sample"),
    "negative": (lambda x: gx.blocks(x, sample_weight=-(x[:, 0] ** 2)), "not negative"),
    "features": (lambda x: gx.fit(start(x), gx.blocks(x[:, :2])), "have 2 features"),
    "two weights": (
        lambda x: gx.fit(start(x), gx.blocks(x), sample_weight=x[:, 0]),
        "hold their own weights",
    ),
    "few": (lambda x: gx.fit(start(x), gx.blocks(x[:2])), "at least as many samples"),
    "checkpoint": (lambda x: gx.fit(start(x), x, checkpoint="a"), "`gmmx_eqx.blocks`"),
    "elsewhere": (lambda x: start(x).predict(gx.blocks(x)), "map_blocks"),
    "batch": (lambda x: gx.fit_batch([gx.blocks(x)], 3, key=KEY), "fit_restarts.data"),
    "rate": (lambda x: gx.contraction_rate(start(x), gx.blocks(x)), "map_blocks"),
    "estimator": (lambda x: GaussianMixture(2).fit(gx.blocks(x)), "map_blocks"),
    "picture": (
        lambda x: plotting.plot_uncertainty(start(x), gx.blocks(x)),
        "map_blocks",
    ),
    "map": (lambda x: gx.map_blocks(start(x).predict, x), "`gmmx_eqx.blocks"),
    "out": (
        lambda x: gx.map_blocks(start(x).predict, gx.blocks(x), out=np.zeros(3)),
        "one row per sample, 2000",
    ),
    "fn": (lambda x: gx.map_blocks(lambda x: x.sum(), gx.blocks(x)), "one row per"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        call(make_x())


def test_nan_is_named():
    x = make_x()
    x[700, 1] = np.nan
    with pytest.raises(ValueError, match="Block 2 .* feature 1 of its row 100, .* 700"):
        gx.fit(start(make_x()), gx.blocks(x, rows=ROWS))
    weight = np.ones(N_SAMPLES)
    weight[700] = 0
    data = gx.blocks(x, rows=ROWS, sample_weight=weight)
    assert gx.fit(start(make_x()), data).converged


def test_unknown_sizes_of_dask():
    array = pytest.importorskip("dask.array").from_array(make_x(), chunks=(ROWS, -1))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        gx.blocks(array[array[:, 0] > 0])


def test_checkpoints(tmp_path):
    x = make_x()
    data = gx.blocks(x, rows=ROWS)
    mixture = start(x)
    solver = gx.EM(tol=0.0, max_steps=9)
    options = {"solver": solver, "throw": False, "checkpoint": tmp_path}
    expected = gx.fit(mixture, data, solver=solver, throw=False)

    class Interrupted(gx.extend.AbstractProgress):
        def begin(self, unit, total):
            pass

        def update(self, n_done, log_likelihood, change):
            if n_done == 4:
                os.kill(os.getpid(), signal.SIGINT)

        def end(self):
            pass

    with interruptible(), pytest.raises(KeyboardInterrupt):
        gx.fit(mixture, data, progress=Interrupted(), **options)
        time.sleep(1)
    (saved,) = tmp_path.iterdir()
    content = saved.read_bytes()
    got = gx.fit(mixture, data, **options)
    for one, other in zip(
        jax.tree.leaves(got.mixture), jax.tree.leaves(expected.mixture), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert int(got.n_steps) == 9

    def refused(match, mixture=mixture, data=data, **more):
        with pytest.raises(ValueError, match=match):
            gx.fit(mixture, data, **(options | more))

    saved.write_bytes(content[:-10])
    refused("is not whole")
    saved.write_bytes(b"something else")
    refused("no checkpoint of this version")
    saved.write_bytes(content)
    refused("other data", data=gx.blocks(x + 1, rows=ROWS))
    refused("other data", data=gx.blocks(x, rows=200))
    refused("another start", mixture=start(x, "diag"))
    refused("other options", reg_covar=0.1)


def test_data_that_turns_nan_is_not_hidden():
    class Changing:
        shape, dtype = (1000, 2), np.dtype(np.float32)
        n_reads = 0

        def __getitem__(self, index):
            self.n_reads += 1
            x = make_x(2)[:1000].astype(np.float32)
            # The first pass, of two blocks, is still right.
            x[10] = np.nan if self.n_reads > 2 else x[10]
            return x[index]

    mixture = start(make_x(2)[:1000])
    weight = np.arange(1000) % 2 + 1
    data = gx.blocks(Changing(), rows=500, sample_weight=weight)
    assert gx.fit(mixture, data, throw=False).status == "nonfinite"
