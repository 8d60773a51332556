"""Samples with gaps, noise and projections, and what they mean in NumPy."""

import pathlib

import jax.numpy as jnp
import numpy as np

import gmmx_eqx as gx

from .helpers import old_faithful


BANDS = "BVRIH"
_DATA = pathlib.Path(__file__).parents[1] / "examples" / "data"


def faithful_start() -> gx.GaussianMixture:
    return gx.GaussianMixture.from_squeezed(
        [[2.0, 55.0], [4.3, 80.0]], [np.diag([0.1, 36.0])] * 2, [0.4, 0.6]
    )


def faithful_noise() -> np.ndarray:
    """A covariance for every eruption, with a correlation of .3."""
    i = np.arange(272)
    deviations = np.stack([0.05 + 0.002 * (i % 50), 1 + 0.05 * (i % 40)], 1)
    correlation = np.array([[1.0, 0.3], [0.3, 1.0]])
    return deviations[:, :, None] * deviations[:, None] * correlation


def faithful_with_noise() -> gx.Observed:
    """Old Faithful, with noise of its own for every eruption."""
    return gx.Observed(old_faithful(), R=faithful_noise())


def faithful_with_gaps() -> np.ndarray:
    y = old_faithful().copy()
    i = np.arange(272)
    y[i % 5 == 0, 0] = np.nan
    y[i % 7 == 3, 1] = np.nan
    return y


def lattice() -> np.ndarray:
    """Thirty points on [1, 6] × [40, 100], evenly."""
    points = np.meshgrid(np.linspace(1, 6, 6), np.linspace(40, 100, 5), indexing="ij")
    return np.stack(points, -1).reshape(-1, 2)


def tully_fisher(band: str) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of line widths and magnitudes of galaxies, and their standard errors.

    Sakai et al. (2000), Astrophysical Journal 529, 698, table 2.
    """
    path = _DATA / "tully_fisher.csv"
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf8")
    known = ~np.isnan(table[band])
    table = table[known]
    y = np.stack([table["log_W"], table[band]], 1)
    return y, np.stack([table["log_W_error"], table[f"{band}_error"]], 1)


def reference_step(parts, y, H, R, weight, ridge=0.0):
    """A step of EM, sample by sample with dense matrices: the log-likelihood before it,
    and the new weights, means and covariances.

    **Arguments:**

    - `parts`: weights, means and matrices.
    - `y`: shape `(n, m)`; NaN is missing.
    - `H`, `R`: one matrix for each sample.
    """
    weights, means, dense = (np.asarray(part, np.float64) for part in parts)
    n_components, d = means.shape
    count = np.zeros(n_components)
    first = np.zeros((n_components, d))
    second = np.zeros((n_components, d, d))
    total = 0.0
    for row, operator, noise, own in zip(y, H, R, weight, strict=True):
        seen = ~np.isnan(row)
        if not seen.any():
            continue
        h, r = operator[seen], noise[np.ix_(seen, seen)]
        joint, latent, spread = [], [], []
        for share, mean, values in zip(weights, means, dense, strict=True):
            t = h @ values @ h.T + r
            gain = np.linalg.solve(t, h @ values).T
            residual = row[seen] - h @ mean
            distance = residual @ np.linalg.solve(t, residual)
            log_det = np.linalg.slogdet(2 * np.pi * t)[1]
            joint.append(np.log(share) - 0.5 * (log_det + distance))
            latent.append(mean + gain @ residual)
            spread.append(values - gain @ h @ values)
        evidence = np.logaddexp.reduce(joint)
        total += own * evidence
        for k, share in enumerate(own * np.exp(np.array(joint) - evidence)):
            count[k] += share
            first[k] += share * latent[k]
            second[k] += share * (np.outer(latent[k], latent[k]) + spread[k])
    new_means = first / count[:, None]
    products = new_means[:, :, None] * new_means[:, None]
    new_dense = second / count[:, None, None] - products + ridge * np.eye(d)
    return total, (count / count.sum(), new_means, new_dense)


def projections() -> tuple[gx.Observed, gx.GaussianMixture]:
    """Two hundred coordinates of points in the plane, one of each point, and where to
    start: the example in the documentation of extreme-deconvolution."""
    table = np.genfromtxt(_DATA / "projections.csv", delimiter=",", names=True)
    H = np.stack([table["h1"], table["h2"]], 1)[:, None]
    means = [[0.86447943, 0.322681], [0.67078879, 0.45087394]]
    # Not positive definite, but for the noise.
    values = [
        [[0.03821028, 0.04108113], [0.04108113, 0.03173839]],
        [[0.06219194, 0.04302473], [0.04302473, 0.06778009]],
    ]
    start = gx.GaussianMixture(
        jnp.full((1, 2, 1, 1), 0.5),
        jnp.asarray(means)[None, ..., None],
        gx.FullCovariances(jnp.asarray(values)[None]),
    )
    return gx.Observed(table["y"][:, None], H, table["variance"][:, None]), start
