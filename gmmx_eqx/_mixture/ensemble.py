from collections.abc import Sequence
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core.describe import check_instance
from .._core.processes import check_process
from .abstract import AbstractGaussianMixture


_Mixture = TypeVar("_Mixture", bound=AbstractGaussianMixture)


def stack(mixtures: Sequence[_Mixture]) -> _Mixture:
    """An ensemble: mixtures of the same family and shape, stacked along a new first
    axis.

    `len`, indexing and iteration give its members back. Its methods are for one mixture
    and raise: call them inside `eqx.filter_vmap`.

    **Raises:**

    `ValueError` if there is none, or if they differ in family or shape.
    """
    check_process()
    if not mixtures:
        raise ValueError("`mixtures` is empty.")
    first = mixtures[0]
    for index, mixture in enumerate(mixtures):
        example = "GaussianMixture.create(2, 3)"
        name = f"mixtures[{index}]"
        check_instance(mixture, AbstractGaussianMixture, name, example)
        same_tree = jax.tree.structure(mixture) == jax.tree.structure(first)
        shapes = [leaf.shape for leaf in jax.tree.leaves(mixture)]
        if not same_tree or shapes != [leaf.shape for leaf in jax.tree.leaves(first)]:
            raise ValueError(
                f"`mixtures[{index}]` differs from `mixtures[0]` in family or shape: "
                f"{eqx.tree_pformat(mixture)} and {eqx.tree_pformat(first)}."
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *mixtures)
