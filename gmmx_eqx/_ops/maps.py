"""Linear maps of the features, by as much structure as they have."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from .._core import linalg


Columns = Float[Array, "b k features c"]
Images = Float[Array, "b k outputs c"]
Observations = Float[Array, "samples _ outputs one=1"]


class AbstractMap(eqx.Module):
    """A matrix, known by its products."""

    @abc.abstractmethod
    def __call__(self, x: Columns) -> Images:
        """The product with every column of `x`, on the features axis."""

    @abc.abstractmethod
    def n_outputs(self, n_features: int) -> int:
        """The number of rows."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype | None:
        """The type of its numbers; `None` where it has none."""

    @abc.abstractmethod
    def astype(self, dtype: np.dtype) -> "AbstractMap":
        """The same map for arrays of this type."""


class DenseMap(AbstractMap):
    # One for each component, or one for all.
    matrix: Float[Array, "1 _ outputs features"]

    def __call__(self, x: Columns) -> Images:
        return linalg.matmul(self.matrix, x)

    def n_outputs(self, n_features: int) -> int:
        del n_features
        return self.matrix.shape[-2]

    @property
    def dtype(self) -> np.dtype:
        return self.matrix.dtype

    def astype(self, dtype: np.dtype) -> "DenseMap":
        return DenseMap(self.matrix.astype(dtype))


class DiagonalMap(AbstractMap):
    """A diagonal matrix, or a multiple of the identity where the features axis has size
    one."""

    diagonal: Float[Array, "1 _ _ 1"]

    def __call__(self, x: Columns) -> Images:
        return self.diagonal * x

    def n_outputs(self, n_features: int) -> int:
        return n_features

    @property
    def dtype(self) -> np.dtype:
        return self.diagonal.dtype

    def astype(self, dtype: np.dtype) -> "DiagonalMap":
        return DiagonalMap(self.diagonal.astype(dtype))


class MatrixFreeMap(AbstractMap):
    operator: lx.AbstractLinearOperator

    def __call__(self, x: Columns) -> Images:
        # A function that was traced for one type of numbers takes no other.
        columns = jnp.swapaxes(x, -1, -2).astype(self.dtype)
        product = jnp.vectorize(self.operator.mv, signature="(i)->(o)")(columns)
        return jnp.swapaxes(product, -1, -2).astype(x.dtype)

    def n_outputs(self, n_features: int) -> int:
        del n_features
        return self.operator.out_size()

    @property
    def dtype(self) -> np.dtype:
        (structure,) = jax.tree.leaves(self.operator.in_structure())
        return structure.dtype

    def astype(self, dtype: np.dtype) -> "MatrixFreeMap":
        del dtype
        return self
