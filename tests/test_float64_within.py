"""Float64 within programs of float32."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmmx_eqx._core.float64 import in_float64


pytestmark = pytest.mark.x32


class Pair(eqx.Module):
    left: jax.Array
    right: jax.Array
    name: str = eqx.field(static=True)


def gap(pair, index):
    """Nothing in float32 where the two differ by less than one part in 2^24."""
    assert pair.left.dtype == jnp.float64
    assert index.dtype == jnp.int32
    product = pair.left @ pair.right
    return Pair(product - pair.left[0] * pair.right[0], index, pair.name)


def numbers(*shape):
    """Of which the first has squares that float32 rounds the others away from."""
    x = np.random.default_rng(0).normal(size=(*shape, 4)).astype(np.float32)
    x[..., 0] *= 1e5
    return x, np.sum(np.float64(x[..., 1:]) ** 2, axis=-1)


def run(x):
    x = jnp.asarray(x)
    result = in_float64(gap, Pair(x, x, "name"), jnp.array(3))
    assert result.name == "name" and result.left.dtype == jnp.float32
    return result.left


def inside_a_loop(x):
    body = lambda carry: (carry[0] + 1, run(x))
    return jax.lax.while_loop(lambda carry: carry[0] < 2, body, (0, x[0]))[1]


@pytest.mark.parametrize("fn", [run, inside_a_loop])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_digit_under_transformations(fn, depth):
    x, expected = numbers(*(2, 3)[:depth])
    plain = fn
    for _ in range(depth):
        fn = jax.vmap(fn)
    for call in (fn, jax.jit(fn), eqx.filter_jit(fn)):
        np.testing.assert_allclose(call(x), expected, rtol=1e-5)
    if depth:
        one = jax.jit(jax.vmap(jax.jit(plain)))
        np.testing.assert_allclose(
            one(x.reshape(-1, 4)), expected.reshape(-1), rtol=1e-5
        )


def test_mapped_over_one_of_two():
    x, expected = numbers(3)

    def fn(left, right):
        return in_float64(gap, Pair(left, right, ""), jnp.array(0)).left

    mapped = jax.jit(jax.vmap(fn, (0, None)))
    right = jnp.asarray(x[1])
    expected = np.float64(x)[:, 1:] @ np.float64(x[1, 1:])
    # Of numbers of 1e10 float64 keeps six digits behind the point.
    np.testing.assert_allclose(mapped(x, right), expected, atol=1e-5)
