"""What is told of a fit while it runs."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import tqdm

import gmmx_eqx as gx
from gmmx_eqx._fit.progress import _SESSIONS

from .helpers import counted, make_data, start


class Recorder(gx.extend.AbstractProgress):
    def __init__(self):
        self.calls = []

    def begin(self, unit, total):
        self.calls.append(("begin", unit, total))

    def update(self, n_done, log_likelihood, change):
        self.calls.append((n_done, log_likelihood, change))

    def end(self):
        self.calls.append(("end",))

    @property
    def updates(self):
        """Between a beginning and an end, of which there is one each."""
        first, *updates, last = self.calls
        assert first[0] == "begin" and last == ("end",)
        assert not {"begin", "end"} & {update[0] for update in updates}
        return np.array(updates, dtype=float)


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    before = set(_SESSIONS)
    yield
    inside_jit = ("test_no_trace_of_it_when_off", "test_inside_jit_and_vmap")
    assert set(_SESSIONS) == before or request.node.name in inside_jit


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(make_data(150), dtype=float)


@pytest.fixture(scope="module")
def begin(x):
    return start("full", x, 3)


def assert_history(updates, solution):
    n_steps = int(solution.n_steps)
    assert updates[:, 0].tolist() == list(range(n_steps + 1))
    history = np.asarray(solution.log_likelihoods, float)[: n_steps + 1]
    np.testing.assert_array_equal(updates[:, 1], history)
    np.testing.assert_array_equal(updates[1:, 2], np.diff(history))
    assert np.isnan(updates[0, 2])


@pytest.mark.x32
@pytest.mark.parametrize(
    "solver",
    [gx.EM(), gx.SQUAREM()],
    ids=["EM", "SQUAREM"],
)
def test_one_fit(x, begin, solver):
    recorder = Recorder()
    solution = gx.fit(begin, x, solver=solver, progress=recorder)
    assert recorder.calls[0] == ("begin", "step", None)
    assert_history(recorder.updates, solution)
    silent = gx.fit(begin, x, solver=solver)
    for a, b in zip(jax.tree.leaves(solution), jax.tree.leaves(silent), strict=True):
        np.testing.assert_array_equal(a, b)
    # Another listener is not another program.
    with counted() as compiled:
        gx.fit(begin, x, solver=solver, progress=(another := Recorder()))
    assert not compiled
    assert len(another.calls) == len(recorder.calls)


def text(run, **kwargs):
    jaxpr, *_ = eqx.filter_make_jaxpr(lambda key: run(key=key, **kwargs))(jr.key(0))
    return str(jaxpr)


@pytest.mark.x32
def test_no_trace_of_it_when_off(x, begin):
    runs = (
        lambda key, **kwargs: gx.fit(begin, x, throw=False, **kwargs),
        lambda **kwargs: gx.fit_restarts(x, 3, n_restarts=3, **kwargs).solutions,
        lambda **kwargs: gx.fit_batch(x[None], 3, n_restarts=3, **kwargs),
    )
    for run in runs:
        assert "callback" in text(run, progress=Recorder())
        off = text(run, progress=False)
        assert "callback" not in off and off == text(run)


@pytest.mark.x32
def test_restarts(x):
    recorder = Recorder()
    population = gx.fit_restarts(
        x, 3, n_restarts=7, key=jr.key(0), width=3, progress=recorder
    )
    assert recorder.calls[0] == ("begin", "fit", 7)
    updates = recorder.updates
    done, best = updates[:, 0], updates[:, 1]
    assert done[0] == 0 and done[-1] == 7 and np.all(np.diff(done) > 0)
    best = best[done > 0]
    assert np.all(np.diff(best) >= 0)
    # Of lanes that differ by rounding alone `best` is the first.
    rounding = 64 * np.finfo(population.best.log_likelihood.dtype).eps
    np.testing.assert_allclose(best[-1], population.best.log_likelihood, rounding)
    values = np.asarray(population.solutions.log_likelihood, float)
    assert set(best.tolist()) <= set(values.tolist())


@pytest.mark.x32
def test_batches_and_selections(x):
    xs = jnp.stack([x, x + 1, 2 * x])
    recorder = Recorder()
    gx.fit_batch(xs, 3, n_restarts=2, key=jr.key(0), progress=recorder, width=4)
    assert recorder.calls[0] == ("begin", "fit", 6)
    assert recorder.updates[-1, 0] == 6
    recorder = Recorder()
    families = ["spherical", "diag"]
    gx.select(x, [1, 2], families, 3, key=jr.key(0), progress=recorder, width=4)
    assert recorder.calls[0] == ("begin", "fit", 12)
    done = recorder.updates[:, 0]
    assert done[-1] == 12 and 6 in done and np.all(np.diff(done) > 0)


@pytest.mark.x32
def test_inside_jit_and_vmap(x, begin):
    recorder = Recorder()
    run = eqx.filter_jit(lambda x: gx.fit(begin, x, throw=False, progress=recorder))
    for scale in (1.0, 2.0):
        solution = jax.block_until_ready(run(scale * x))
        jax.effects_barrier()
        assert_history(recorder.updates, solution)
        recorder.calls.clear()
    lanes = eqx.filter_vmap(lambda x: gx.fit(begin, x, throw=False, progress=recorder))
    solutions = jax.block_until_ready(lanes(jnp.stack([x, 3 * x, x[::-1] - 1])))
    jax.effects_barrier()
    # Told of the lane that has taken the most steps.
    updates = recorder.updates
    most = int(np.max(solutions.n_steps))
    assert updates[:, 0].tolist() == list(range(most + 1))
    lane = int(np.argmax(solutions.n_steps))
    np.testing.assert_array_equal(updates[-1, 1], solutions.log_likelihood[lane])


@pytest.mark.x32
def test_a_failure_ends_it(x, begin):
    class Broken(Recorder):
        def update(self, n_done, log_likelihood, change):
            super().update(n_done, log_likelihood, change)
            if n_done == 2:
                raise RuntimeError("the disk is full")

    broken = Broken()
    with pytest.raises(Exception, match="the disk is full"):
        gx.fit(begin, x, progress=broken)
    assert broken.calls[-1] == ("end",)
    # A fit that does not converge has ended, too.
    recorder = Recorder()
    with pytest.raises(gx.FitError, match="max_steps"):
        gx.fit(begin, x, solver=gx.EM(tol=0.0, max_steps=2), progress=recorder)
    assert recorder.updates[:, 0].tolist() == [0, 1, 2]


@pytest.mark.x32
def test_the_bar(x, begin, monkeypatch):
    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, file=io.StringIO(), **kwargs)
            bars.append(self)

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    solution = gx.fit(begin, x, progress=True)
    gx.fit_restarts(x, 3, n_restarts=7, key=jr.key(0), width=3, progress=True)
    one, many = bars
    assert one.n == int(solution.n_steps) and one.total is None
    assert f"{float(solution.log_likelihood):.6g}" in one.postfix
    assert many.n == many.total == 7
    assert not any("nan" in bar.postfix for bar in bars)
    assert all(bar.disable for bar in bars)  # what `close` leaves behind


@pytest.mark.x32
def test_bad_input(x, begin, monkeypatch):
    with pytest.raises((ValueError, TypeError)):
        gx.fit(begin, x, progress="bar")
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"gmmx_eqx\[progress\]"):
        gx.fit(begin, x, progress=True)
