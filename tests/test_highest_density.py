"""Regions of highest density."""

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

import gmmx_eqx as gx
from gmmx_eqx import plotting


@pytest.mark.x64
def test_of_one_gaussian():
    """Its regions are ellipses: squared distances are chi-squared."""
    mixture = gx.GaussianMixture.from_squeezed(
        [[1.0, -2.0, 0.5]], [np.diag([1.0, 4.0, 9.0])], [1.0]
    )
    shares = np.array([0.95, 0.5])
    found = gx.highest_density(mixture, shares, key=jr.key(0))
    np.testing.assert_array_equal(found.shares, [0.5, 0.95])
    top = mixture.log_prob([[1.0, -2.0, 0.5]])[0]
    inside = stats.chi2(3).cdf(2 * (top - found.log_thresholds))
    # Three standard deviations of a share among 1e5.
    np.testing.assert_allclose(inside, [0.5, 0.95], atol=3 * 0.5 / 1e5**0.5)
    x = np.array([[1.0, -2.0, 0.5], [1.0, 2.0, 0.5], [5.0, -2.0, 0.5]])
    np.testing.assert_array_equal(
        found.contains(x), [[True, True], [False, True], [False, False]]
    )
    np.testing.assert_allclose(found.share_of(x), [0.5, 0.95, 1])


@pytest.mark.x32
def test_what_is_no_share():
    mixture = gx.GaussianMixture.create(1, 2)
    for shares in (90, [0.5, 1.0], [], [[0.5]]):
        with pytest.raises(ValueError, match="`shares` must be numbers between"):
            gx.highest_density(mixture, shares, key=jr.key(0))


@pytest.mark.x32
def test_pictures():
    """Contours run where the density is at the threshold."""
    mixture = gx.GaussianMixture.from_squeezed(
        [[0.0, 0.0], [3.0, 1.0]], [np.eye(2)] * 2, [0.5, 0.5]
    )
    regions = gx.highest_density(mixture, [0.5, 0.9], key=jr.key(0), n_samples=5000)
    ax = plotting.plot_mixture(mixture, regions=regions)
    assert {"50 %", "90 %"} <= {text.get_text() for text in ax.texts}
    lines = ax.collections[-1]
    for path, threshold in zip(
        lines.get_paths(), np.sort(regions.log_thresholds), strict=True
    ):
        heights = mixture.log_prob(path.vertices.astype(np.float32))
        np.testing.assert_allclose(heights, threshold, atol=0.05)
    line = gx.marginal(mixture, 0)
    regions = gx.highest_density(line, 0.8, key=jr.key(0), n_samples=5000)
    ax = plotting.plot_mixture(line, regions=regions)
    assert "80 %" in {drawn.get_label() for drawn in ax.lines}
    with pytest.raises(ValueError, match="`regions` must be"):
        plotting.plot_mixture(line, regions=0.8)  # pyright: ignore[reportArgumentType]
    plt.close("all")
