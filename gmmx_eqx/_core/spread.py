"""How samples are spread over devices, for programs in which each adds its own."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree, Shaped


_Tree = TypeVar("_Tree", bound=PyTree)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Axes of a mesh of devices that samples are spread over, in shards of equal size.

    The compiler does not know that sums over samples need no sample of another device:
    in a loop over chunks of all samples it collects these first. So programs take
    samples with a leading axis of shards, and map over it.

    **Attributes:**

    - `mesh`: the devices.
    - `axes`: names of axes of the mesh.
    """

    mesh: Mesh
    axes: tuple[str, ...]

    @property
    def n_shards(self) -> int:
        """How many parts there are."""
        return math.prod(self.mesh.shape[axis] for axis in self.axes)

    @property
    def sharding(self) -> NamedSharding:
        """Of arrays whose first axis is spread."""
        return NamedSharding(self.mesh, PartitionSpec(self.axes))

    def split(self, tree: _Tree) -> _Tree:
        """Arrays of samples, or of chunks, with a leading axis of shards."""
        return self._spread(
            jax.tree.map(lambda x: x.reshape(self.n_shards, -1, *x.shape[1:]), tree)
        )

    def join(self, tree: _Tree) -> _Tree:
        """The reverse of `split`."""
        return self._spread(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree))

    def map(self, fn: Callable[..., _Tree], *trees: Any) -> _Tree:
        """`fn` of each shard of arrays of samples, joined: no device needs what another
        one has."""
        return self.join(jax.vmap(fn)(*self.split(trees)))

    def reduce(
        self,
        fn: Callable[..., _Tree],
        *trees: Any,
        by: Callable[..., Array] = jnp.sum,
    ) -> _Tree:
        """The sum of `fn` over the shards of arrays of samples, on every device.

        **Arguments:**

        - `by`: the reduction, where it is no sum.
        """
        parts = self.split(trees)
        first = lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
        shapes = jax.eval_shape(fn, *jax.tree.map(first, parts))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        _, unravel = ravel_pytree(zeros)
        # As one array: devices exchange one message, not one for each leaf.
        flat = lambda *shard: ravel_pytree(fn(*shard))[0]
        terms = self._spread(jax.vmap(flat)(*parts))
        return unravel(self.on_all(by(terms, axis=0)))

    def reduce_module(self, fn: Callable[..., _Tree], *trees: Any) -> _Tree:
        """As `reduce`, for an `fn` that is a module and closes over nothing else.

        Each device gets a program for its own samples alone. With an axis of shards,
        products have a batch axis of size one, which takes a CPU a third longer.
        """
        arrays, static = eqx.partition(fn, eqx.is_array)

        def of_device(arrays: Any, trees: Any) -> _Tree:
            found = eqx.combine(arrays, static)(*trees)
            # As one array: devices exchange one message, not one for each leaf.
            flat, unravel = ravel_pytree(found)
            return unravel(jax.lax.psum(flat, self.axes))

        everywhere, spread = PartitionSpec(), PartitionSpec(self.axes)
        return jax.shard_map(
            of_device,
            mesh=self.mesh,
            in_specs=(everywhere, spread),
            out_specs=everywhere,
            # JAX does not know that loops over chunks begin with the same zeros.
            check_vma=False,
        )(arrays, trees)

    def on_all(self, tree: _Tree) -> _Tree:
        """Arrays that every device has the whole of."""
        return self._constrain(tree, PartitionSpec())

    def _spread(self, tree: _Tree) -> _Tree:
        return self._constrain(tree, PartitionSpec(self.axes))

    def _constrain(self, tree: _Tree, spec: PartitionSpec) -> _Tree:
        sharding = NamedSharding(self.mesh, spec)
        constrain = lambda x: jax.lax.with_sharding_constraint(x, sharding)
        return jax.tree.map(constrain, tree)


def spread_of(x: Shaped[Array, "..."], name: str = "x") -> Spread | None:
    """How samples, along the first axis, are spread over devices; `None` if each device
    has all of them, and while tracing, when that is not known.

    **Raises:**

    `ValueError` if another axis is spread.
    """
    is_known = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    if not is_known or not isinstance(x.sharding, NamedSharding):
        return None
    mesh: Any = x.sharding.mesh
    first, *others = (*x.sharding.spec, None)
    spread = Spread(mesh, _names(first))
    for entry in others:
        if Spread(mesh, _names(entry)).n_shards > 1:
            raise ValueError(
                f"`{name}` is spread over devices by its features, with the sharding "
                f"{x.sharding.spec}. Every device needs whole samples: "
                f"`gmmx_eqx.shard(x, mesh, axis={_names(entry)[0]!r})`."
            )
    return spread if spread.n_shards > 1 else None


def _names(entry: Any) -> tuple[str, ...]:
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)
