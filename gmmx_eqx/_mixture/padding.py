"""Components that do not count, so that few numbers of components have programs.

A component of weight zero takes no part in a density or a fit. Where computing some in
vain costs less than another program, mixtures are padded with them, and results cut.
"""

import dataclasses
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array

from .._core.aliases import Data
from .._core.axes import Axis
from .._core.known import is_inside_program, is_on_host, put_all_like
from .._core.programs import SMALL
from .._covariances import map_components


_Mixture = TypeVar("_Mixture", bound=Any)

# Numbers of components of programs for small data; of larger data, all. A sweep over
# the first ten is one program.
_SIZES = (10, 16, 24, 32, 48, 64)


def padded_size(n_components: int, n_numbers: int) -> int:
    """The number of components of the program that takes `n_components`.

    **Arguments:**

    - `n_numbers`: how many numbers one component has in the largest array, of all fits
        that are computed side by side.
    """
    fitting = [n for n in _SIZES if n >= n_components and n * n_numbers <= SMALL]
    return fitting[0] if fitting else n_components


def pad(mixture: _Mixture, x: Data) -> _Mixture:
    """The mixture with components of weight zero, which are like the first one.
    Unchanged where it has other fields than these parameters, and where they, or the
    data, are not known yet or not on the host."""
    n_components = mixture.means.shape[Axis.components]
    size = padded_size(n_components, x.size)
    names = {field.name for field in dataclasses.fields(mixture)}
    if size == n_components or names != {"weights", "means", "covariances"}:
        return mixture
    arrays = [x, *jax.tree.leaves(mixture)]
    if is_inside_program() or not all(map(is_on_host, arrays)):
        return mixture
    index = np.arange(size)
    index[n_components:] = 0

    def take(leaf: Array) -> np.ndarray:
        return np.take(np.asarray(leaf), index, axis=Axis.components)

    weights = take(mixture.weights)
    weights[:, n_components:] = 0
    covariances = map_components(take, mixture.covariances)
    parameters = weights, take(mixture.means), covariances
    return _with_parameters(mixture, *put_all_like(parameters, mixture.means))


def unpad(mixture: _Mixture, n_components: int) -> _Mixture:
    """The first components of a mixture, or of each of an ensemble."""
    if mixture.means.shape[Axis.components] == n_components:
        return mixture
    on_host = all(map(is_on_host, jax.tree.leaves(mixture)))

    def cut(leaf: Array) -> Any:
        # In NumPy where that copies nothing: JAX compiles a program for every number.
        known = np.asarray(leaf) if on_host else leaf
        return known[..., :n_components, :, :]

    covariances = map_components(cut, mixture.covariances)
    parameters = cut(mixture.weights), cut(mixture.means), covariances
    if on_host:
        parameters = put_all_like(parameters, mixture.means)
    return _with_parameters(mixture, *parameters)


def _with_parameters(mixture: _Mixture, *parameters: Any) -> _Mixture:
    # Not from the fields, whose check refuses those of an ensemble.
    return jax.tree.unflatten(jax.tree.structure(mixture), jax.tree.leaves(parameters))
