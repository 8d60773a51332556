"""Float64 within a program of float32, whatever JAX's x64 mode is."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import PyTree


_Tree = TypeVar("_Tree", bound=PyTree)


def in_float64(fn: Callable[..., _Tree], *args: PyTree) -> _Tree:
    """`fn(*args)` with all float32 arrays as float64, and the result as float32. It has
    no derivatives.

    `fn` closes over no traced arrays.
    """
    arrays, rest = eqx.partition(args, eqx.is_array)

    def whole(arrays: PyTree) -> _Tree:
        return fn(*eqx.combine(arrays, rest))

    return _mapped(whole)(arrays)


# JAX's own rules for mapping an operation ask for the mode once more, when it is off
# again, and round to float32.
def _mapped(fn: Callable[[PyTree], _Tree]) -> Callable[[PyTree], _Tree]:
    @custom_vmap
    def call(arrays: PyTree) -> _Tree:
        with jax.enable_x64(True):
            wide = _cast(arrays, jnp.float32, jnp.float64)
            return _cast(fn(wide), jnp.float64, jnp.float32)

    @call.def_vmap
    def _(axis_size, in_batched, arrays):
        (in_batched,) = in_batched
        in_axes = jax.tree.map(lambda batched: 0 if batched else None, in_batched)
        mapped = jax.vmap(fn, (in_axes,), axis_size=axis_size)
        out = _mapped(mapped)(arrays)
        return out, jax.tree.map(lambda _: True, out)

    return call


def _cast(tree: _Tree, old: type, new: type) -> _Tree:
    cast = lambda leaf: leaf.astype(new) if leaf.dtype == old else leaf
    return jax.tree.map(cast, tree)
