"""To and from dictionaries of NumPy arrays and SciPy's frozen distributions."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import gmmx_eqx as gx

from .helpers import (
    dense_values,
    every_family,
    FAMILIES,
    make_data,
    make_mixture,
)


float_types = pytest.mark.parametrize(
    "float_type", [np.float32, pytest.param(np.float64, marks=pytest.mark.x64)]
)


def assert_same(got, expected, dtype=None):
    """Equal to the last bit, in the type of `expected` or in `dtype`."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        b = np.asarray(b)
        np.testing.assert_array_equal(a, b.astype(dtype or b.dtype), strict=True)


# NumPy.


@every_family
@float_types
def test_numpy_there_and_back(name, float_type):
    mixture = make_mixture(name, 4, 3, dtype=float_type)
    arrays = mixture.to_numpy()
    assert list(arrays) == ["weights", "means", "covariances", "covariance_type"]
    assert all(type(array) is np.ndarray for array in arrays.values())
    assert str(arrays["covariance_type"]) == name
    assert_same(gx.GaussianMixture.from_numpy(arrays), mixture)


@pytest.mark.x32
@every_family
def test_numpy_files(name, tmp_path):
    mixture = make_mixture(name, 4, 3)
    np.savez(tmp_path / "mixture.npz", **mixture.to_numpy())
    with np.load(tmp_path / "mixture.npz", allow_pickle=False) as arrays:
        assert_same(gx.GaussianMixture.from_numpy(arrays), mixture)


@pytest.mark.x64
@every_family
def test_numpy_density_matches_scipy(name, dtype):
    """From the dictionary alone."""
    arrays = make_mixture(name, 4, 3).to_numpy()
    dense = dense_values(name, np.float64(arrays["covariances"]), 4, 3)
    x = make_data(50, 3).astype(dtype)
    joint = [
        np.log(weight) + scipy.stats.multivariate_normal.logpdf(x, mean, covariance)
        for weight, mean, covariance in zip(
            np.float64(arrays["weights"]),
            np.float64(arrays["means"]),
            dense,
            strict=True,
        )
    ]
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    got = gx.GaussianMixture.from_numpy(arrays).log_prob(x)
    np.testing.assert_allclose(got, scipy.special.logsumexp(joint, 0), rtol, rtol)


@pytest.mark.x32
def test_numpy_arrays_are_the_users_own():
    mixture = make_mixture("full")
    before = mixture.to_numpy()
    for array in list(mixture.to_numpy().values())[:3]:
        array[...] = 0
    for name, array in mixture.to_numpy().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.x32
@pytest.mark.parametrize(
    "change, match",
    [
        ({"bias": 1}, r"must have the names .*'covariance_type'\]; got .*'bias'"),
        ({"means": None}, "must have the names"),
        ({"covariance_type": 3}, "`covariance_type` must be a string; got 3"),
        ({"covariance_type": ["full"]}, "`covariance_type` must be a string"),
        ({"covariance_type": "banded"}, "must be one of .*; got 'banded'"),
        ({"covariance_type": "diag"}, "`covariances` of type diag"),
        ({"weights": np.ones(3)}, "`weights` must be non-negative and sum to one"),
        ({"means": np.full((3, 2), np.nan)}, "`means` must be finite; it holds nan"),
    ],
)
def test_numpy_refuses(change, match):
    arrays: dict[str, Any] = {**make_mixture("full").to_numpy(), **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(ValueError, match=match):
        gx.GaussianMixture.from_numpy(arrays)


# SciPy.


@every_family
@float_types
def test_scipy_there_and_back(name, float_type, dtype):
    """In float64, which holds every float32."""
    mixture = make_mixture(name, 4, 3, dtype=float_type)
    weights, components = mixture.to_scipy()
    for component, mean in zip(components, mixture.means_numpy, strict=True):
        np.testing.assert_array_equal(component.mean, mean)
    assert components[0].mean.dtype == components[0].cov.dtype == float
    assert weights.dtype == float_type
    assert_same(
        gx.GaussianMixture.from_scipy(weights, components, name), mixture, dtype
    )


@pytest.mark.x64
@every_family
def test_scipy_densities(name, dtype):
    mixture = make_mixture(name, 4, 3)
    weights, components = mixture.to_scipy()
    x = make_data(50, 3).astype(dtype)
    joint = [np.log(w) + c.logpdf(x) for w, c in zip(weights, components, strict=True)]
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    expected = scipy.special.logsumexp(joint, 0)
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol, rtol)
    # As SciPy has them from the matrices alone.
    dense = dense_values(name, np.float64(mixture.covariances.values_numpy), 4, 3)
    for component, covariance in zip(components, dense, strict=True):
        plain = scipy.stats.multivariate_normal(component.mean, covariance)
        np.testing.assert_allclose(component.logpdf(x), plain.logpdf(x), 1e-10)
        np.testing.assert_allclose(component.entropy(), plain.entropy(), 1e-10)
        np.testing.assert_allclose(component.cdf(x[0]), plain.cdf(x[0]), atol=1e-4)
        n_samples = 20000
        sample = component.rvs(n_samples, random_state=0)
        # Six standard errors, of a correlation at most.
        scale = np.sqrt(np.diag(covariance))
        error = 6 * np.outer(scale, scale) * np.sqrt(2 / n_samples)
        assert np.all(np.abs(np.cov(sample.T) - covariance) < error)


@pytest.mark.x64
@every_family
def test_one_feature_and_one_component(name, dtype):
    x = make_data(20, 1)
    for n_components in (1, 3):
        mixture = make_mixture(name, n_components, 1)
        weights, components = mixture.to_scipy()
        again = gx.GaussianMixture.from_scipy(weights, components, name)
        assert_same(again, mixture, dtype)
        pairs = zip(weights, components, strict=True)
        expected = np.log(sum(w * c.pdf(x) for w, c in pairs))
        rtol = 1e-10 if dtype == np.float64 else 1e-4
        np.testing.assert_allclose(mixture.log_prob(x), expected, rtol, rtol)


@pytest.mark.x64
@pytest.mark.parametrize("name", ["full", "tied"])
def test_features_in_very_different_units(name, dtype):
    """SciPy's own decomposition takes such a matrix for a singular one."""
    scale = np.array([1e-7, 1e7])
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]]) * scale * scale[:, None]
    mixture = gx.GaussianMixture.from_squeezed(
        np.zeros((1, 2), dtype),
        (covariance[None] if name == "full" else covariance).astype(dtype),
        np.ones(1, dtype),
        name,
    )
    with pytest.raises(np.linalg.LinAlgError):
        scipy.stats.multivariate_normal([0.0, 0.0], covariance)
    (component,) = mixture.to_scipy()[1]
    z = np.array([[0.3, -1.0], [2.0, 0.1]])
    quadratic = np.sum(z @ np.linalg.inv([[1.0, 0.5], [0.5, 1.0]]) * z, axis=1)
    expected = -0.5 * quadratic - np.log(2 * np.pi) - 0.5 * np.log(0.75)
    rtol = 1e-9 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(component.logpdf(z * scale), expected, rtol)


@pytest.mark.x32
def test_components_share_a_tied_matrix():
    components = make_mixture("tied", 3, 2).to_scipy()[1]
    assert len({id(component.cov_object) for component in components}) == 1


@pytest.mark.x64
@every_family
def test_scipy_distributions_become_any_family_that_holds_them(name):
    """A simpler mixture is also one of every family that is more general."""
    holds = {
        "full": {"full"},
        "tied": {"full", "tied"},
        "diag": {"full", "diag"},
        "spherical": {"full", "diag", "spherical"},
        "tied_diag": {"full", "tied", "diag", "tied_diag"},
        "tied_spherical": set(FAMILIES),
    }[name]
    mixture = make_mixture(name, 3, 2)
    weights, components = mixture.to_scipy()
    x = make_data(20, 2)
    rtol = 1e-10 if mixture.means.dtype == np.float64 else 1e-5
    for family in FAMILIES:
        if family in holds:
            got = gx.GaussianMixture.from_scipy(weights, components, family)
            assert got.covariances.type == family
            np.testing.assert_allclose(got.log_prob(x), mixture.log_prob(x), rtol, rtol)
        else:
            with pytest.raises(ValueError, match=f"not of the form of type '{family}'"):
                gx.GaussianMixture.from_scipy(weights, components, family)


@pytest.mark.x64
def test_scipys_own_distributions(dtype):
    """However they were made."""
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]])
    make = scipy.stats.multivariate_normal
    of = scipy.stats.Covariance
    values, vectors = np.linalg.eigh(covariance)
    components = [
        make([0.0, 1.0], covariance),
        make([1.0, 0.0], of.from_cholesky(np.linalg.cholesky(covariance))),
        make([1.0, 2.0], of.from_precision(np.linalg.inv(covariance))),
        make([2.0, 2.0], of.from_eigendecomposition((values, vectors))),
    ]
    weights = [0.1, 0.2, 0.3, 0.4]
    mixture = gx.GaussianMixture.from_scipy(weights, components)
    x = make_data(20, 2).astype(dtype)
    joint = [np.log(w) + c.logpdf(x) for w, c in zip(weights, components, strict=True)]
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    expected = scipy.special.logsumexp(joint, 0)
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol, rtol)
    plain = gx.GaussianMixture.from_scipy([1.0], [make([0.0, 0.0])], "spherical")
    assert (plain.n_features, plain.covariances.type) == (2, "spherical")


@pytest.mark.x32
def test_scipy_refuses():
    make = scipy.stats.multivariate_normal
    convert = gx.GaussianMixture.from_scipy
    good = make([0.0, 0.0])
    for components, match in (
        ([], "`components` is empty"),
        ([good, scipy.stats.norm()], r"`components\[1\]` must be a frozen .*got a"),
        ([make, good], r"`components\[0\]` must be a frozen"),
        ([good, make([0.0])], r"`components\[1\]` has 1 features, but .* has 2"),
        ([make([0, 0], np.ones((2, 2)), allow_singular=True), good], "definite"),
        ([good], "`weights` must have one number per component"),
    ):
        with pytest.raises(ValueError, match=match):
            convert([0.5, 0.5], components)
    with pytest.raises(ValueError, match="sum to one"):
        convert([0.5, 0.6], [good, good])
    with pytest.raises(ValueError, match="must be one of .*; got 'banded'"):
        convert([1.0], [good], "banded")


@pytest.mark.x32
@every_family
@pytest.mark.parametrize("factor", [-1.0, 0.0, np.nan])
def test_mixture_that_is_no_mixture(name, factor):
    broken = eqx.tree_at(
        lambda m: m.covariances.values,
        make_mixture(name, 2, 2),
        replace_fn=lambda values: values * factor,
    )
    with pytest.raises(ValueError, match="`covariances` must be positive definite"):
        broken.to_scipy()
    broken = eqx.tree_at(lambda m: m.means, broken, jnp.nan * broken.means)
    with pytest.raises(ValueError, match="`means` must be finite; it holds nan"):
        broken.to_scipy()


@pytest.mark.x32
def test_ensembles_are_refused():
    ensemble = gx.stack([make_mixture("full")] * 2)
    for convert in (ensemble.to_numpy, ensemble.to_scipy):
        with pytest.raises(ValueError, match="ensemble"):
            convert()
