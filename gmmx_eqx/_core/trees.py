"""Choices between PyTrees of the same structure."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .aliases import Flag


_Tree = TypeVar("_Tree", bound=PyTree)


def where(flag: Flag, yes: _Tree, no: _Tree) -> _Tree:
    """`jnp.where` of every leaf."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)
