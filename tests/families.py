"""The covariance families that the tests run over: the only place that knows the shapes
of their arrays. A new family is one more entry of `EVERY`."""

import dataclasses
import functools as ft
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .own_families import VolumeCovariances


@dataclasses.dataclass(frozen=True)
class Values:
    """Covariances that are one array: of the whole matrix, of its diagonal or of one
    variance, for each component or for all of them."""

    form: str
    tied: bool

    def squeezed(self, dense, weights=None) -> np.ndarray:
        """As much of matrices, shape `(components, features, features)`, as the family
        holds, in the shape that its `from_squeezed` takes: the M-step of these scatter
        matrices."""
        dense = np.asarray(dense)
        if self.tied:
            equal = np.full(len(dense), 1 / len(dense))
            dense = np.tensordot(equal if weights is None else weights, dense, 1)
        diagonal = np.diagonal(dense, axis1=-2, axis2=-1)
        return {"diag": diagonal, "spherical": diagonal.mean(-1)}.get(self.form, dense)

    def dense(self, values, n_components, n_features) -> np.ndarray:
        """The squeezed array as one matrix per component."""
        values, eye = np.asarray(values), np.eye(n_features)
        if self.form == "diag":
            values = values[..., None] * eye
        if self.form == "spherical":
            values = values[..., None, None] * eye
        return np.broadcast_to(values, (n_components, n_features, n_features))

    def random(self, n_components, n_features, seed=0) -> np.ndarray:
        """A well-conditioned squeezed array, in float64."""
        rng = np.random.default_rng(seed)
        factor = rng.normal(size=(n_components, n_features, n_features))
        dense = factor @ factor.swapaxes(1, 2) / n_features + 0.3 * np.eye(n_features)
        dense = dense[:1] if self.tied else dense
        return self.squeezed(dense[:, :1, :1] if self.form == "spherical" else dense)


@dataclasses.dataclass(frozen=True)
class Family:
    """A family, and what tests have to know of it.

    **Attributes:**

    - `make`: well-conditioned covariances, from the numbers of components and features
        and a seed.
    - `dense`: the matrices that covariances stand for, from them and the same numbers.
    - `scaled`: the covariances of data that is multiplied by a number.
    - `of_sklearn`: whether scikit-learn has the family, by the same name.
    - `values`: of a family whose covariances are one array, what is in it.
    """

    name: str
    make: Callable[[int, int, int], Any]
    dense: Callable[[Any, int, int], np.ndarray]
    scaled: Callable[[Any, Any], Any]
    of_sklearn: bool = False
    values: Values | None = None


def of_values(name, form, tied, of_sklearn=False) -> Family:
    kind = Values(form, tied)
    return Family(
        name,
        make=lambda *sizes: gx.COVARIANCE[name].from_squeezed(kind.random(*sizes)),
        dense=lambda c, *sizes: kind.dense(np.float64(c.values_numpy), *sizes),
        scaled=lambda c, by: dataclasses.replace(c, values=by**2 * c.values),
        of_sklearn=of_sklearn,
        values=kind,
    )


def make_low_rank(n_components, n_features, seed):
    rng = np.random.default_rng(seed)
    family = gx.LowRank(1 if n_features < 3 else 2)
    covariances = family.create(n_components, n_features)
    factors = rng.normal(size=covariances.factors.shape)
    noise = rng.uniform(0.3, 2, size=covariances.noise.shape)
    factors, noise = (jnp.asarray(array, float) for array in (factors, noise))
    return dataclasses.replace(covariances, factors=factors, noise=noise)


def dense_low_rank(covariances, n_components, n_features):
    factors, noise = (
        np.float64(leaf)[0] for leaf in (covariances.factors, covariances.noise)
    )
    return factors @ factors.swapaxes(1, 2) + noise * np.eye(n_features)


def make_volume(n_components, n_features, seed):
    rng = np.random.default_rng(seed)
    volume = rng.uniform(0.5, 3, size=(1, n_components, 1, 1))
    logs = rng.normal(size=(1, 1, n_features, 1))
    shape = np.exp(logs - logs.mean())
    return VolumeCovariances(jnp.asarray(volume, float), jnp.asarray(shape, float))


# One program for a family; by itself, its loop is compiled anew at every call.
nearest = eqx.filter_jit(lambda covariances, weights: covariances.nearest(weights))


def make_parsimonious(name, n_components, n_features, seed):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(1, n_components, n_features, n_features))
    dense = factor @ factor.swapaxes(2, 3) / n_features + 0.3 * np.eye(n_features)
    if name.endswith("I"):
        dense = np.diagonal(dense, axis1=2, axis2=3)[..., None]
    equal = jnp.full((1, n_components, 1, 1), 1 / n_components)
    return nearest(gx.COVARIANCE[name](jnp.asarray(dense, float)), equal)


def parsimonious(name) -> Family:
    """One of mclust's families that share a part of the covariances."""
    form = Values("diag" if name.endswith("I") else "full", tied=False)
    return Family(
        name,
        make=ft.partial(make_parsimonious, name),
        dense=lambda c, *sizes: form.dense(np.float64(c.values_numpy), *sizes),
        scaled=lambda c, by: dataclasses.replace(c, values=by**2 * c.values),
    )


PARSIMONIOUS = ("VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV")

EVERY = (
    of_values("full", "full", tied=False, of_sklearn=True),
    of_values("tied", "full", tied=True, of_sklearn=True),
    of_values("diag", "diag", tied=False, of_sklearn=True),
    of_values("spherical", "spherical", tied=False, of_sklearn=True),
    of_values("tied_diag", "diag", tied=True),
    of_values("tied_spherical", "spherical", tied=True),
    Family(
        "low_rank",
        make=make_low_rank,
        dense=dense_low_rank,
        scaled=lambda c, by: dataclasses.replace(
            c, factors=by * c.factors, noise=by**2 * c.noise
        ),
    ),
    *map(parsimonious, PARSIMONIOUS),
    # Of two fields, and not of the library.
    Family(
        "volume",
        make=make_volume,
        dense=lambda c, k, d: (
            np.float64(c.volume)[0] * np.float64(c.shape)[0] * np.eye(d)
        ),
        scaled=lambda c, by: dataclasses.replace(c, volume=by**2 * c.volume),
    ),
)
BY_NAME = {family.name: family for family in EVERY}

# Those whose covariances are one array.
FAMILIES = tuple(family.name for family in EVERY if family.values is not None)

by_name = ft.partial(pytest.mark.parametrize, "name")
every_family = by_name(FAMILIES)
# With those of several fields.
every_family_of_any_fields = by_name(tuple(BY_NAME))
# Those that scikit-learn has as well.
every_sklearn_family = by_name([family.name for family in EVERY if family.of_sklearn])
# For what takes long to compile: half of them in each world.
families_in_turn = by_name(
    [
        pytest.param(name, marks=(pytest.mark.x64, pytest.mark.x32)[i % 2])
        for i, name in enumerate(FAMILIES)
    ]
)
