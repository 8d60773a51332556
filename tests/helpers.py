"""Mixtures and data for tests. The only place that knows the shapes of the families."""

import functools as ft
import os
import pathlib
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx


# Those whose covariances are one array.
FAMILIES = tuple(
    str(name)
    for name, family in gx.COVARIANCE.items()
    if issubclass(family, gx.AbstractValues)
)

every_family = pytest.mark.parametrize("name", FAMILIES)

# Those that scikit-learn has as well.
every_sklearn_family = pytest.mark.parametrize(
    "name", ["full", "tied", "diag", "spherical"]
)

# For what takes long to compile: half of them in each world.
families_in_turn = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=(pytest.mark.x64, pytest.mark.x32)[i % 2])
        for i, name in enumerate(FAMILIES)
    ],
)


def squeezed_values(name, dense, weights=None) -> np.ndarray:
    """As much of matrices, shape `(components, features, features)`, as a family holds,
    in the shape that its `from_squeezed` takes: the M-step of these scatter matrices.

    **Arguments:**

    - `weights`: of the components, where they share; equal if not given.
    """
    dense = np.asarray(dense)
    if name.startswith("tied"):
        weights = np.full(len(dense), 1 / len(dense)) if weights is None else weights
        dense = np.tensordot(weights, dense, 1)
    diagonal = np.diagonal(dense, axis1=-2, axis2=-1)
    form = name.removeprefix("tied_")
    return {"diag": diagonal, "spherical": diagonal.mean(-1)}.get(form, dense)


def make_values(name, n_components, n_features, seed=0) -> np.ndarray:
    """Well-conditioned squeezed covariances, in float64."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n_components, n_features, n_features))
    dense = factor @ factor.swapaxes(1, 2) / n_features + 0.3 * np.eye(n_features)
    if name.startswith("tied"):
        dense = dense[:1]
    if name.endswith("spherical"):
        dense = dense[:, :1, :1]
    return squeezed_values(name, dense)


def dense_values(name, values, n_components, n_features) -> np.ndarray:
    """Squeezed covariances as one matrix per component."""
    eye = np.eye(n_features)
    form = name.removeprefix("tied_")
    if form == "diag":
        values = values[..., None] * eye
    if form == "spherical":
        values = np.asarray(values)[..., None, None] * eye
    return np.broadcast_to(values, (n_components, n_features, n_features))


def make_mixture(name, n_components=3, n_features=2, seed=0, dtype=None):
    """A mixture whose components overlap a little."""
    rng = np.random.default_rng(seed + 1)
    means = 3 * rng.normal(size=(n_components, n_features))
    weights = rng.dirichlet(np.full(n_components, 5.0))
    values = make_values(name, n_components, n_features, seed)
    cast = lambda array: jnp.asarray(array, dtype=dtype or float)
    return gx.GaussianMixture.from_squeezed(
        cast(means), cast(values), cast(weights), name
    )


def make_data(n_samples=200, n_features=2, n_clusters=3, seed=0) -> np.ndarray:
    """Clusters of different widths and orientations, in NumPy's float64."""
    rng = np.random.default_rng(seed + 2)
    centres = 4 * rng.normal(size=(n_clusters, n_features))
    factors = rng.normal(size=(n_clusters, n_features, n_features))
    factors += 2 * np.eye(n_features)
    label = rng.integers(n_clusters, size=n_samples)
    noise = rng.normal(size=(n_samples, n_features, 1))
    return centres[label] + (factors[label] @ noise)[..., 0]


@ft.cache
def old_faithful() -> np.ndarray:
    """Eruption lengths and waiting times in minutes, shape (272, 2)."""
    root = pathlib.Path(__file__).parents[1]
    path = root / "examples" / "data" / "old_faithful.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1)


def start(name, x, n_components, seed=0, **kwargs):
    """A k-means start."""
    return gx.GaussianMixture.from_k_means(
        x, n_components, key=jr.key(seed), covariance_type=name, **kwargs
    )


def leaves(tree) -> list[np.ndarray]:
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    ]


def run_python(code: str, *arguments: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    root = str(pathlib.Path(gx.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": root, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
