import functools as ft
from typing import Any

import jax.numpy as jnp
import jax.random as jr

from .._core import inputs
from .._core.axes import CovarianceType
from .._covariances import covariance_class
from .._em import AbstractEM, EM, Kernel
from .._initialisers import AbstractInitialiser, KMeans
from .._priors import as_ridge
from .lanes import fit_lanes, Settings
from .population import Population
from .progress import AbstractProgress
from .watch import watch


def fit_restarts(
    x: Any,
    n_components: int,
    covariance_type: str = CovarianceType.full,
    n_restarts: int = 32,
    *,
    key: Any,
    initialiser: AbstractInitialiser | None = None,
    sample_weight: Any = None,
    reg_covar: Any = None,
    solver: AbstractEM | None = None,
    kernel: str = Kernel.auto,
    width: int = 64,
    progress: AbstractProgress | bool = False,
) -> Population:
    """Fits the same data from many random starts, as one program.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`.
    - `n_components`, `covariance_type`: what to fit.
    - `n_restarts`: how many starts.
    - `key`: a `jax.random` key; every start gets its own from it.
    - `initialiser`: how to start; [`gmmx_eqx.KMeans`][] if not given.
    - `sample_weight`, `reg_covar`, `solver`, `kernel`: as in [`gmmx_eqx.fit`][].
    - `width`: how many fits are computed side by side. A fit that has ended makes room
        for the next.
    - `progress`: as in [`gmmx_eqx.fit`][]; it counts fits that have ended.

    **Returns:**

    A [`gmmx_eqx.Population`][]. A fit that fails is one lane's status, never an error.

    **Raises:**

    `ValueError` for arguments that cannot be right.
    """
    n_components = inputs.check_count(n_components, "n_components")
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    width = inputs.check_count(width, "width")
    x, weight = inputs.as_data(x, sample_weight)
    inputs.check_enough_samples(x, weight, n_components)
    settings = Settings(
        family=covariance_class(covariance_type),
        n_components=n_components,
        initialiser=KMeans() if initialiser is None else initialiser,
        ridge=as_ridge(reg_covar),
        solver=EM() if solver is None else solver,
        kernel=inputs.as_option(Kernel, kernel, "kernel"),
        width=min(width, n_restarts),
    )
    keys = jr.split(key, n_restarts)
    n_active = jnp.full(n_restarts, n_components)
    run = ft.partial(fit_lanes, settings, x, weight, keys, n_active)
    solutions, n_pool_steps = watch(progress, "fit", n_restarts, run)
    return Population(solutions, n_pool_steps, settings.width)
