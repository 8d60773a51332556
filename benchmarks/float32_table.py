"""How accurate the covariances are in float32 and float64, for components
ever farther apart: `python -m benchmarks.float32_table`.

The data are float32 values, the same for both types. The reference takes the same
steps of EM in NumPy's extended precision, by residuals.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gmmx_eqx as gx


SEPARATIONS = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
N_STEPS = 10
CENTRES = np.array([[0.0, 0.0], [1.0, 0.3], [0.2, 1.0]])
N_COMPONENTS, N_FEATURES = CENTRES.shape


def make_data(separation: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples and responsibilities to start from; `separation` is in units of the
    width of a cluster."""
    rng = np.random.default_rng(7)
    label = rng.integers(N_COMPONENTS, size=2000)
    width = np.array([1.0, 1.3, 0.7])[label, None]
    noise = width * rng.normal(size=(label.size, N_FEATURES))
    factor = np.linalg.cholesky([[1, 0.4], [0.4, 1]])
    x = separation * CENTRES[label] + noise @ factor.T
    resp = 0.9 * np.eye(N_COMPONENTS)[label] + 0.1 / N_COMPONENTS
    return x.astype(np.float32), resp.astype(np.float32)


def dense(name: str, values: np.ndarray) -> np.ndarray:
    """Squeezed covariances as one matrix per component."""
    eye = np.eye(N_FEATURES)
    shape = (N_COMPONENTS, N_FEATURES, N_FEATURES)
    if name == "tied":
        return np.broadcast_to(values, shape)
    if name == "diag":
        return values[:, :, None] * eye
    return values if name == "full" else values[:, None, None] * eye


def pooled(name: str, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What a family leaves of one matrix per component."""
    if name == "tied":
        mean = np.sum(weights[:, None, None] * values, axis=0)
        return np.broadcast_to(mean, values.shape)
    eye = np.eye(N_FEATURES)
    if name == "spherical":
        values = np.sum(values * eye, axis=(1, 2), keepdims=True) / N_FEATURES
        return values * eye
    return values * eye if name == "diag" else values


def reference(mixture: gx.GaussianMixture, x: np.ndarray, n_steps: int) -> np.ndarray:
    """One covariance matrix per component, after `n_steps` in extended precision."""
    name = str(mixture.covariances.type)
    samples, weights, means, values = (
        array.astype(np.longdouble)
        for array in (
            x,
            mixture.weights_numpy,
            mixture.means_numpy,
            dense(name, mixture.covariances.values_numpy),
        )
    )
    for _ in range(n_steps):
        # Two features: NumPy has no Cholesky factors in this type.
        residuals = samples[:, None] - means
        a, b, d = values[:, 0, 0], values[:, 0, 1], values[:, 1, 1]
        u, v = residuals[..., 0], residuals[..., 1]
        determinant = a * d - b**2
        distance = u**2 / a + (v - b / a * u) ** 2 / (determinant / a)
        joint = np.log(weights) - 0.5 * (distance + np.log(determinant))
        resp = np.exp(joint - np.max(joint, axis=1, keepdims=True))
        resp /= np.sum(resp, axis=1, keepdims=True)
        count = np.sum(resp, axis=0)
        means = means + np.sum(resp[..., None] * residuals, axis=0) / count[:, None]
        residuals = samples[:, None] - means
        outer = residuals[..., :, None] * residuals[..., None, :]
        scatter = np.sum(resp[..., None, None] * outer, axis=0)
        weights = count / len(samples)
        values = pooled(name, scatter / count[:, None, None], weights)
    return values.astype(np.float64)


def measure(name: str, separation: float, dtype: type) -> str:
    """The largest error of an element, in units of standard deviations."""
    x, resp = make_data(separation)
    start = gx.GaussianMixture.from_responsibilities(
        x, resp, covariance_type=name, reg_covar=0.0
    )
    cast = lambda array: jnp.asarray(array, dtype=dtype)
    solution = gx.fit(
        jax.tree.map(cast, start),
        cast(x),
        reg_covar=0.0,
        solver=gx.EM(tol=0.0, max_steps=N_STEPS),
        throw=False,
    )
    if solution.result == gx.RESULTS.component_collapsed:
        return "collapsed"
    if solution.result == gx.RESULTS.nonfinite:
        return "not finite"
    expected = reference(start, x, int(solution.n_steps))
    got = dense(name, solution.mixture.covariances.values_numpy)
    sd = np.sqrt(np.diagonal(expected, axis1=1, axis2=2))
    error = np.max(np.abs(got - expected) / (sd[:, :, None] * sd[:, None]))
    return f"{error:.0e}"


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    print("| family | dtype | separation / sigma | relative error of covariances |")
    print("|---|---|---|---|")
    for name in ("full", "tied", "diag", "spherical"):
        for dtype in (np.float32, np.float64):
            for separation in SEPARATIONS:
                error = measure(name, separation, dtype)
                row = (name, dtype.__name__, f"{separation:g}", error)
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
