from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.aliases import PerSample
from .._sources import Chunk
from .abstract import AbstractPartition


class LabelledPartition(AbstractPartition):
    """Samples divided by labels, of which -1 is that of no component.

    **Attributes:**

    - `labels`: shape `(chunks, batch)`.
    - `n_components`: how many components there are.
    """

    labels: Int[Array, "chunks batch"]
    n_components: int = eqx.field(static=True)
    # A cluster has cost what its own covariance makes likely.
    pools_few_only: ClassVar[bool] = True

    @property
    def extras(self) -> tuple[Int[Array, "chunks batch"]]:
        return (self.labels,)

    def __call__(self, chunk: Chunk, *extras: Any) -> PerSample:
        (labels,) = extras
        numbers = jnp.arange(self.n_components, dtype=labels.dtype)
        is_own = labels[:, None] == numbers[None]
        return is_own.astype(chunk.columns.dtype)[..., None, None]
