"""What messages say to those who look for scikit-learn's or SciPy's names."""

_ESTIMATOR = "`gmmx_eqx.sklearn.GaussianMixture` is scikit-learn's estimator."
_FITTED = "A mixture does not know of its fit. The `Solution` of `gx.fit` has"
_OPERATIONS = (
    "affine",
    "condition",
    "convolve",
    "covariance",
    "denoise",
    "impute",
    "marginal",
    "mean",
    "merge",
    "observe",
    "product",
    "reduce",
    "score_function",
)

ATTRIBUTES = {
    "fit": "Use `gx.fit(mixture, x)`, which starts from this mixture, or "
    "`gx.fit_restarts(x, n_components, key=key)`.",
    "fit_predict": "Use `gx.fit(mixture, x).mixture.predict(x)`.",
    "weights_": "Use `weights_numpy`, or `weights_squeezed` inside `jit`.",
    "means_": "Use `means_numpy`, or `means_squeezed` inside `jit`.",
    "covariances_": "Use `covariances.values_numpy`, or `covariances.values_squeezed` "
    "inside `jit`.",
    "precisions_cholesky_": "Use `covariances.precisions_cholesky_numpy`.",
    "n_iter_": f"{_FITTED} `n_steps`.",
    "converged_": f"{_FITTED} `converged`.",
    "lower_bound_": f"{_FITTED} `mean_log_likelihood`.",
    "lower_bounds_": f"{_FITTED} `log_likelihoods`.",
    "n_features_in_": "Use `n_features`.",
    "get_params": _ESTIMATOR,
    "set_params": _ESTIMATOR,
    "logpdf": "Use `log_prob(x)`.",
    "pdf": "Use `jnp.exp(mixture.log_prob(x))`.",
    "rvs": "Use `sample(key, n_samples)`.",
    "save": "Use `gx.save(path, mixture)`.",
} | {name: f"Use `gx.{name}(mixture, ...)`." for name in _OPERATIONS}

_KEY = "Use `key=jax.random.key(0)`."
# Of ways to make a start.
START = {
    "random_state": _KEY,
    "seed": _KEY,
    "X": "Use `x`.",
    "k": "Use `n_components`.",
    "n_clusters": "Use `n_components`.",
    "max_iter": "This makes a start. `gx.fit(start, x, solver=gx.EM(max_steps=...))` "
    "takes steps of EM.",
    "n_init": "This makes one start. Use `gx.fit_restarts(x, n_components, "
    "n_restarts=..., key=key)`.",
    "init_params": "Use `gx.GaussianMixture.from_initialiser(gx.KMeansPlusPlus(), x, "
    "n_components, key=key)`.",
}

NO_ESTIMATOR = (
    "A `gx.GaussianMixture` is made of parameters. Use `gx.fit_restarts(x, "
    f"n_components, key=key).best.mixture` to fit one. {_ESTIMATOR}"
)
# Arguments of the estimator.
ESTIMATOR = {
    "n_components",
    "covariance_type",
    "tol",
    "reg_covar",
    "max_iter",
    "n_init",
    "init_params",
    "weights_init",
    "means_init",
    "precisions_init",
    "random_state",
    "warm_start",
    "verbose",
    "verbose_interval",
}
