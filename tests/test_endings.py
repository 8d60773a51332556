"""What a fit ends with: its error, its status, and the solutions of many."""

import dataclasses
import pickle
import traceback

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
import pytest

import gmmx_eqx as gx
from gmmx_eqx._core.results import STATUSES
from gmmx_eqx.interop.optimistix import as_optimistix

from .helpers import leaves, make_data, start


HURRIED = gx.EM(tol=0.0, max_steps=2)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(make_data(60), dtype=float)


@pytest.fixture(scope="module")
def begin(x):
    return start("full", x, 2)


@pytest.fixture(scope="module")
def solutions(x):
    sets = [x, x[:2], x.at[0, 0].set(jnp.nan), x + 1]
    return gx.fit_batch(sets, 3, key=jr.key(0), n_restarts=2)


def raised(call):
    with pytest.raises(gx.FitError) as info:
        call()
    return info.value


@pytest.mark.x32
def test_the_error_says_why_in_two_lines(x, begin):
    error = raised(lambda: gx.fit(begin, x, solver=HURRIED))
    assert isinstance(error, RuntimeError)
    cause, remedy = str(error).splitlines()
    assert "`max_steps`" in cause and remedy.startswith("Increase `max_steps`")
    text = "".join(traceback.format_exception(error))
    assert text.splitlines()[-2:] == [f"gmmx_eqx.FitError: {cause}", remedy]
    assert "EQX_ON_ERROR" not in text
    # No compiled program, of whatever fit, is in between; the hook of the tests is.
    frames = traceback.extract_tb(error.__traceback__)
    names = [frame.name for frame in frames if "jaxtyping" not in frame.filename]
    assert names[-2:] == ["fit", "raise_unless_successful"]
    assert not any("equinox" in frame.filename for frame in frames)


@pytest.mark.x32
def test_many_fits_end_in_the_same_error(x):
    few = {"solver": HURRIED, "throw": True, "key": jr.key(0)}
    for call in (
        lambda: gx.fit_restarts(x, 2, n_restarts=2, **few),
        lambda: gx.fit_batch(x[None], 2, **few),
        lambda: gx.select(x, [2], ["full"], 2, **few),
    ):
        error = raised(call)
        cause, remedy = str(error).splitlines()
        assert cause.endswith("settled.") and remedy.startswith("Increase `max_steps`")
        assert error.solution.status == "max_steps_reached"
        assert error.solution.log_likelihood.shape == ()
        assert error.__cause__ is error.__context__ is None
        frames = traceback.extract_tb(error.__traceback__)
        assert not any("equinox" in frame.filename for frame in frames)


@pytest.mark.x32
def test_the_error_is_of_its_own_fit(x, begin):
    """Whatever has been compiled and has succeeded before."""
    good = gx.EM(tol=1e-3, max_steps=60)
    gx.fit(begin, x, solver=good)
    few = gx.EM(tol=0.0, max_steps=3)
    error = raised(lambda: gx.fit(begin, x, solver=few))
    assert error.solution.n_steps == 3
    expected = gx.fit(begin, x, solver=few, throw=False)
    for a, b in zip(leaves(error.solution), leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.x32
@pytest.mark.parametrize("transform", ["none", "grad", "jvp"])
def test_the_error_can_be_pickled(x, begin, transform):
    run = lambda x: gx.fit(begin, x, solver=HURRIED).log_likelihood
    calls = {
        "none": lambda: run(x),
        "grad": lambda: jax.grad(run)(x),
        "jvp": lambda: jax.jvp(run, (x,), (x,)),
    }
    error = raised(calls[transform])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is gx.FitError and str(again) == str(error)
    assert again.solution.status == "max_steps_reached"
    for a, b in zip(leaves(again.solution), leaves(error.solution), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.x32
def test_inside_jit_the_program_raises(x, begin):
    run = eqx.filter_jit(lambda x: gx.fit(begin, x, solver=HURRIED).log_likelihood)
    with pytest.raises(eqx.EquinoxRuntimeError, match="max_steps"):
        jax.block_until_ready(run(x))


@pytest.mark.x32
def test_names_of_results(solutions):
    assert len(STATUSES) == len(gx.RESULTS)
    for name in STATUSES:
        item = getattr(gx.RESULTS, name)
        one = eqx.tree_at(lambda s: s.result, solutions[0], item)
        assert one.status == name and type(one.status) is str
    with pytest.raises(ValueError, match="`status` is a name"):
        eqx.filter_jit(lambda solution: solution.status)(solutions[0])
    with pytest.raises(ValueError, match="`status` is a name"):
        eqx.filter_vmap(lambda solution: len(solution.status))(solutions)


@pytest.mark.x32
def test_a_solution_of_many(solutions):
    names = ["successful", "too_few_samples", "nonfinite", "successful"]
    assert solutions.status.tolist() == names
    assert len(solutions) == 4
    assert [solution.status for solution in solutions] == names
    one = solutions[3]
    assert one.converged and one.log_likelihood.shape == ()
    for index in (3, -1, np.int64(3)):
        for a, b in zip(leaves(solutions[index]), leaves(solutions), strict=True):
            np.testing.assert_array_equal(a, b[3])
    assert solutions[1:3].status.tolist() == names[1:3]
    assert solutions[np.array([3, 0])].status.tolist() == [names[3], names[0]]
    good = solutions[solutions.converged]
    assert len(good) == 2 and bool(jnp.all(good.converged))
    for index in (4, -5):
        with pytest.raises(IndexError, match="4"):
            solutions[index]


@pytest.mark.x32
def test_a_solution_of_one(x, begin):
    solution = gx.fit(begin, x)
    assert solution  # `len` must not decide that
    for call in (len, iter, lambda solution: solution[0]):
        with pytest.raises(TypeError, match="single solution"):
            call(solution)
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), solution)
    nested = jax.tree.map(lambda leaf: leaf[None], two)
    assert (len(nested), len(nested[0]), nested[0, 1].status) == (1, 2, "successful")
    assert nested.status.shape == (1, 2)
    assert two and two[:0]


@pytest.mark.x32
def test_a_history_repeats_its_last_value(x, begin):
    for solver in (gx.EM(), gx.SQUAREM(), gx.EM(0.0, 5)):
        solution = gx.fit(begin, x, solver=solver, throw=False)
        history = np.asarray(solution.log_likelihoods)
        n_steps = int(solution.n_steps)
        assert np.all(history[n_steps:] == solution.log_likelihood)
        assert history[n_steps - 1] != history[n_steps] or solver.tol > 0


@pytest.mark.x32
@pytest.mark.parametrize("few", [1, 2])
def test_too_few_samples_in_a_batch(x, few):
    """Of different lengths, or hidden by weights of zero; others are not touched."""
    kwargs = {"key": jr.key(1), "n_restarts": 2}
    ragged = gx.fit_batch([x, x[:few], x[:3]], 3, **kwargs)
    weight = np.ones((3, 60))
    weight[1, few:], weight[2, 3:] = 0, 0
    weighted = gx.fit_batch(jnp.stack([x] * 3), 3, sample_weight=weight, **kwargs)
    whole = gx.fit_batch([x, x, x[:3]], 3, **kwargs)
    for got in (ragged, weighted):
        assert got.status.tolist()[:2] == ["successful", "too_few_samples"]
        assert got[2].status != "too_few_samples"
        np.testing.assert_array_equal(got.converged, [True, False, whole[2].converged])
    for a, b in zip(leaves(ragged[0]), leaves(whole[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    # A NaN in the data is the worse problem.
    broken = gx.fit_batch([x, x[:few].at[0, 0].set(jnp.nan)], 3, **kwargs)
    assert broken.status.tolist() == ["successful", "nonfinite"]


@pytest.mark.x32
def test_too_few_samples_while_tracing(x, begin):
    weights = jnp.stack([jnp.ones(60), jnp.zeros(60).at[7].set(2.0)])
    run = lambda weight: gx.fit(begin, x, sample_weight=weight, throw=False)
    ends = eqx.filter_vmap(run)(weights)
    assert ends.status.tolist() == ["successful", "too_few_samples"]
    many = eqx.filter_vmap(
        lambda w: gx.fit_restarts(x, 3, n_restarts=2, key=jr.key(0), sample_weight=w)
    )(weights)
    assert many.solutions.status[1].tolist() == ["too_few_samples"] * 2
    with pytest.raises(ValueError, match="positive weight"):
        run(weights[1])


@pytest.mark.x32
def test_solvers_that_are_not_of_em(x, begin):
    newton = optx.Newton(rtol=1e-3, atol=1e-3)
    picard = optx.FixedPointIteration(rtol=1e-3, atol=1e-3)
    for solver in (picard, newton):
        runs = (
            lambda solver=solver: gx.fit(begin, x, solver=solver),
            lambda solver=solver: gx.fit_restarts(x, 2, key=jr.key(0), solver=solver),
            lambda solver=solver: gx.fit_batch(
                x[None], 2, key=jr.key(0), solver=solver
            ),
            lambda solver=solver: gx.select(x, [2], key=jr.key(0), solver=solver),
        )
        for run in runs:
            with pytest.raises(
                (ValueError, TypeError), match="(?s)(`solver`.*EM|solver)"
            ):
                run()


class _OwnState(gx.extend.AbstractEMState):
    record: gx.extend.Record


class _Own(gx.extend.AbstractEM):
    """EM with half of each step, which stops after some steps."""

    tol: jax.Array
    max_steps: jax.Array

    def init(self, mixture):
        return _OwnState(gx.EM(self.tol, 8).init(mixture).record)

    def step(self, fn, mixture, state):
        new, info = fn(mixture)
        record = state.record
        stop = record.n_steps >= self.max_steps
        result = gx.RESULTS.max_steps_reached
        record = record.after(info.log_likelihood, stop, result, record.noise)
        half = jax.tree.map(
            lambda old, new: jnp.where(stop, old, (old + new) / 2), mixture, new
        )
        return half, _OwnState(record)


class _Stateless(gx.extend.AbstractEM):
    """An `AbstractEM` without the state of one."""

    tol: jax.Array
    max_steps: jax.Array

    def init(self, mixture):
        return {"n_steps": 0}

    def step(self, fn, mixture, state):
        return mixture, state


@pytest.mark.x32
def test_solvers_of_ones_own(x, begin):
    args = (jnp.array(1e-3), jnp.array(4))
    got = gx.fit(begin, x, solver=_Own(*args), throw=False)
    assert got.n_steps == 4 and got.status == "max_steps_reached"
    assert np.all(np.diff(got.log_likelihoods[:5]) > 0)
    for run in (
        lambda: gx.fit(begin, x, solver=_Stateless(*args)),
        lambda: gx.fit_restarts(
            x, 2, n_restarts=2, key=jr.key(0), solver=_Stateless(*args)
        ),
    ):
        with pytest.raises(
            ValueError, match="`solver` .*`gmmx_eqx.extend.AbstractEMState`"
        ):
            run()


@pytest.mark.x64
@pytest.mark.parametrize("solver", [gx.EM(), gx.SQUAREM(1e-8)], ids=["em", "squarem"])
def test_as_a_solver_of_optimistix(x, begin, solver):
    expected = gx.fit(begin, x, solver=solver)
    source = gx.extend.InMemory.from_data(jnp.asarray(x), None, len(x))
    step = gx.extend.EMStep.create(begin.covariances, source, gx.RelativeRidge(1e-6))
    start = dataclasses.replace(begin, means=begin.means - source.pivot)
    end = optx.fixed_point(
        lambda mixture, args: step(mixture),
        as_optimistix(solver),
        start,
        has_aux=True,
        max_steps=1000,
    )
    assert end.state.record.n_steps == expected.n_steps
    rtol = 1e-10 if begin.means.dtype == np.float64 else 1e-4
    means = end.value.means + source.pivot
    np.testing.assert_allclose(means, expected.mixture.means, rtol, rtol)
    with pytest.raises((ValueError, TypeError), match="solver"):
        as_optimistix(optx.Newton(1e-3, 1e-3))
