"""How many samples are taken at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmmx_eqx._core import chunks


pytestmark = pytest.mark.x64


@pytest.mark.parametrize("n_samples", [192, 203, 33])
def test_map_chunks_puts_samples_in_order(n_samples):
    sizes = []

    def of_chunk(samples):
        x, label = samples
        sizes.append(x.shape[0])
        return {"same": x, "sum": jnp.sum(x, axis=1) + label}

    x = jnp.arange(2.0 * n_samples).reshape(n_samples, 2)
    label = jnp.arange(float(n_samples))
    got = chunks.map_chunks(of_chunk, (x, label), size=16)
    np.testing.assert_array_equal(got["same"], x)
    np.testing.assert_array_equal(got["sum"], x.sum(axis=1) + label)
    assert max(sizes) <= 16


def test_few_samples_are_one_chunk():
    same = lambda x: x
    x = jnp.arange(32.0)
    assert chunks.map_chunks(same, x, size=16) is x


@pytest.mark.parametrize(
    "bytes_per_sample, limits, expected",
    [
        (8, {}, 128),
        (9, {}, 64),
        (8, {"largest": 32}, 32),
        (1000, {}, 16),
        (2000, {"largest": 8}, 16),
    ],
)
def test_length(bytes_per_sample, limits, expected):
    assert chunks.length(bytes_per_sample, 1024, 16, **limits) == expected


def test_other_devices_take_more_at_once(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert chunks.length(8, 1024, 16) == 64 * 128
    assert chunks.length(8, 1024, 16, largest=32) == 64 * 32
