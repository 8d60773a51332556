"""One function per library: from a problem to `run(n_steps) -> mean log-likelihood`.

Imports are inside, since each contender runs in a process of its own.
"""

from collections.abc import Callable

import numpy as np

from .problem import Problem


Run = Callable[[int], float]

# Large enough for components of four samples in 32 dimensions, in float32.
REG_COVAR = 1e-3


def gmmx_eqx(problem: Problem) -> Run:
    import jax

    jax.config.update("jax_enable_x64", problem.dtype == "float64")
    import gmmx_eqx as gx

    x = jax.numpy.asarray(problem.data())
    weights, means, covariances = problem.start()
    start = gx.GaussianMixture.from_squeezed(
        means, covariances, weights, problem.covariance_type
    )

    def run(n_steps):
        # One power of two for all step counts: one program.
        solver = gx.EM(tol=0.0, max_steps=n_steps)
        solution = gx.fit(start, x, solver=solver, reg_covar=REG_COVAR, throw=False)
        return float(solution.mean_log_likelihood)

    return run


def sklearn(problem: Problem) -> Run:
    from sklearn.mixture import GaussianMixture

    x = problem.data()
    weights, means, covariances = problem.start()
    kind = problem.covariance_type
    if kind in ("full", "tied"):
        precisions = np.linalg.inv(covariances)
    else:
        precisions = 1 / covariances
    estimator = GaussianMixture(
        problem.n_components, covariance_type=kind, reg_covar=REG_COVAR
    )

    # Only the steps: the estimator's checks and its own initialisation are left out.
    def run(n_steps):
        estimator.weights_ = weights
        estimator.means_ = means
        estimator.precisions_cholesky_ = _cholesky(kind, precisions)
        for _ in range(n_steps):
            _, log_resp = estimator._e_step(x)
            estimator._m_step(x, log_resp)
        return float(estimator._e_step(x)[0])

    return run


def _cholesky(kind: str, precisions: np.ndarray) -> np.ndarray:
    if kind not in ("full", "tied"):
        return np.sqrt(precisions)
    # Upper triangular U with P = U Uᵀ.
    flipped = np.linalg.cholesky(precisions[..., ::-1, ::-1])
    return np.ascontiguousarray(flipped[..., ::-1, ::-1])


def gmmx(problem: Problem) -> Run:
    import jax
    from gmmx import EMFitter, GaussianMixtureModelJax

    x = jax.numpy.asarray(problem.data())
    weights, means, covariances = problem.start()
    start = GaussianMixtureModelJax.from_squeezed(
        means=means,
        covariances=covariances,
        weights=weights,
        covariance_type=problem.covariance_type,
    )

    def run(n_steps):
        fitter = EMFitter(max_iter=n_steps, tol=0.0, reg_covar=REG_COVAR)
        return float(fitter.fit(x, start).gmm.score(x))

    return run


CONTENDERS: dict[str, Callable[[Problem], Run]] = {
    "gmmx_eqx": gmmx_eqx,
    "sklearn": sklearn,
    "gmmx": gmmx,
}
