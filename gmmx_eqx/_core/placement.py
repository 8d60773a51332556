"""Arrays that are spread over a mesh of devices."""

from typing import Any, TypeVar

import jax
import jax.core
from jax.sharding import AxisType, Mesh, NamedSharding


_Tree = TypeVar("_Tree")


def all_on_automatic_mesh(tree: _Tree, name: str) -> _Tree:
    """A PyTree with all its arrays as `on_automatic_mesh` returns them; outside of
    `jit`."""
    is_explicit = lambda leaf: (
        isinstance(leaf, jax.Array)
        and not isinstance(leaf, jax.core.Tracer)
        and isinstance(leaf.sharding, NamedSharding)
        and bool(leaf.sharding.mesh.explicit_axes)
    )
    move = lambda leaf: on_automatic_mesh(leaf, name) if is_explicit(leaf) else leaf
    return jax.tree.map(move, tree)


def on_automatic_mesh(array: jax.Array, name: str) -> jax.Array:
    """The same array, on the same devices, where the compiler decides how results are
    spread. `jax.make_mesh` makes meshes with explicit axes, on which every operation
    would have to say that itself.

    **Raises:**

    `ValueError` for an array spread over explicit axes where that cannot be changed:
    while tracing, and inside `jax.set_mesh`.
    """
    traced = isinstance(array, jax.core.Tracer)
    sharding: Any = jax.typeof(array).sharding if traced else array.sharding
    if not isinstance(sharding, NamedSharding) or not sharding.mesh.explicit_axes:
        return array
    inside = bool(jax.sharding.get_abstract_mesh().explicit_axes)
    if not (traced or inside):
        mesh: Any = sharding.mesh
        automatic = (AxisType.Auto,) * len(mesh.axis_names)
        mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
        return jax.device_put(array, NamedSharding(mesh, sharding.spec))
    if inside and not any(sharding.spec):
        return array
    names = ", ".join(map(repr, sharding.mesh.axis_names))
    automatic = ", ".join(["jax.sharding.AxisType.Auto"] * len(sharding.mesh.shape))
    raise ValueError(
        f"`{name}` lies on a mesh with the explicit axes {names}, which is not "
        "supported here. Make the mesh with automatic ones: `jax.make_mesh(..., "
        f"axis_types=({automatic},))`."
    )
