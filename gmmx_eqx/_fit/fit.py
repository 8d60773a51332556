from typing import Any

import equinox as eqx
import optimistix as optx

from .._core import inputs
from .._core.aliases import Data, PerFeature, SampleWeight
from .._core.results import RESULTS
from .._em import EM, EMStep, Kernel, packing
from .._mixture import GaussianMixture
from .._priors import AbstractRidge, as_ridge
from .._sources import chunk_size, InMemory
from .solution import Solution


def fit(
    mixture: GaussianMixture,
    x: Any,
    *,
    sample_weight: Any = None,
    reg_covar: Any = None,
    solver: optx.AbstractFixedPointSolver | None = None,
    kernel: str = Kernel.auto,
    samples_per_chunk: int | None = None,
    throw: bool = True,
) -> Solution:
    """Fits a mixture to data by expectation-maximisation.

    **Arguments:**

    - `mixture`: where to start; it also says which covariance family to fit.
    - `x`: the data, shape `(n_samples, n_features)`.
    - `sample_weight`: shape `(n_samples,)`. Zero removes a sample, two doubles it.
    - `reg_covar`: added to the diagonal of every covariance: a number, in squared data
        units, or a [`gmmx_eqx.AbstractRidge`][]. A millionth of each feature's own
        variance if not given.
    - `solver`: [`gmmx_eqx.EM`][] with its `tol` and `max_steps`.
    - `kernel`: a [`gmmx_eqx.Kernel`][] or its name.
    - `samples_per_chunk`: how many samples to hold intermediate results of at once.
    - `throw`: whether to raise if the fit does not converge. If not, look at `result`.
        Must be `False` under `vmap`, where one lane's end is not the other lanes'.

    **Returns:**

    A [`gmmx_eqx.Solution`][].

    **Raises:**

    `ValueError` for arguments that cannot be right. With `throw`, an
    `equinox.EquinoxRuntimeError` that says why the fit did not converge and what to do.

    ??? cite "Reference"

        Dempster, Laird, Rubin (1977), Maximum Likelihood from Incomplete Data via the
        EM Algorithm. JRSS B 39(1), 1-38.
    """
    mixture.check_one()
    x = inputs.as_data(x, n_features=mixture.n_features)
    weight = inputs.as_sample_weight(sample_weight, x)
    inputs.check_enough_samples(x, weight, mixture.n_components)
    if samples_per_chunk is not None:
        inputs.check_count(samples_per_chunk, "samples_per_chunk")
    solution = _fit(
        mixture,
        x,
        weight,
        as_ridge(reg_covar),
        EM() if solver is None else solver,
        Kernel(kernel),
        samples_per_chunk,
    )
    if throw:
        failed = solution.result != RESULTS.successful
        solution = solution.result.error_if(solution, failed)
    return solution


@eqx.filter_jit
def _fit(
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
    ridge: AbstractRidge,
    solver: optx.AbstractFixedPointSolver,
    kernel: Kernel,
    size: int | None,
) -> Solution:
    mixture, x = inputs.common_dtype(mixture, x)
    size = chunk_size(*x.shape, x.dtype.itemsize) if size is None else size
    source = InMemory.from_data(x, weight, size)
    rule = packing(mixture.covariances, source) if kernel != Kernel.residual else None
    step = EMStep(
        source=source,
        packing=rule,
        reg_covar=ridge.resolve(source.variances),
        guarded=kernel != Kernel.packed,
    )
    end = optx.fixed_point(
        step,
        solver,
        _moved(mixture, -source.pivot),
        args=source.total,
        has_aux=True,
        max_steps=None,
        adjoint=optx.ImplicitAdjoint(),
        throw=False,
    )
    state = end.state
    return Solution(
        mixture=_moved(end.value, source.pivot),
        log_likelihood=state.log_likelihood,
        mean_log_likelihood=state.log_likelihood / source.total,
        n_steps=state.n_steps,
        log_likelihoods=state.log_likelihoods,
        n_residual_steps=state.n_residual_steps,
        result=state.result,
    )


def _moved(mixture: GaussianMixture, by: PerFeature) -> GaussianMixture:
    return eqx.tree_at(lambda m: m.means, mixture, mixture.means + by)
