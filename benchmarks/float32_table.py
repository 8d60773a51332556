"""How accurate the covariances are in float32 and float64, by packed features, by
residuals and of a fit, for components ever farther apart: `python -m
benchmarks.float32_table`.

The data are float32 values, the same for both types. The reference takes the same
steps of EM in NumPy's extended precision, by residuals.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import gmmx_eqx as gx


Data = Float[Array, "samples features"]

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


def fit(start: gx.GaussianMixture, x: Data) -> gx.Solution:
    solver = gx.EM(tol=0.0, max_steps=N_STEPS)
    return gx.fit(start, x, reg_covar=0.0, solver=solver, throw=False)


@eqx.filter_jit
def steps(start: gx.GaussianMixture, x: Data, near: bool) -> gx.GaussianMixture:
    """The mixture after as many steps, with all components near or none, whatever is
    lost."""
    source = gx.extend.InMemory.from_data(x, None, len(x))
    e_step = gx.extend.Complete.create(source, start.covariances)
    mixture = dataclasses.replace(start, means=start.means - source.pivot)
    ridge = jnp.zeros_like(source.pivot)

    def step(_, mixture):
        pivot = mixture.means if near else jnp.zeros_like(mixture.means)
        is_near = jnp.full(mixture.weights.shape, near)
        whitening = mixture.covariances.whitening(N_FEATURES)
        expectation = e_step.expect(mixture, whitening, pivot, is_near)
        return gx.extend.maximise(expectation.moments, mixture, pivot, ridge)

    return jax.lax.fori_loop(0, N_STEPS, step, mixture)


def measure(name: str, separation: float, dtype: type) -> list[str]:
    """The largest error of an element, in units of standard deviations: by packed
    features, by residuals, and of a fit."""
    x, resp = make_data(separation)
    start = gx.GaussianMixture.from_responsibilities(
        x, resp, covariance_type=name, reg_covar=0.0
    )
    cast = lambda array: jnp.asarray(array, dtype=dtype)
    begin, data = jax.tree.map(cast, start), cast(x)
    expected = reference(start, x, N_STEPS)
    sd = np.sqrt(np.diagonal(expected, axis1=1, axis2=2))

    def error(mixture: gx.GaussianMixture) -> str:
        got = dense(name, mixture.covariances.values_numpy)
        if not np.all(np.isfinite(got)):
            return "not finite"
        worst = np.max(np.abs(got - expected) / (sd[:, :, None] * sd[:, None]))
        return f"{worst:.0e}"

    solution = fit(begin, data)
    fitted = solution.status
    if fitted == "max_steps_reached":
        fitted = error(solution.mixture)
    by_hand = [error(steps(begin, data, near)) for near in (False, True)]
    return [*by_hand, str(fitted)]


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    print("Relative error of covariances")
    print("| family | dtype | separation / sigma | packed | residual | fit |")
    print("|---|---|---|---|---|---|")
    for name in ("full", "tied", "diag", "spherical"):
        for dtype in (np.float32, np.float64):
            for separation in SEPARATIONS:
                cells = measure(name, separation, dtype)
                row = (name, dtype.__name__, f"{separation:g}", *cells)
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
