"""What messages say to those who look for scikit-learn's names."""

from .._core.hints import members
from .._mixture import GaussianMixture
from .._mixture.hints import ATTRIBUTES


_START = "The start says which: `gx.GaussianMixture.from_k_means(x, n_components, "
_KEY = "Use `key=jax.random.key(0)`."
_PARAMETERS = (
    "Make a start: `gx.GaussianMixture.from_squeezed(means, covariances, weights)`, "
    "and `gx.fit(start, x)`."
)
_EVERY = {
    "max_iter": "Use `solver=gx.EM(max_steps=...)`.",
    "max_steps": "Use `solver=gx.EM(max_steps=...)`.",
    "tol": "Use `solver=gx.EM(tol=...)`, in nats per sample.",
    "weights_init": _PARAMETERS,
    "means_init": _PARAMETERS,
    "precisions_init": _PARAMETERS,
    "warm_start": "Use `gx.fit(solution.mixture, x)` to go on.",
    "verbose": "Use `progress=True`.",
    "verbose_interval": "Use `progress=True`.",
    "X": "Use `x`.",
    "weights": "Use `sample_weight`.",
    "sample_weights": "Use `sample_weight`.",
}
# Of `fit`.
ONE = _EVERY | {
    "n_components": f"{_START}key=key)`. Or use `gx.fit_restarts(x, n_components, "
    "key=key)`.",
    "covariance_type": f"{_START}covariance_type=..., key=key)`.",
    "n_init": "Use `gx.fit_restarts(x, n_components, n_restarts=..., key=key)`.",
    "n_restarts": "Use `gx.fit_restarts(x, n_components, n_restarts=..., key=key)`.",
    "init_params": "Make a start, by `gx.GaussianMixture.from_k_means` or "
    "`from_initialiser`, and `gx.fit(start, x)`.",
    "random_state": "EM is not random. The start has a `key`: "
    "`gx.GaussianMixture.from_k_means(x, n_components, key=key)`.",
    "key": "EM is not random. The start has a `key`: "
    "`gx.GaussianMixture.from_k_means(x, n_components, key=key)`.",
}
# Of those that make their own starts.
MANY = _EVERY | {
    "n_init": "Use `n_restarts`.",
    "init_params": "Use `initialiser`, such as `gx.KMeans()`.",
    "random_state": _KEY,
    "seed": _KEY,
    "k": "Use `n_components`.",
    "n_clusters": "Use `n_components`.",
}
# Of `select`, which tries several families.
SEVERAL = MANY | {"covariance_type": "Use `covariance_types=['full', 'diag']`."}

_SOLUTION = {
    "n_iter_": "n_steps",
    "converged_": "converged",
    "lower_bound_": "mean_log_likelihood",
    "lower_bounds_": "log_likelihoods",
}


def of_solution(name: str, at: str) -> str | None:
    """Of an attribute that a solution does not have.

    **Arguments:**

    - `at`: how users get at the solution.
    """
    if name in _SOLUTION:
        return f"Use `{at}.{_SOLUTION[name]}`."
    if name in members(GaussianMixture):
        return f"Use `{at}.mixture.{name}`."
    if name in ATTRIBUTES:
        return f"`{at}.mixture` is the mixture. {ATTRIBUTES[name]}"
    return None


def of_many(name: str, at: str, solution: type) -> str | None:
    """Of an attribute that an object of many solutions does not have.

    **Arguments:**

    - `at`: how users get at the best solution.
    """
    if name in members(solution):
        return f"Use `{at}.{name}`."
    return of_solution(name, at)
