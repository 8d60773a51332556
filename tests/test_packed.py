"""Moments of starts by packed features: those by residuals, but for rounding."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._covariances import covariance_class
from gmmx_eqx._em import packed_length, packed_moments, packing
from gmmx_eqx._fit.options import Options
from gmmx_eqx._fit.random_starts import RandomStarts
from gmmx_eqx._mixture.estimate import moments_of, template_of

from .helpers import every_family, make_data, make_mixture


FAMILIES = [
    "full",
    "tied",
    "diag",
    "spherical",
    "tied_diag",
    "tied_spherical",
    "EEV",
    "VVE",
    "VEI",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_are_those_of_residuals(name, dtype):
    """With weights of zero, an empty component, soft responsibilities and chunks."""
    x = jnp.asarray(make_data(100, 3).astype(dtype))
    weight = jnp.asarray((np.arange(100) % 4).astype(dtype))
    family = covariance_class(name)
    options = Options.create(3, samples_per_chunk=32)
    source = options.source(x, weight, family.create(1, 3), of_lanes=False)
    partition = gx.RandomResponsibilities().partition(
        source, 4, key=jr.key(0), n_active=jnp.asarray(3)
    )
    template = template_of(family, source, 4)
    rule = packing(template, source)
    shift, found = packed_moments(rule, template, source, partition)
    _, expected_shift, expected = moments_of(family, source, partition)
    tolerance = 1e3 * float(np.finfo(dtype).eps)
    size = {"rtol": tolerance, "atol": tolerance * float(jnp.max(source.variances))}
    np.testing.assert_allclose(found.count, expected.count, tolerance)
    np.testing.assert_allclose(shift, expected_shift, **size)
    np.testing.assert_allclose(found.first, 0)
    size["atol"] *= 100
    np.testing.assert_allclose(found.second, expected.second, **size)
    # No less than they are.
    axes = {"axis1": -2, "axis2": -1}
    if found.second.shape[-1] > 1:
        difference = np.diagonal(found.second - expected.second, **axes)
    else:
        difference = np.asarray(found.second - expected.second)
    assert np.all(difference >= 0)


@every_family
def test_length_is_that_of_packed_features(name):
    """The length of chunks depends on it."""
    covariances = make_mixture(name, 2, 4).covariances
    source = gx.extend.InMemory.from_data(jnp.asarray(make_data(10, 4)), None, 10)
    rule = packing(covariances, source)
    length = None if rule is None else rule.features(source.columns[0]).shape[0]
    assert packed_length(covariances, 4) == length


def test_families_without_packed_features_have_no_length():
    low_rank = gx.GaussianMixture.create(2, 4, gx.LowRank(1)).covariances
    assert packed_length(low_rank, 4) is None


@pytest.mark.parametrize(
    ("name", "single", "lanes"),
    [("full", 512, 512), ("diag", 4096, 1024), ("tied", 4096, 512)],
)
def test_size_of_chunks(name, single, lanes):
    """Of 64 features a sample of full covariances has 2145 packed features, of diagonal
    ones 129, and of tied ones 65; and each lane of tied ones whitens the samples."""
    x = jnp.zeros((20000, 64), jnp.float32)
    template = covariance_class(name).create(1, 64)
    for of_lanes, size in ((False, single), (True, lanes)):
        source = Options.create(64).source(x, None, template, of_lanes=of_lanes)
        assert source.weights.shape[1] == size


@pytest.mark.parametrize(
    ("initialiser", "size"), [(gx.KMeans(), 4096), (gx.Hierarchical(), 512)]
)
def test_size_of_chunks_of_starts(initialiser, size):
    """Moments by labels take residuals of every component."""
    starts = RandomStarts(
        covariance_class("diag"), 3, initialiser, Options.create(64), width=1
    )
    source = starts.source(jnp.zeros((20000, 64), jnp.float32), None)
    assert source.weights.shape[1] == size


@pytest.mark.parametrize("name", FAMILIES[:6])
def test_starts_of_a_part_of_the_samples(name):
    """A tree of a draw says nothing of the other samples, which must not count."""
    x = make_data(300, 2)
    initialiser = gx.Hierarchical(max_samples=50)
    options = {"key": jr.key(1), "solver": gx.EM(max_steps=1), "reg_covar": 1e-3}
    found = gx.fit_restarts(x, 3, name, 1, initialiser=initialiser, **options).best
    start = gx.GaussianMixture.from_initialiser(
        initialiser, x, 3, covariance_type=name, key=jr.key(1), reg_covar=1e-3
    )
    single = gx.fit(start, x, solver=gx.EM(max_steps=1), reg_covar=1e-3, throw=False)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)
    jax.tree.map(close, found.mixture, single.mixture)
