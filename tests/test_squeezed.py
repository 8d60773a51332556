"""Parameters without axes of size one, as JAX arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import every_family, make_mixture, make_values


pytestmark = pytest.mark.x32


def squeezed(mixture):
    return (
        mixture.weights_squeezed,
        mixture.means_squeezed,
        mixture.covariances.values_squeezed,
    )


@every_family
def test_the_same_numbers_as_in_numpy(name):
    """Also where components or features are one."""
    for n_components, n_features in ((3, 2), (1, 2), (3, 1), (1, 1)):
        mixture = make_mixture(name, n_components, n_features)
        values = make_values(name, n_components, n_features)
        got = squeezed(mixture)
        shapes = ((n_components,), (n_components, n_features), values.shape)
        assert tuple(array.shape for array in got) == shapes
        assert all(isinstance(array, jax.Array) for array in got)
        numbers = (
            mixture.weights_numpy,
            mixture.means_numpy,
            mixture.covariances.values_numpy,
        )
        for array, expected in zip(got, numbers, strict=True):
            np.testing.assert_array_equal(array, expected)
        weights, means, covariances = got
        back = gx.GaussianMixture.from_squeezed(means, covariances, weights, name)
        assert eqx.tree_equal(back, mixture)


@every_family
def test_inside_transforms(name):
    mixture = make_mixture(name)
    expected = squeezed(mixture)
    for got in (jax.jit(squeezed)(mixture), eqx.filter_jit(squeezed)(mixture)):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    total = lambda m: sum(jnp.sum(array**2) for array in squeezed(m))
    grads = eqx.filter_grad(total)(mixture)
    for got, value in zip(squeezed(grads), expected, strict=True):
        np.testing.assert_array_equal(got, 2 * value)


@every_family
def test_ensembles_keep_their_axes(name):
    members = [make_mixture(name, seed=seed) for seed in range(6)]
    ensemble = gx.stack(members)
    alone = [squeezed(member) for member in members]
    for got in (squeezed(ensemble), eqx.filter_vmap(squeezed)(ensemble)):
        for array, parts in zip(got, zip(*alone, strict=True), strict=True):
            np.testing.assert_array_equal(array, np.stack(parts))
    nested = jax.tree.map(lambda a: a.reshape(2, 3, *a.shape[1:]), ensemble)
    for a, b in zip(squeezed(nested), squeezed(ensemble), strict=True):
        np.testing.assert_array_equal(a.reshape(b.shape), b)
        assert a.shape[:2] == (2, 3)


def test_unconstrained_mixtures():
    mixture = make_mixture("full")
    unconstrained = gx.UnconstrainedMixture.from_mixture(mixture)
    np.testing.assert_allclose(
        unconstrained.means_squeezed, mixture.means_squeezed, rtol=1e-5
    )
