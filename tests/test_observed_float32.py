"""Fits of float32 samples with gaps and noise, against float64 of the same numbers."""

import jax
import numpy as np
import pytest

import gmmx_eqx as gx

from .helpers import parameters
from .observations import faithful_noise, faithful_with_gaps


pytestmark = [pytest.mark.optimised, pytest.mark.x32]
EPS = float(np.finfo(np.float32).eps)
# A number of size s, in standard deviations, is known to within s / 2 roundings. Old
# Faithful has ten of them between its clusters, the other data 600.
CASES = {
    "groups": (20, "gaps"),
    "own noise": (20, "own"),
    "groups far apart": (600, "gaps"),
    "own noise far apart": (600, "own"),
}


def data_of(size, kind):
    y = faithful_with_gaps().astype(np.float32)
    noise = faithful_noise().astype(np.float32)
    means = np.array([[2.0, 55.0], [4.3, 80.0]])
    if size == 600:
        rng = np.random.default_rng(0)
        first = np.arange(272) < 100
        means = np.array([[0.0, 55.0], [100.0, 3600.0]])
        whole = np.where(first[:, None], *means) + rng.normal(size=(272, 2)) * [0.3, 6]
        y = np.where(np.isnan(y), y, whole.astype(np.float32))
    if kind == "gaps":
        return y, noise[0], means
    return y, noise, means


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_those_of_float64(name):
    size, kind = CASES[name]
    y, noise, means = data_of(size, kind)

    def fitted(dtype):
        start = gx.GaussianMixture.from_squeezed(
            means.astype(dtype),
            np.array([np.diag([0.1, 36.0])] * 2, dtype),
            np.array([0.4, 0.6], dtype),
        )
        observed = gx.Observed(y.astype(dtype), R=noise.astype(dtype))
        solver = gx.EM(tol=0.0, max_steps=30)
        return gx.fit(start, observed, solver=solver, throw=False)

    single = fitted(np.float32)
    with jax.enable_x64(True):
        double = fitted(np.float64)
    assert single.mixture.means.dtype == np.float32
    assert double.mixture.means.dtype == np.float64
    assert single.status == double.status == "max_steps_reached"
    (w, m, s), (weights, own_means, dense) = map(
        parameters, (single.mixture, double.mixture)
    )
    deviations = np.sqrt(np.diagonal(dense, axis1=1, axis2=2))
    unit = deviations[:, :, None] * deviations[:, None]
    # Errors of the steps before are contracted by those after them; of the noise, about
    # a quarter of the variances, an error of one rounding is one of a third.
    tolerance = 4 * size * EPS
    np.testing.assert_allclose(w, weights, atol=tolerance)
    np.testing.assert_allclose((m - own_means) / deviations, 0, atol=tolerance)
    # One step is off by up to three roundings; the fixed point, on some processors, by
    # nine.
    np.testing.assert_allclose((s - dense) / unit, 0, atol=3 * tolerance)
    # Of 272 logarithms of densities, each with a distance of its own.
    np.testing.assert_allclose(
        single.log_likelihood, double.log_likelihood, rtol=tolerance
    )
