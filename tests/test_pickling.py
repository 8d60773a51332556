"""Pickles hold all digits, and say so where they cannot be loaded with all of them."""

import copy
import io
import pickle

import cloudpickle
import jax
import jax.numpy as jnp
import jax.random as jr
import joblib
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, leaves, make_data, make_mixture, run_python


KEY = jr.key(0)


def objects():
    x = make_data(60)
    mixture = make_mixture("full")
    few = {"solver": gx.EM(max_steps=3)}
    return {
        "mixture": mixture,
        "ensemble": gx.stack([mixture, mixture]),
        "covariances": mixture.covariances,
        "unconstrained": gx.UnconstrainedMixture.from_mixture(mixture),
        "solution": gx.fit(mixture, x, throw=False, **few),
        "population": gx.fit_restarts(x, 2, n_restarts=2, key=KEY, **few),
        "selection": gx.select(x, [1, 2], ["diag"], n_restarts=1, key=KEY, **few),
        "estimate": gx.divergences.entropy_monte_carlo(mixture, KEY, 8),
        "in a dictionary": {"of": [mixture]},
    }


def by_joblib(value):
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "first protocol": lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
    "cloudpickle": lambda value: cloudpickle.loads(cloudpickle.dumps(value)),
    "joblib": by_joblib,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.x32
@pytest.mark.parametrize("way", COPIES)
def test_copies_have_every_bit(way):
    for value in [*objects().values(), gx.Frozen(means=[True, False]), gx.EM(tol=1e-5)]:
        again = COPIES[way](value)
        assert type(again) is type(value)
        assert jax.tree.structure(again) == jax.tree.structure(value)
        for a, b in zip(all_leaves(again), all_leaves(value), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def all_leaves(value):
    if isinstance(value, gx.Selection):
        return [leaf for cell in value.cells for leaf in leaves(cell.solution)]
    return leaves(value)


@pytest.mark.x32
@every_family
def test_pickles_are_small(name):
    mixture = make_mixture(name, 50, 20)
    arrays = sum(leaf.nbytes for leaf in leaves(mixture))
    assert len(pickle.dumps(mixture)) < arrays + 2000


@pytest.mark.x32
def test_copies_while_tracing():
    mixture = make_mixture("diag")
    x = jnp.asarray(make_data(5))
    direct = jax.jit(lambda m: m.log_prob(x))(mixture)
    copied = jax.jit(lambda m: copy.copy(m).log_prob(x))(mixture)
    np.testing.assert_array_equal(direct, copied)


LOAD = """
import pickle, sys
import jax
with open(sys.argv[1], "rb") as file:
    stored = pickle.load(file)
for name, data in stored.items():
    try:
        value = pickle.loads(data)
    except ValueError as error:
        print(name, "refused", "jax_enable_x64" in str(error))
    else:
        print(name, *{str(leaf.dtype) for leaf in jax.tree.leaves(value)})
"""


@pytest.mark.x64
def test_float64_is_refused_where_it_would_be_rounded(tmp_path):
    single = make_mixture("tied", dtype=jnp.float32)
    x = make_data(60).astype(np.float32)
    narrow = {
        "float32 mixture": single,
        "float32 solution": gx.fit(single, x, throw=False).mixture,
        "frozen": gx.Frozen(weights=True),
    }
    stored = {k: pickle.dumps(v) for k, v in (objects() | narrow).items()}
    path = tmp_path / "stored.pkl"
    path.write_bytes(pickle.dumps(stored))
    said = run_python(LOAD, str(path), JAX_ENABLE_X64="0").splitlines()
    for name in objects():
        assert f"{name} refused True" in said
    for name in ("float32 mixture", "float32 solution"):
        assert f"{name} float32" in said
    assert "frozen bool" in said
