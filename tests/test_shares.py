"""Fits of many data sets in several threads: as in one."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._fit import shares

from .helpers import leaves, make_data
from .test_sizes import compiled


KEY = jr.key(3)


def sets(n, *, ragged=False):
    return [make_data(40 - (i % 3 if ragged else 0), 2, seed=i) for i in range(n)]


def options_of(case):
    x = sets(11, ragged=case in ("ragged", "weights"))
    if case == "weights":
        return {"xs": x, "sample_weight": [np.arange(len(one)) % 3 for one in x]}
    if case == "labels":
        label = np.where(np.arange(40) % 5 == 0, np.arange(40) % 2, -1)
        return {"xs": np.stack(x), "labels": [label] * 11}
    if case == "observed":
        return {"xs": [gx.Observed(one, R=0.01 * (i + 1)) for i, one in enumerate(x)]}
    if case == "not finite":
        x = np.stack(x)
        x[9, 3, 1] = np.inf
        return {"xs": jnp.asarray(x)}
    return {"xs": x if case == "ragged" else np.stack(x)}


def fit(cores, monkeypatch, **options):
    monkeypatch.setattr(shares, "n_cores", lambda: cores)
    given = {"n_components": 2, "n_restarts": 2, "width": 2, "key": KEY}
    return gx.fit_batch(**{**given, **options})


CASES = ("plain", "ragged", "weights", "labels", "observed", "not finite")


@pytest.mark.parametrize("case", CASES)
def test_number_of_cores_changes_nothing(case, monkeypatch):
    options = options_of(case)
    calls = []
    one_by_one = shares.map_in_threads
    count = lambda fn, items, n: (calls.append(n), one_by_one(fn, items, n))[1]
    monkeypatch.setattr(shares, "map_in_threads", count)
    monkeypatch.setattr(shares, "_CALLED", set())
    expected = fit(1, monkeypatch, **options)
    assert not calls
    for cores in (2, 3, 8):
        # The second time no share waits for the first to be compiled.
        for _ in range(2):
            got = fit(cores, monkeypatch, **options)
            same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            jax.tree.map(same, leaves(got), leaves(expected))
            np.testing.assert_array_equal(got.n_steps, expected.n_steps)
            np.testing.assert_array_equal(got.status, expected.status)
    # Of 22 lanes, two by two, five shares fill theirs twice; but eleven sets in parts
    # of three are four. A share that is compiled first is no thread's.
    assert calls == [1, 2, 2, 3, 3, 4]
    if case == "not finite":
        assert [str(status) for status in got.status].count("nonfinite") == 1


@pytest.mark.x32
def test_one_program_for_all_shares(monkeypatch):
    x = jnp.asarray(np.stack(sets(12)))
    with compiled() as lines:
        for _ in range(2):
            jax.block_until_ready(fit(2, monkeypatch, xs=x).mixture.means)
    assert len(lines) == 1


def test_part_of_a_program_and_few_sets(monkeypatch):
    """Neither is divided."""
    fail = lambda *args: pytest.fail("Divided.")
    monkeypatch.setattr(shares, "map_in_threads", fail)
    x = jnp.asarray(np.stack(sets(3)))
    fit(8, monkeypatch, xs=x, n_restarts=1)
    x = jnp.asarray(np.stack(sets(12)))
    jax.jit(lambda x: fit(2, monkeypatch, xs=x).mixture.means)(x)
