"""How scikit-learn divides samples among components before the first step."""

from typing import Any

import jax
import jax.random as jr
import numpy as np

from ..._core import buckets
from ..._core.aliases import Data, PerDatumComponent, Weighting
from ..._core.likes import KeyLike
from ..._core.programs import program
from ..._initialisers import AbstractInitialiser
from ..._sources import Chunk, InMemory
from .checks import as_initialiser


def responsibilities(
    init_params: Any, x: np.ndarray, n_components: int, rng: np.random.RandomState
) -> np.ndarray:
    """Those of a start, shape `(n_samples, n_components)`.

    By scikit-learn itself and with its random numbers, unless it is told to start by an
    initialiser of this library.
    """
    if isinstance(init_params, AbstractInitialiser):
        seed = rng.randint(2**31 - 1)
        filled, weight = buckets.fill(jax.device_put(x), None)
        resp = _divide(init_params, filled, weight, n_components, jr.key(seed))
        return np.asarray(resp)[: len(x)]
    as_initialiser(init_params)
    shape = (len(x), n_components)
    if init_params == "random":
        resp = rng.uniform(size=shape).astype(x.dtype)
        return resp / resp.sum(axis=1, keepdims=True)
    resp = np.zeros(shape, x.dtype)
    columns = np.arange(n_components)
    if init_params == "kmeans":
        from sklearn.cluster import KMeans

        once: Any = 1
        clusters = KMeans(n_components, n_init=once, random_state=rng).fit(x)
        resp[np.arange(len(x)), clusters.labels_] = 1
    elif init_params == "random_from_data":
        # One sample each, and the others belong to none.
        resp[rng.choice(len(x), size=n_components, replace=False), columns] = 1
    else:
        from sklearn.cluster import kmeans_plusplus

        _, chosen = kmeans_plusplus(x, n_components, random_state=rng)
        resp[chosen, columns] = 1
    return resp


@program(lambda initialiser, x, weight, n_components, key: n_components * x.size)
def _divide(
    initialiser: AbstractInitialiser,
    x: Data,
    weight: Weighting,
    n_components: int,
    key: KeyLike,
) -> PerDatumComponent:
    """The responsibilities of a start."""
    source = InMemory.from_data(x, weight, len(x))
    partition = initialiser.prepared(x, weight, key).partition(
        source, n_components, key=key
    )
    chunk = Chunk(source.columns[0], source.weights[0])
    return partition(chunk, *[extra[0] for extra in partition.extras])[:, :, 0, 0]
