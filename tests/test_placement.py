"""Arrays on meshes of devices, with explicit axes as `jax.make_mesh` makes them, and
with automatic ones."""

import pytest

from .helpers import run_python


SETUP = """
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import gmmx_eqx as gx

x = np.asarray(jr.normal(jr.key(0), (8192, 2)), np.float32)
weight = np.linspace(0.5, 2, 8192).astype(np.float32)
mixture = gx.GaussianMixture.create(2, 2)
start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
few = {"throw": False, "solver": gx.EM(max_steps=3)}
mesh = jax.make_mesh((2,), ("data",))
wide = jax.make_mesh((2, 1), ("data", "features"))
put = lambda array, *spec, mesh=mesh: jax.device_put(
    array, NamedSharding(mesh, P(*spec))
)
"""
EAGER = (
    SETUP
    + """
calls = {
    "fit": lambda x, w: gx.fit(start, x, sample_weight=w, **few).mixture.means,
    "from_k_means": lambda x, w: gx.GaussianMixture.from_k_means(
        x, 2, key=jr.key(1), sample_weight=w
    ).means,
    "restarts": lambda x, w: gx.fit_restarts(
        x, 2, n_restarts=2, key=jr.key(1), sample_weight=w, solver=few["solver"]
    ).best.mixture.means,
    "log_prob": lambda x, w: start.log_prob(x),
    "score": lambda x, w: start.score(x, w),
    "impute": lambda x, w: gx.impute(start, x),
    "denoise": lambda x, w: gx.denoise(start, x, 0.5),
}
for name, call in calls.items():
    expected = np.asarray(call(x, weight))
    for spec in ((), ("data",)):
        found = call(put(x, *spec), put(weight, *spec))
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-4)
    found = call(put(x, "data", "features", mesh=wide), put(weight, "data", mesh=wide))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-4)
# A mixture that lies there too.
there = jax.device_put(start, NamedSharding(mesh, P()))
np.testing.assert_allclose(
    there.log_prob(put(x, "data")), start.log_prob(x), rtol=1e-4, atol=1e-4
)
there.score(put(x, "data"), put(weight, "data"))
gx.fit(there, put(x, "data"), **few)
there.log_prob(x)
# Nothing is gathered on the way in.
density = start.log_prob(put(x, "data"))
assert len(density.sharding.device_set) == 2
print("works")
"""
)
REFUSED = (
    SETUP
    + """
def said(call):
    try:
        call()
    except ValueError as error:
        return all(
            text in str(error)
            for text in ("`x`", "'data'", "axis_types=(jax.sharding.AxisType.Auto,)")
        )

spread = put(x, "data")
print(said(lambda: jax.jit(lambda x: start.log_prob(x))(spread)))
with jax.set_mesh(mesh):
    print(said(lambda: start.log_prob(spread)))
    # Arrays that are not spread do no harm there.
    start.log_prob(jnp.asarray(x))
automatic = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
spread = put(x, "data", mesh=automatic)
jax.jit(lambda x: start.log_prob(x))(spread)
print(gx.fit(start, spread, **few).mixture.means.shape)
"""
)
DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.mark.x32
def test_explicit_axes():
    assert run_python(EAGER, **DEVICES).split() == ["works"]


@pytest.mark.x32
def test_where_explicit_axes_cannot_be_changed():
    assert run_python(REFUSED, **DEVICES).split("\n")[:3] == [
        "True",
        "True",
        "(1, 2, 2, 1)",
    ]
