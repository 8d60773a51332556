"""Gaussian algebra with one dense matrix per component, in NumPy's float64: what the
closed-form operations are compared with."""

import numpy as np
import scipy.stats

from .helpers import parameters


def log_normal(x, mean, values) -> float:
    return float(scipy.stats.multivariate_normal.logpdf(x, mean, values))


def log_sum(terms) -> float:
    top = np.max(terms)
    return float(top + np.log(np.sum(np.exp(terms - top))))


def observe(parts, H, R, y):
    """Weights, means and matrices of the posterior, and the log-evidence."""
    weights, means, dense = parts
    joint, new_means, new_dense = [], [], []
    for weight, mean, values in zip(weights, means, dense, strict=True):
        innovation = H @ values @ H.T + R
        gain = np.linalg.solve(innovation, H @ values).T
        joint.append(np.log(weight) + log_normal(y, H @ mean, innovation))
        new_means.append(mean + gain @ (y - H @ mean))
        new_dense.append(values - gain @ innovation @ gain.T)
    evidence = log_sum(np.array(joint))
    return (
        np.exp(np.array(joint) - evidence),
        np.array(new_means),
        np.array(new_dense),
    ), evidence


def convolve(parts, R, mean):
    """Sums of independent normals, component by component."""
    weights, means, dense = parts
    return weights, means + mean, dense + R


def condition(parts, given, y):
    """The Schur complement, component by component."""
    weights, means, dense = parts
    rest = [i for i in range(means.shape[1]) if i not in given]
    joint, new_means, new_dense = [], [], []
    for weight, mean, values in zip(weights, means, dense, strict=True):
        own = values[np.ix_(given, given)]
        cross = values[np.ix_(rest, given)]
        joint.append(np.log(weight) + log_normal(y, mean[given], own))
        new_means.append(mean[rest] + cross @ np.linalg.solve(own, y - mean[given]))
        schur = values[np.ix_(rest, rest)] - cross @ np.linalg.solve(own, cross.T)
        new_dense.append(schur)
    joint = np.array(joint)
    weights = np.exp(joint - log_sum(joint))
    return weights, np.array(new_means), np.array(new_dense)


def assert_mixture(got, expected, rtol):
    """Each parameter to within `rtol` of the largest number of its kind."""
    for one, other in zip(parameters(got), expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol, rtol * np.abs(other).max())


def scatter_about(means, x, resp, name):
    """The covariances of an M-step of the six families of one array, as matrices, from
    responsibilities times sample weights."""
    counts = resp.sum(0)
    scatter = np.stack(
        [(resp[:, k, None] * (x - m)).T @ (x - m) for k, m in enumerate(means)]
    )
    if name.startswith("tied"):
        scatter = np.broadcast_to(scatter.sum(0) / counts.sum(), scatter.shape)
    else:
        scatter = scatter / counts[:, None, None]
    if name.endswith("diag"):
        scatter = scatter * np.eye(x.shape[1])
    if name.endswith("spherical"):
        trace = np.trace(scatter, axis1=1, axis2=2) / x.shape[1]
        scatter = trace[:, None, None] * np.eye(x.shape[1])
    return scatter
