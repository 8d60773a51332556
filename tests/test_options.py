"""Options of fits mean the same, and are called the same, wherever they are taken."""

import inspect

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
import pytest

import gmmx_eqx as gx
from gmmx_eqx._fit.options import _check_solver, Options
from gmmx_eqx._fit.random_starts import _in_order

from .helpers import leaves, make_data, make_mixture, old_faithful


FITS = (gx.fit, gx.fit_restarts, gx.fit_batch, gx.select)
MANY = FITS[1:]
# Of many data sets there are many weights; one failure of many is no error.
# Solvers that take passes are for `fit`. Of many data sets fewer fit a core's cache.
DIFFERENT = {
    "sample_weight": {gx.fit_batch},
    "labels": {gx.fit_batch},
    "throw": {gx.fit},
    "solver": {gx.fit},
    "width": {gx.fit_batch},
}


def options_of(function) -> dict[str, inspect.Parameter]:
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


@pytest.mark.x32
def test_options_agree():
    """In names, order, defaults and annotations."""
    for one in (Options.create, *FITS):
        for other in FITS:
            ours, theirs = options_of(one), options_of(other)
            common = [name for name in ours if name in theirs]
            assert common == [name for name in theirs if name in ours]
            for name in common:
                differs = DIFFERENT.get(name, set())
                if (one in differs) == (other in differs):
                    assert ours[name].default == theirs[name].default, name
                    assert ours[name].annotation == theirs[name].annotation, name


@pytest.mark.x32
def test_no_option_is_left_out():
    every = set(options_of(Options.create)) | {"sample_weight", "throw", "progress"}
    # Of blocks alone, of one data set and mixture, and of observed data alone.
    every |= {"labels"}
    assert every | {"checkpoint", "background"} == set(options_of(gx.fit))
    for function in MANY:
        missing = every - set(options_of(function))
        assert missing == ({"frozen"} if function is gx.select else set())
    assert not {"kernel"} & {name for f in FITS for name in options_of(f)}


@pytest.mark.x32
@pytest.mark.parametrize("function", FITS, ids=lambda f: f.__name__)
def test_every_option_is_explained(function):
    for name in options_of(function):
        assert f"`{name}`" in function.__doc__


@pytest.mark.x32
def test_solvers_that_cannot_be_driven():
    for solver in (optx.Newton(1e-3, 1e-3), optx.FixedPointIteration(1e-3, 1e-3)):
        with pytest.raises(ValueError, match="Optimistix, cannot be driven") as caught:
            _check_solver(solver)
        assert "`gmmx_eqx.EM()`" in str(caught.value)
        assert type(solver).__name__ in str(caught.value)


def known() -> tuple[gx.GaussianMixture, gx.Frozen]:
    """A component that is known, the second of three, and what is known of it."""
    at = gx.GaussianMixture.from_squeezed(
        means=[[0.0, 0.0], [4.3, 80.0], [0.0, 0.0]],
        covariances=[[1.0, 1.0], [0.2, 36.0], [1.0, 1.0]],
        weights=[0.2, 0.5, 0.3],
        covariance_type="diag",
    )
    second = [False, True, False]
    return at, gx.Frozen(weights=second, means=second, covariances=second)


@pytest.mark.x64
def test_frozen_parameters_of_every_restart():
    """Each is the fit from its own start alone, and keeps what is frozen bit for
    bit."""
    x, (at, frozen) = jnp.asarray(old_faithful(), dtype=float), known()
    kwargs = {"frozen": frozen, "solver": gx.EM(tol=1e-7, max_steps=2000)}
    population = gx.fit_restarts(
        x, 3, "diag", 6, key=jr.key(0), frozen_at=at, width=4, **kwargs
    )
    for lane, key in enumerate(jr.split(jr.key(0), 6)):
        solution = population[lane]
        assert solution.status == "successful"
        for held, value in zip(leaves(at), leaves(solution.mixture), strict=True):
            np.testing.assert_array_equal(value[:, 1], held[:, 1])
        begin = gx.GaussianMixture.from_initialiser(
            gx.Mixed(turn=lane), x, 3, key=key, covariance_type="diag"
        )
        # The component of the start that is nearest is replaced by the known one.
        scale = np.std(np.asarray(x), axis=0)
        distances = np.sum(((begin.means_numpy - at.means_numpy[1]) / scale) ** 2, 1)
        order = np.arange(3)
        order[[1, np.argmin(distances)]] = order[[np.argmin(distances), 1]]
        begin = frozen.pin(jax.tree.map(lambda leaf, i=order: leaf[:, i], begin), at)
        alone = gx.fit(begin, x, **kwargs)
        rtol = 1e-9 if x.dtype == np.float64 else 2e-3
        got, expected = leaves(solution.mixture), leaves(alone.mixture)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol, rtol)


@pytest.mark.x64
def test_components_take_the_places_of_the_nearest_frozen_means():
    at = make_mixture("full", 5)
    order = jnp.asarray([3, 0, 4, 2, 1])
    shuffled = jax.tree.map(lambda leaf: leaf[:, order], at)
    ones = jnp.ones_like(at.means[:, :1])
    every = _in_order(shuffled, at, gx.Frozen(means=True), ones)
    some = _in_order(
        shuffled, at, gx.Frozen(means=[True, False, True] + [False] * 2), ones
    )
    for one, other, want in zip(*map(leaves, (every, some, at)), strict=True):
        np.testing.assert_array_equal(one, want)
        np.testing.assert_array_equal(other[:, [0, 2]], want[:, [0, 2]])
        np.testing.assert_array_equal(np.sort(other, 1), np.sort(want, 1))


@pytest.mark.x32
def test_frozen_parameters_of_every_data_set():
    x, (at, frozen) = old_faithful(), known()
    kwargs = {"key": jr.key(1), "frozen": frozen, "frozen_at": at}
    batch = gx.fit_batch([x, x[:150]], 3, "diag", 2, **kwargs)
    assert batch.status.tolist() == ["successful"] * 2
    for lane in batch:
        for held, value in zip(leaves(at), leaves(lane.mixture), strict=True):
            np.testing.assert_array_equal(value[:, 1], held[:, 1])
    free = gx.fit_batch([x, x[:150]], 3, "diag", 2, key=jr.key(1))
    assert np.all(free.log_likelihood > batch.log_likelihood)


@pytest.mark.x32
def test_what_cannot_be_frozen_in_many():
    x, (at, frozen) = old_faithful(), known()
    run = lambda n=3, name="diag", **kwargs: gx.fit_restarts(
        x, n, name, key=jr.key(0), **kwargs
    )
    with pytest.raises(ValueError, match="`frozen` needs `frozen_at`"):
        run(frozen=frozen)
    with pytest.raises(ValueError, match="`frozen_at` needs `frozen`"):
        run(frozen_at=at)
    for kwargs in ({"n": 2}, {"name": "full"}):
        with pytest.raises(ValueError, match="like those that are fitted.*'diag', 3"):
            run(frozen=frozen, frozen_at=at, **kwargs)
    with pytest.raises(ValueError, match="`Frozen.means`"):
        run(frozen=gx.Frozen(means=[True, False]), frozen_at=at)


@pytest.mark.x32
def test_many_fits_raise_when_asked_to():
    x = make_data(60)
    few = {"solver": gx.EM(tol=0.0, max_steps=2), "throw": True}
    key = {"key": jr.key(0)}
    with pytest.raises(gx.FitError, match="^EM reached `max_steps`") as caught:
        gx.fit_restarts(x, 2, n_restarts=2, **key, **few)
    assert caught.value.solution.status == "max_steps_reached"
    with pytest.raises(gx.FitError, match="^full, 2 components: EM reached"):
        gx.select(x, [2], ["full"], 2, **key, **few)
    assert gx.fit_restarts(x, 2, n_restarts=2, throw=True, **key).n_converged == 2
    broken = np.stack([x, x])
    broken[1, 3, 0] = np.nan
    with pytest.raises(gx.FitError, match="^Data set 1: EM met a NaN") as caught:
        gx.fit_batch(broken, 2, throw=True, **key)
    assert caught.value.solution.status == "nonfinite"


@pytest.mark.x32
def test_many_fits_raise_while_tracing():
    x = make_data(60)
    traced = jax.jit(
        lambda x: (
            gx.fit_restarts(
                x, 2, n_restarts=2, key=jr.key(0), solver=gx.EM(max_steps=1), throw=True
            ).best.log_likelihood
        )
    )
    with pytest.raises(Exception, match="EM reached `max_steps`"):
        traced(x)


@pytest.mark.x64
def test_chunks_change_nothing_but_memory():
    x = old_faithful()
    run = lambda size: (
        gx.fit_restarts(x, 2, n_restarts=2, key=jr.key(0), samples_per_chunk=size).best
    )
    whole, parts = run(None), run(100)
    np.testing.assert_allclose(whole.log_likelihood, parts.log_likelihood, rtol=1e-6)
