"""Many fits to blocks at once: each is that of the same start in memory."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import interruptible, make_data


KEY = jax.random.key(0)
N_SAMPLES, ROWS = 1500, 400


@pytest.fixture(scope="module")
def x():
    x = make_data(N_SAMPLES, 3, seed=1)
    return x.astype(jax.dtypes.canonicalize_dtype(float))


@pytest.fixture(scope="module")
def weight(x):
    return np.random.default_rng(0).integers(0, 3, N_SAMPLES).astype(x.dtype)


class Counted:
    """Data that counts how many samples are read."""

    def __init__(self, x):
        self.shape, self.dtype, self._x, self.n_read = x.shape, x.dtype, x, 0

    def __getitem__(self, index):
        read = self._x[index]
        self.n_read += len(read)
        return read


def check_same(got, expected, rtol):
    np.testing.assert_array_equal(got.status, expected.status)
    for one, other in zip(
        jax.tree.leaves(got.mixture), jax.tree.leaves(expected.mixture), strict=True
    ):
        scale = float(jnp.max(jnp.abs(other)))
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=rtol)


FROZEN_AT = {"weights": [0.2, 0.3, 0.5], "means": [[1.0] * 3, [0.0] * 3, [2.0] * 3]}


@pytest.mark.x64
@pytest.mark.parametrize("case", ("plain", "keep", "squarem", "frozen", "equal"))
def test_restarts_are_those_in_memory(x, weight, case):
    options = {
        "plain": {"covariance_type": "tied"},
        "keep": {"keep": 2, "short_steps": 3},
        "squarem": {"solver": gx.SQUAREM(), "prior": gx.Prior.from_data(x)},
        "frozen": {
            "covariance_type": "diag",
            "frozen": gx.Frozen(means=[True, False, False], weights=[True] * 3),
            "frozen_at": gx.GaussianMixture.from_squeezed(
                covariances=np.ones((3, 3)), covariance_type="diag", **FROZEN_AT
            ),
        },
        "equal": {"equal_weights": True, "reg_covar": 0.1, "resolution": 100.0},
    }[case]
    options |= {"n_restarts": 9, "key": KEY, "n_components": 3}
    data = gx.blocks(x, rows=ROWS, sample_weight=weight)
    got = gx.fit_restarts(data, **options)
    expected = gx.fit_restarts(x, sample_weight=weight, **options)
    check_same(got.solutions, expected.solutions, 1e-7)
    np.testing.assert_array_equal(got.solutions.n_steps, expected.solutions.n_steps)
    assert len(got) == 9


@pytest.mark.x32
def test_in_float32(x):
    solver = gx.EM(tol=0.0, max_steps=5)
    options = {"n_restarts": 4, "key": KEY, "n_components": 3, "solver": solver}
    got = gx.fit_restarts(gx.blocks(x, rows=ROWS), **options)
    # The guard of the kernels promises covariances to eps to the power 0.6.
    check_same(got.solutions, gx.fit_restarts(x, **options).solutions, 3e-4)


@pytest.mark.x64
def test_all_share_one_read(x):
    """Of eight fits of five steps as many samples are read as of one: a pass for what
    is known of all, a draw, and a pass for each likelihood."""
    solver = gx.EM(tol=0.0, max_steps=5)
    source = Counted(x)
    data = gx.blocks(source, rows=ROWS)
    population = gx.fit_restarts(data, 2, n_restarts=8, key=KEY, solver=solver)
    assert source.n_read == (1 + 1 + 6) * N_SAMPLES
    assert int(population.n_turns) == 6
    # And of two families, with a pass for the ICL.
    source.n_read = 0
    gx.select(data, [1, 2], ["diag", "tied"], 2, key=KEY, solver=solver)
    assert source.n_read == (1 + 1 + 6 + 1) * N_SAMPLES


@pytest.mark.x64
def test_a_lane_that_fails_is_its_own(x):
    """Without a ridge, components of few distinct samples collapse."""
    x = x.copy()
    x[:50] = x[0]
    options = {"n_restarts": 9, "key": KEY, "reg_covar": 0.0}
    got = gx.fit_restarts(gx.blocks(x, rows=ROWS), 8, **options)
    expected = gx.fit_restarts(x, 8, **options)
    assert "component_collapsed" in got.solutions.status
    np.testing.assert_array_equal(got.solutions.status, expected.solutions.status)
    with pytest.raises(gx.FitError, match="max_steps"):
        solver = gx.EM(max_steps=1)
        data = gx.blocks(x, rows=ROWS)
        gx.fit_restarts(data, 2, n_restarts=2, key=KEY, solver=solver, throw=True)


@pytest.mark.x64
def test_selections_are_those_in_memory(x, weight):
    args = [1, 2, 3], ["tied", "spherical"]
    options = {"n_restarts": 3, "key": KEY, "criterion": "icl"}
    got = gx.select(gx.blocks(x, rows=ROWS, sample_weight=weight), *args, **options)
    expected = gx.select(x, *args, sample_weight=weight, **options)
    assert got.best.n_components == expected.best.n_components
    for one, other in zip(got.cells, expected.cells, strict=True):
        for name in ("bic", "aic", "icl", "log_likelihood"):
            values = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(*values, rtol=1e-10)
        assert one.n_converged == other.n_converged == 3
        check_same(one.solution, other.solution, 1e-7)


@pytest.mark.x32
def test_interrupted_and_resumed(x, tmp_path):
    """Ctrl-C leaves a checkpoint that goes on to the bit-identical end."""
    data = gx.blocks(x, rows=ROWS)
    options = {"n_restarts": 5, "key": KEY, "keep": 2, "short_steps": 3}
    options |= {"solver": gx.EM(tol=0.0, max_steps=8)}
    expected = gx.fit_restarts(data, 3, **options)

    class Interrupted(Told):
        def update_pass(self, n_read, n_samples, seconds):
            self.passes.append((n_read, n_samples, seconds))
            # In the middle of the fifth pass.
            if len(self.passes) == 4 * 5 + 2:
                os.kill(os.getpid(), signal.SIGINT)

    with interruptible(), pytest.raises(KeyboardInterrupt):
        gx.fit_restarts(data, 3, progress=Interrupted(), checkpoint=tmp_path, **options)
    told = Told()
    got = gx.fit_restarts(data, 3, progress=told, checkpoint=tmp_path, **options)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    # The first pass is for what is known of all samples.
    assert len(told.passes) < 4 * (1 + int(expected.n_turns))
    with pytest.raises(ValueError, match="another start"):
        again = options | {"key": jax.random.key(1)}
        gx.fit_restarts(data, 3, checkpoint=tmp_path, **again)
    with pytest.raises(ValueError, match="other options"):
        gx.fit_restarts(data, 3, checkpoint=tmp_path, **(options | {"keep": 3}))
    with pytest.raises(ValueError, match="`gmmx_eqx.blocks`"):
        gx.fit_restarts(x, 3, checkpoint=tmp_path, **options)
    with pytest.raises(ValueError, match="`gmmx_eqx.blocks`"):
        gx.select(x, [1], checkpoint=tmp_path, key=KEY)


@pytest.mark.x32
def test_a_selection_goes_on(x, tmp_path):
    data = gx.blocks(x, rows=ROWS)
    arguments = [1, 2], ["tied", "spherical"], 2
    options = {"key": KEY, "solver": gx.EM(tol=0.0, max_steps=6)}
    whole = Told()
    expected = gx.select(data, *arguments, progress=whole, **options)

    class Stopped(Told):
        def update_pass(self, n_read, n_samples, seconds):
            super().update_pass(n_read, n_samples, seconds)
            if len(self.passes) == 4 * 4 + 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        options_of_first = {**options, "progress": Stopped(), "checkpoint": tmp_path}
        gx.select(data, *arguments, **options_of_first)
    told = Told()
    got = gx.select(data, *arguments, progress=told, checkpoint=tmp_path, **options)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    # Three steps were made, by passes of four blocks.
    assert len(told.passes) == len(whole.passes) - 4 * 3


class Told(gx.extend.AbstractBlockProgress):
    def __init__(self):
        self.passes, self.updates = [], []

    def begin(self, unit, total):
        self.unit, self.total = unit, total

    def update(self, n_done, log_likelihood, change):
        self.updates.append((n_done, log_likelihood))

    def update_pass(self, n_read, n_samples, seconds):
        self.passes.append((n_read, n_samples, seconds))

    def end(self):
        self.ended = True


@pytest.mark.x32
def test_progress_of_each_pass(x, capsys):
    data = gx.blocks(x, rows=ROWS)
    told = Told()
    solver = gx.EM(tol=0.0, max_steps=3)
    options = {"n_restarts": 4, "key": KEY, "solver": solver}
    population = gx.fit_restarts(data, 2, progress=told, **options)
    assert told.unit == "fit" and told.total == 4 and told.ended
    # A pass for what is known of all samples, and one for each likelihood.
    n_read = [400, 800, 1200, N_SAMPLES]
    assert [n for n, _, _ in told.passes] == n_read * 5
    assert {n for _, n, _ in told.passes} == {N_SAMPLES}
    seconds = np.reshape([s for _, _, s in told.passes], (5, 4))
    assert np.all(np.diff(seconds, axis=1) >= 0) and np.all(seconds > 0)
    n_done, value = told.updates[-1]
    assert n_done == 4
    np.testing.assert_allclose(value, population.best.log_likelihood, rtol=1e-6)
    start = gx.GaussianMixture.from_k_means(x, 2, key=KEY)
    gx.fit(start, data, solver=solver, throw=False, progress=True)
    printed = capsys.readouterr().err
    assert "samples/s" in printed and "left" in printed and "pass" in printed


@pytest.mark.x32
def test_bad_input(x):
    data = gx.blocks(x, rows=ROWS)
    with pytest.raises(ValueError, match="hold their own weights"):
        gx.select(data, [1], key=KEY, sample_weight=x[:, 0])
    with pytest.raises(ValueError, match="at least as many samples"):
        gx.fit_restarts(gx.blocks(x[:2]), 3, key=KEY)
    with pytest.raises(ValueError, match="at least as many samples"):
        gx.select(gx.blocks(x[:2]), [1, 3], key=KEY)
    bad = x.copy()
    bad[900, 2] = np.inf
    for call in (
        lambda data: gx.fit_restarts(data, 2, key=KEY),
        lambda data: gx.select(data, [1], key=KEY),
    ):
        with pytest.raises(ValueError, match="Block 2 .* row 100, .* sample 900"):
            call(gx.blocks(bad, rows=ROWS))
