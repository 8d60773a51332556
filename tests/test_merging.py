"""Merged and reduced mixtures against sums in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import (
    dense_values,
    every_family,
    FAMILIES,
    leaves,
    make_mixture,
    parameters,
    squeezed_values,
)


GROUPS = [0, 1, 0, 2, 1]


def moments(weights, means, matrices):
    total = weights.sum()
    mean = weights @ means / total
    residuals = means - mean
    second = np.einsum("k,ki,kj->ij", weights, residuals, residuals)
    return total, mean, (second + np.einsum("k,kij->ij", weights, matrices)) / total


def in_family(name, matrix):
    """What of a matrix the family can hold."""
    values = squeezed_values(name, matrix[None])
    return dense_values(name, values, 1, len(matrix))[0]


def tolerance(mixture):
    return 100 * float(jnp.finfo(mixture.means.dtype).eps)


@every_family
def test_a_group_keeps_its_moments(name):
    mixture = make_mixture(name, 5, 3)
    got = gx.merge(mixture, GROUPS)
    own = "full" if name == "tied" else name.removeprefix("tied_")
    assert got.covariances.type == own
    weights, means, matrices = parameters(mixture)
    for k, (weight, mean, matrix) in enumerate(zip(*parameters(got), strict=True)):
        member = np.array(GROUPS) == k
        total, expected_mean, expected = moments(
            weights[member], means[member], matrices[member]
        )
        rtol = tolerance(mixture)
        np.testing.assert_allclose(weight, total, rtol)
        np.testing.assert_allclose(mean, expected_mean, rtol, rtol)
        expected = in_family(name, expected)
        np.testing.assert_allclose(matrix, expected, rtol, rtol * expected.max())


@every_family
def test_far_from_the_origin(name):
    mixture = make_mixture(name, 5, 3)
    shift = 1e3
    moved = eqx.tree_at(lambda m: m.means, mixture, mixture.means + shift)
    got, expected = (gx.merge(m, GROUPS) for m in (moved, mixture))
    rtol = 1e3 * tolerance(mixture)
    np.testing.assert_allclose(
        got.covariances.values, expected.covariances.values, rtol, rtol
    )


@pytest.mark.x64
@every_family
def test_a_group_of_no_weight(name):
    mixture = make_mixture(name, 3, 2)
    weights = jnp.array([0.0, 1.0, 0.0], mixture.means.dtype)[None, :, None, None]
    mixture = eqx.tree_at(lambda m: m.weights, mixture, weights)

    def total(mixture):
        merged = gx.merge(mixture, [0, 1, 0])
        return jnp.sum(merged.log_prob(jnp.zeros((1, 2)))), merged

    (_, merged), gradient = jax.value_and_grad(total, has_aux=True)(mixture)
    assert merged.weights_numpy.tolist() == [0, 1]
    np.testing.assert_allclose(
        merged.means_numpy[0], mixture.means_numpy[[0, 2]].mean(0), 1e-5
    )
    assert all(np.isfinite(leaf).all() for leaf in leaves((merged, gradient)))


def cost(name, one, other):
    """Runnalls' bound, from its definition."""
    stacked = [np.stack(parts) for parts in zip(one, other, strict=True)]
    total, _, matrix = moments(*stacked)
    log_det = lambda matrix: np.linalg.slogdet(in_family(name, matrix))[1]
    own = one[0] * log_det(one[2]) + other[0] * log_det(other[2])
    return (total * log_det(matrix) - own) / 2


def greedy(name, mixture, n_components):
    components = list(zip(*parameters(mixture), strict=True))
    while len(components) > n_components:
        pairs = [(i, j) for j in range(len(components)) for i in range(j)]
        i, j = min(pairs, key=lambda p: cost(name, *(components[k] for k in p)))
        stacked = zip(components[i], components[j], strict=True)
        weight, mean, matrix = moments(*map(np.stack, stacked))
        components[i] = (weight, mean, in_family(name, matrix))
        del components[j]
    return [np.stack(parts) for parts in zip(*components, strict=True)]


@pytest.mark.x64
@every_family
def test_reduction_is_greedy(name):
    mixture = make_mixture(name, 7, 2)
    rtol = 10 * tolerance(mixture)
    for n_components in (4, 1):
        got = parameters(gx.reduce(mixture, n_components))
        expected = greedy(name, mixture, n_components)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol, rtol * np.abs(other).max())


@pytest.mark.x64
@every_family
def test_what_costs_nothing_is_merged_first(name):
    """A component split in two, and one of weight zero."""
    mixture = make_mixture(name, 3, 2)
    index = jnp.array([0, 1, 2, 1, 0])
    split = jax.tree.map(lambda x: x[:, index] if x.shape[1] > 1 else x, mixture)
    share = jnp.array([1.0, 0.3, 1.0, 0.7, 0.0], mixture.means.dtype)
    share = share[None, :, None, None]
    split = eqx.tree_at(lambda m: m.weights, split, split.weights * share)
    for one, other in zip(
        parameters(gx.reduce(split, 3)), parameters(mixture), strict=True
    ):
        np.testing.assert_allclose(one, other, tolerance(mixture), 1e-5)


@pytest.mark.x64
def test_derivatives_and_lanes():
    lanes = gx.stack([make_mixture("full", 4, 2, seed) for seed in (0, 1)])
    x = jnp.array([[0.5, -1.0]])
    fn = lambda mixture: gx.reduce(mixture, 2).log_prob(x)[0]
    gradients = eqx.filter_jit(eqx.filter_vmap(eqx.filter_grad(fn)))(lanes)
    for mixture, gradient in zip(lanes, gradients, strict=True):
        rng = np.random.default_rng(0)
        direction = jax.tree.map(
            lambda x, rng=rng: jnp.asarray(rng.normal(size=x.shape)), mixture
        )
        move = lambda step, m=mixture, d=direction: jax.tree.map(
            lambda x, dx: x + step * dx, m, d
        )
        slope = (fn(move(1e-6)) - fn(move(-1e-6))) / 2e-6
        pairs = zip(leaves(gradient), leaves(direction), strict=True)
        np.testing.assert_allclose(sum(np.sum(g * d) for g, d in pairs), slope, 1e-6)


@pytest.mark.x32
def test_bad_input():
    mixture = make_mixture(FAMILIES[0], 3, 2)
    cases = {
        "one per component": lambda: gx.merge(mixture, [0, 1]),
        "integers": lambda: gx.merge(mixture, [0.0, 1.0, 1.0]),
        r"without gaps; got the groups \[0, 2\]": lambda: gx.merge(mixture, [0, 2, 2]),
        "`groups` must be known while tracing": lambda: jax.jit(
            lambda groups: gx.merge(mixture, groups)
        )(jnp.array([0, 1, 1])),
        "`n_components` must be at most 3": lambda: gx.reduce(mixture, 4),
        "`n_components` must be at least 1": lambda: gx.reduce(mixture, 0),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=message):
            call()
