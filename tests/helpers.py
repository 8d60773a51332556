"""Mixtures and data for tests."""

import contextlib
import functools as ft
import os
import pathlib
import signal
import subprocess
import sys

import equinox as eqx
import jax
import jax.extend.core
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import gmmx_eqx as gx

from . import families
from .families import (
    every_family as every_family,
    every_sklearn_family as every_sklearn_family,
    FAMILIES as FAMILIES,
    families_in_turn as families_in_turn,
)


def squeezed_values(name, dense, weights=None) -> np.ndarray:
    """As much of matrices as a family holds: see `families.Values.squeezed`."""
    return values_of(name).squeezed(dense, weights)


def make_values(name, n_components, n_features, seed=0) -> np.ndarray:
    """Well-conditioned squeezed covariances, in float64."""
    return values_of(name).random(n_components, n_features, seed)


def dense_values(name, values, n_components, n_features) -> np.ndarray:
    """Squeezed covariances as one matrix per component."""
    return values_of(name).dense(values, n_components, n_features)


def values_of(name) -> families.Values:
    values = families.BY_NAME[name].values
    assert values is not None
    return values


def make_mixture(name, n_components=3, n_features=2, seed=0, dtype=None):
    """A mixture whose components overlap a little."""
    rng = np.random.default_rng(seed + 1)
    means = 3 * rng.normal(size=(n_components, n_features))
    weights = rng.dirichlet(np.full(n_components, 5.0))
    covariances = families.BY_NAME[name].make(n_components, n_features, seed)
    cast = lambda array: jnp.asarray(array, dtype=dtype or float)
    return gx.GaussianMixture(
        cast(weights[None, :, None, None]),
        cast(means[None, ..., None]),
        jax.tree.map(cast, covariances),
    )


def parameters(mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and one matrix per component, in float64."""
    dense = families.BY_NAME[str(mixture.covariances.type)].dense
    shape = (mixture.n_components, mixture.n_features)
    weights, means = mixture.weights_numpy, mixture.means_numpy
    return np.float64(weights), np.float64(means), dense(mixture.covariances, *shape)


def equations(jaxpr):
    """Every equation of a program, and of the programs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for sub in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(sub)


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


@contextlib.contextmanager
def counted():
    """How many programs are compiled inside."""
    compiled = []

    def listen(event, duration, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextlib.contextmanager
def interruptible():
    """Ctrl-C as usual: a shell has what runs in its background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
