"""Samples with gaps and noise on four virtual devices: the fits are those on one."""

import os

import numpy as np
import pytest

from .helpers import run_python


CODE = """
import jax
import jax.random as jr
import numpy as np

import gmmx_eqx as gx
from tests.observations import faithful_noise, faithful_start, faithful_with_gaps

y, noise = faithful_with_gaps()[:271], faithful_noise()[:271]
few = gx.EM(tol=0.0, max_steps=8)
for R in (None, noise):
    whole = gx.Observed(y, R=R)
    shards = gx.shard(whole)
    one, all_ = (
        gx.fit(faithful_start(), data, solver=few, throw=False)
        for data in (whole, shards)
    )
    apart = abs(one.mixture.means - all_.mixture.means).max()
    score = abs(one.mixture.score(shards) - one.mixture.score(whole))
    value = abs(one.log_likelihood - all_.log_likelihood)
    labels = one.mixture.predict(shards)
    print(len(labels.sharding.device_set), shards.y.shape[0], apart, score, value)
best = [
    gx.fit_restarts(data, 2, n_restarts=2, key=jr.key(0), solver=gx.SQUAREM(tol=1e-9))
    for data in (whole, shards)
]
print(*[float(population.best.log_likelihood) for population in best])
tables = [
    gx.select(data, [2], ["tied"], 2, key=jr.key(0), criterion="icl")
    for data in (whole, shards)
]
print(*[float(table.cells[0].icl) for table in tables])
"""


@pytest.mark.x64
def test_shards_are_fitted_as_a_whole():
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    )
    lines = [line.split() for line in run_python(CODE, XLA_FLAGS=flags).splitlines()]
    *fits, best, icl = lines
    for n_devices, n_rows, *apart in fits:
        assert (n_devices, n_rows) == ("4", "272")
        np.testing.assert_allclose(np.float64(apart), 0, atol=1e-10)
    np.testing.assert_allclose(*map(float, best), rtol=1e-9)
    np.testing.assert_allclose(*map(float, icl), rtol=1e-6)
