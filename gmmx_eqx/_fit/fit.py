import functools as ft
from pathlib import Path
from typing import Any

import jax

from .._core import buckets, inputs, labels as known_labels
from .._core.aliases import Count, Data, Labels, SampleWeight, Weighting
from .._core.hints import hinted
from .._core.known import constant, is_known
from .._core.likes import (
    AmountLike,
    BackgroundLike,
    DataLike,
    LabelsLike,
    SampleWeightLike,
)
from .._core.placement import all_on_automatic_mesh
from .._core.programs import program
from .._core.results import RESULTS
from .._em import AbstractEM, AbstractPasses, Frozen, InTurn
from .._em.implicit import with_derivatives
from .._mixture import as_plain_mixture, GaussianMixture, padding
from .._priors import Prior, RidgeLike
from .._sources import Blocks, check_blocks, Observed
from . import hints
from .driver import drive, pinned
from .error import raise_unless_successful
from .fit_blocks import check_enough, check_labels, check_no_checkpoint, fit_blocks
from .fit_in_turn import fit_blocks_in_turn, fit_in_turn
from .fit_observed import fit_observed, gather
from .options import Options
from .progress import AbstractProgress, report_to, Ticket
from .solution import (
    ending,
    in_unit,
    log_prior_of,
    moved,
    Solution,
    with_components,
    without,
)


@hinted(hints.ONE)
def fit(
    mixture: GaussianMixture,
    x: DataLike | Observed | Blocks,
    *,
    sample_weight: SampleWeightLike | None = None,
    labels: LabelsLike | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | AbstractPasses | InTurn | None = None,
    samples_per_chunk: int | None = None,
    resolution: AmountLike | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
    background: BackgroundLike | None = None,
    throw: bool = True,
    progress: AbstractProgress | bool = False,
    checkpoint: str | Path | None = None,
) -> Solution:
    r"""Fits a mixture to data by expectation-maximisation.

    **Arguments:**

    - `mixture`: where to start; it also says which covariance family to fit.
    - `x`: the data, shape `(n_samples, n_features)`, which may be spread over devices
        by [`gmmx_eqx.shard`][]; [`gmmx_eqx.Observed`][] where values are missing or
        noisy; or [`gmmx_eqx.blocks`][], of which each step is a pass. The last two hold
        their own weights, and blocks their own labels.
    - `sample_weight`: shape `(n_samples,)`. Zero removes a sample, two doubles it.
    - `labels`: integers, shape `(n_samples,)`: which component a sample is known to
        belong to, -1 where it is not known. The log-likelihood then counts
        $\log(w_k N(x; μ_k, Σ_k))$ of a sample of component $k$.
    - `reg_covar`: added to the diagonal of every covariance: a number, or one for each
        feature, in squared data units, or a [`gmmx_eqx.extend.AbstractRidge`][]. A
        millionth of each feature's own variance if not given; nothing with a prior of
        the components, or if there is noise in all that was observed: the likelihood
        then has a bound.
    - `solver`: a [`gmmx_eqx.extend.AbstractEM`][], or [`gmmx_eqx.Stepwise`][],
        [`gmmx_eqx.Incremental`][] or [`gmmx_eqx.InTurn`][]; [`gmmx_eqx.EM`][] with its
        `tol` and `max_steps` if not given.
    - `samples_per_chunk`: how many samples to hold intermediate results of at once.
    - `resolution`: the step in which the data was recorded, in data units, one number
        or one per feature. Rounding gives numbers in steps of h a variance of h² / 12:
        a fit in which a component is narrower than that in a feature, given the others,
        ends with the status `component_unresolved`.
    - `equal_weights`: whether all components have the same weight, which then is no
        parameter; the start's are made equal first. Components that begin with a
        weight of zero keep it. Not together with `Frozen.weights`.
    - `prior`: a [`gmmx_eqx.Prior`][], such as `gx.Prior.from_data(x)`: the fit
        maximises the log-likelihood plus the log-prior. Sample weights then count
        samples.
    - `frozen`: a [`gmmx_eqx.Frozen`][]: which parameters stay exactly as they are.
    - `background`: a density that samples may have rather than that of any component,
        such as a [`gmmx_eqx.Uniform`][]; or a function from samples, shape
        `(n_samples, n_outputs)`, to log-densities in nats, shape `(n_samples,)`. Its
        weight is fitted, from a share of 1 / (components + 1) on, and reported as
        `background_weight`; the weights of the mixture sum to one, and `frozen` and
        `prior` are of these.
    - `throw`: whether to raise if the fit does not converge. If not, look at `result`.
        Must be `False` under `vmap`, where one lane's end is not the other lanes'.
    - `progress`: whether to show a bar, which needs the extra `progress`, or a
        [`gmmx_eqx.extend.AbstractProgress`][] to be told of every step. Under `vmap` it
        is told of the lane that has taken the most.
    - `checkpoint`: of a fit to blocks, the folder where every step is saved. The same
        call goes on from there to the end that it would have had.

    **Returns:**

    A [`gmmx_eqx.Solution`][]. Its mixture and log-likelihood have derivatives in `x`,
    `sample_weight`, `reg_covar`, `prior` and what is frozen, as the fixed point of EM:
    the tighter `tol`, the better. Without convergence they are NaN. Of blocks there are
    none.

    **Raises:**

    `ValueError` for arguments that cannot be right. With `throw`, a
    [`gmmx_eqx.FitError`][] that says why the fit did not converge and what to do; where
    `fit` is traced, the program raises an `equinox.EquinoxRuntimeError` when it runs.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
    solution = gx.fit(start, x)
    print(solution.status, solution.mixture.predict(x[:3]).shape)
    ```

    ```text
    successful (3,)
    ```

    ??? cite "Reference"

        Dempster, Laird, Rubin (1977), Maximum Likelihood from Incomplete Data via the
        EM Algorithm. JRSS B 39(1), 1-38.
    """
    mixture = all_on_automatic_mesh(as_plain_mixture(mixture), "mixture")
    others = solver if isinstance(solver, AbstractPasses | InTurn) else None
    options = Options.create(
        mixture.n_features,
        reg_covar=reg_covar,
        solver=None if isinstance(solver, AbstractPasses | InTurn) else solver,
        samples_per_chunk=samples_per_chunk,
        resolution=resolution,
        equal_weights=equal_weights,
        prior=prior,
        frozen=frozen,
    )
    if frozen is not None:
        frozen.check(mixture)
    if isinstance(x, Observed) or background is not None:
        known_labels.check_none(labels)
        if others is not None:
            raise ValueError(
                "`gmmx_eqx.Observed` and a `background` are for `gmmx_eqx.EM` and "
                "`gmmx_eqx.SQUAREM`. Choose one of them as `solver`."
            )
        gathered, unit = gather(
            x,
            sample_weight,
            mixture,
            background,
            options,
            checkpoint,
        )
        n_components = constant(mixture.n_components)
        run = ft.partial(fit_observed, mixture, gathered, options, n_components)
        solution = in_unit(report_to(progress, "step", None, run), unit)
        return raise_unless_successful(solution, solution) if throw else solution
    if isinstance(x, Blocks):
        check_blocks(x, mixture.n_features, sample_weight, labels)
        check_labels(x, mixture.n_components, mixture.weights)
        check_enough(x, mixture.n_components)
        run = ft.partial(fit_blocks, mixture, x, options, checkpoint)
        if others is not None:
            _check_no_labels(x.labels)
            args = (mixture, x, others, options, checkpoint)
            run = ft.partial(fit_blocks_in_turn, *args)
        solution = report_to(progress, "step", None, run)
        return raise_unless_successful(solution, solution) if throw else solution
    check_no_checkpoint(checkpoint)
    x, weight = inputs.as_data(
        x, sample_weight, n_features=mixture.n_features, like=mixture, fits=True
    )
    inputs.check_enough_samples(x, weight, mixture.n_components)
    weight, unit = inputs.balance(weight)
    options.check_unit(unit)
    if labels is not None:
        labels = known_labels.as_known(labels, len(x), mixture.n_components)
        known_labels.check_occupied(labels, weight, mixture.weights)
    run = ft.partial(_fit_memory, mixture, x, weight, labels, options)
    if others is not None:
        _check_no_labels(labels)
        fit_again = lambda start, *rest: _fit_memory(start, x, weight, None, *rest)
        args = (mixture, x, weight, others, options, fit_again)
        run = ft.partial(fit_in_turn, *args)
    solution = in_unit(report_to(progress, "step", None, run), unit)
    return raise_unless_successful(solution, solution) if throw else solution


def _check_no_labels(labels: Any) -> None:
    """Raises a `ValueError` if a solver that takes passes is to have labels."""
    if labels is not None:
        raise ValueError(
            "`labels` are for `gmmx_eqx.EM` and `gmmx_eqx.SQUAREM`, which see all "
            "samples in every step. Choose one of them as `solver`."
        )


def _fit_memory(
    mixture: GaussianMixture,
    x: Data,
    weight: SampleWeight | None,
    labels: Labels | None,
    options: Options,
    ticket: Ticket | None,
) -> Solution:
    x, weighting = buckets.fill(x, weight, labels, mixture, options)
    labels = None if labels is None else known_labels.fill(labels, len(x))
    options = options.spread_like(x)
    n_components = mixture.n_components
    if options.frozen is None and is_known(weighting, options):
        mixture = padding.pad(mixture, x)
    active = constant(n_components)
    solution = _fit(mixture, x, weighting, labels, options, active, ticket)
    return with_components(solution, n_components)


@program(lambda mixture, x, *_: mixture.n_components * x.size)
def _fit(
    mixture: GaussianMixture,
    x: Data,
    weight: Weighting,
    labels: Labels | None,
    options: Options,
    n_active: Count,
    ticket: Ticket | None,
) -> Solution:
    mixture, x = inputs.common_dtype(mixture, x)
    mixture = options.as_start(mixture)
    source = options.source(x, weight, mixture.covariances, of_lanes=False)
    step = options.step(source, mixture.covariances, labels)
    start = moved(mixture, -source.pivot)
    # The loop is not differentiated: its fixed point is.
    constant_step, constant_start = jax.lax.stop_gradient((step, start))
    end, state = drive(
        pinned(constant_step, constant_start), options.solver, constant_start, ticket
    )
    record = state.record
    log_likelihood = without(record.objective, log_prior_of(constant_step.m_step, end))
    value, log_likelihood = with_derivatives(
        step, start, end, log_likelihood, record.result == RESULTS.successful
    )
    resolved = options.is_resolved(end)
    result = ending(state, source, weight, n_active, resolved)
    solution = Solution.from_state(value, state, step.m_step, result, log_likelihood)
    return solution.pinned(options.frozen, mixture)
