"""Each covariance family against NumPy on its dense matrices."""

import functools as ft

import jax.numpy as jnp
import numpy as np
import pytest

import gmmx_eqx as gx
from gmmx_eqx._covariances import has_features_alike

from .helpers import (
    every_family,
    make_data,
    make_mixture,
    parameters,
    squeezed_values,
)
from .test_densities import is_close


f64 = ft.partial(np.asarray, dtype=np.float64)


@every_family
def test_covariances_agree_with_numpy(name):
    mixture = make_mixture(name)
    covariances = mixture.covariances
    _, means, dense = parameters(mixture)
    close = is_close(mixture)
    # Shared axes keep their size of one; what has only a diagonal is a column.
    as_dense = lambda values: values if values.shape[-1] == 2 else values * np.eye(2)

    np.testing.assert_array_equal(
        np.broadcast_to(f64(covariances.dense(2))[0], dense.shape), dense
    )
    u = as_dense(f64(covariances.precisions_cholesky))[0]
    assert (np.tril(u, -1) == 0).all()
    precisions = np.linalg.inv(dense)
    close(np.broadcast_to(u @ u.swapaxes(1, 2), dense.shape), precisions)
    shared = 2 if has_features_alike(covariances) else 1
    log_det = np.broadcast_to(covariances.log_det_cholesky, (1, 3, 1, 1)).ravel()
    close(shared * log_det, -0.5 * np.linalg.slogdet(dense)[1])
    variances = np.broadcast_to(covariances.variances, (1, 3, 2, 1))[0, :, :, 0]
    np.testing.assert_array_equal(variances, np.diagonal(dense, axis1=1, axis2=2))

    # The squared Mahalanobis distance, in spite of its name.
    x = jnp.asarray(make_data(5))
    residual = f64(x)[:, None] - means
    distance = np.einsum("nki,kij,nkj->nk", residual, precisions, residual)
    close(
        covariances.log_prob(x[:, None, :, None], mixture.means)[:, :, 0, 0], distance
    )

    squeezed = squeezed_values(name, precisions)
    back = type(covariances).from_precisions(squeezed.astype(mixture.means.dtype))
    close(back.values, covariances.values)


@pytest.mark.x64
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("full", 5 * 10),
        ("tied", 10),
        ("diag", 5 * 4),
        ("spherical", 5),
        ("tied_diag", 4),
        ("tied_spherical", 1),
    ],
)
def test_n_parameters(name, own):
    mixture = gx.GaussianMixture.create(5, 4, name)
    assert mixture.covariances.n_parameters == own
    assert mixture.n_parameters == own + 5 * 4 + 5 - 1
    shape = (1 if "tied" in name else 5, 1 if "spherical" in name else 4)
    assert (mixture.covariances.n_components, mixture.covariances.n_features) == shape
