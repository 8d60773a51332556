import functools as ft
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float

from .._core import inputs
from .._core.aliases import Arrays
from .._core.describe import as_key, describe
from .._core.known import constant
from .._core.likes import AmountLike, DataLike, KeyLike, SampleWeightLike
from .._core.pickling import Pickled
from .._core.table import Table
from .._em import AbstractEM, Frozen
from .._fit import AbstractProgress, Solution, summary
from .._fit.options import Options
from .._fit.progress import report_to, Ticket
from .._fit.solution import statuses
from .._mixture import GaussianMixture
from .._mixture.table import has_numbers, no_error
from .._priors import Prior, RidgeLike
from . import refits
from .checks import check_fitted, Fitted, has_narrowed
from .delta import check_level
from .matching import matched
from .table import table_with_errors


_REWEIGHT = {
    "weighted": refits.exponential,
    "nonparametric": refits.multinomial,
    "jackknife": refits.without_one,
}
_KINDS = ("weighted", "nonparametric", "parametric", "jackknife")
_METHODS = ("percentile", "basic", "normal")
# Numbers in the weights, or samples, of the fits that are made by one call.
_LARGEST = 2**26

Ends: TypeAlias = tuple[Arrays, Arrays]
Function: TypeAlias = Callable[[GaussianMixture], Arrays]


class Bootstrap(Pickled, eqx.Module):
    """Fits to variations of the data, and what their spread says of the fit to the data
    itself.

    **Attributes:**

    - `mixture`: the fit to the data.
    - `solutions`: a [`gmmx_eqx.Solution`][] whose arrays have a leading axis of fits.
        Their components are in the order of those of `mixture`.
    - `kept`: which fits count, shape `(fits,)`: those that converged and in which no
        component collapsed.
    - `kind`: how the data was varied.
    - `n_samples`: of the data.
    """

    mixture: GaussianMixture
    solutions: Solution
    kept: Bool[Array, " fits"]
    kind: str = eqx.field(static=True)
    n_samples: int = eqx.field(static=True)

    def __len__(self) -> int:
        """How many fits there are."""
        return self.kept.shape[0]

    @property
    def n_kept(self) -> int:
        """How many of them count."""
        return int(np.sum(np.asarray(self.kept)))

    @property
    def standard_errors(self) -> GaussianMixture:
        """The standard error of every number of the mixture, in its place."""
        return self.standard_error(lambda mixture: mixture)

    def values(self, fn: Function) -> Arrays:
        """What a function of a mixture is in every fit that counts, on a leading axis.

        **Raises:**

        `ValueError` if fewer than two fits count.
        """
        if self.n_kept < 2:
            raise ValueError(
                f"Only {self.n_kept} of {len(self)} fits converged without a component "
                "that collapsed: their spread says nothing. Look at "
                "`solutions.status`; use fewer components or a simpler family."
            )
        # In the others there may be a NaN, which `fn` need not meet.
        put = lambda leaf, own: jnp.where(
            self.kept.reshape(-1, *[1] * own.ndim), leaf, own
        )
        mixtures = jax.tree.map(put, self.solutions.mixture, self.mixture)
        kept = np.asarray(self.kept)
        return jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf)[kept]), jax.vmap(fn)(mixtures)
        )

    def standard_error(self, fn: Function) -> Arrays:
        """The standard error of every number that a function of a mixture returns: the
        standard deviation over fits, and of a jackknife $\\sqrt{n - 1}$ times that."""
        return jax.tree.map(self._deviation, self.values(fn))

    def bias(self, fn: Function) -> Arrays:
        """By how much the mean over fits of what a function returns is more than what
        it is at the fit to the data; of a jackknife $n - 1$ times that."""
        factor = self.n_samples - 1 if self.kind == "jackknife" else 1
        return jax.tree.map(
            lambda values, own: factor * (jnp.mean(values, axis=0) - own),
            self.values(fn),
            fn(self.mixture),
        )

    def interval(
        self,
        fn: Function,
        level: AmountLike = 0.95,
        method: str | None = None,
    ) -> Ends:
        """The lower and upper ends of intervals of every number that a function of a
        mixture returns.

        **Arguments:**

        - `fn`: from a mixture to a number or a PyTree of arrays. It is mapped over fits
            by `jax.vmap`.
        - `level`: the probability that an interval holds the number.
        - `method`: `"percentile"`, between two quantiles of the fits; `"basic"`, those
            mirrored at the fit to the data; or `"normal"`, from the standard error
            alone, which is all that a jackknife has. If not given, the first of them
            that there is.

        **Raises:**

        `ValueError` for a method that there is not, or if fewer than two fits count.
        """
        level = check_level(level)
        is_jackknife = self.kind == "jackknife"
        methods = ("normal",) if is_jackknife else _METHODS
        method = methods[0] if method is None else method
        if method not in methods:
            raise ValueError(
                f"`method` must be one of {', '.join(map(repr, methods))} of a "
                f"{self.kind} bootstrap; got {describe(method)}."
            )
        values, own = self.values(fn), fn(self.mixture)
        shares = 0.5 - level / 2, 0.5 + level / 2

        def ends(values: Array, own: Array) -> tuple[Array, Array]:
            if method == "normal":
                width = NormalDist().inv_cdf(shares[1]) * self._deviation(values)
                return own - width, own + width
            lower, upper = np.quantile(np.asarray(values), shares, axis=0)
            if method == "basic":
                lower, upper = 2 * own - upper, 2 * own - lower
            return jnp.asarray(lower, values.dtype), jnp.asarray(upper, values.dtype)

        pairs = jax.tree.map(ends, values, own)
        outer = jax.tree.structure(own)
        return jax.tree.transpose(outer, jax.tree.structure((0, 0)), pairs)

    def _deviation(self, values: Float[Array, "kept ..."]) -> Float[Array, "..."]:
        if self.kind != "jackknife":
            return jnp.std(values, axis=0, ddof=1)
        return (self.n_samples - 1) ** 0.5 * jnp.std(values, axis=0)

    def __repr__(self) -> str:
        """How many fits ended in which way, and every number with its standard error;
        without numbers the tree of its leaves."""
        table = _table_of(self)
        return eqx.tree_pformat(self) if table is None else table.text()

    def _repr_html_(self) -> str | None:
        table = _table_of(self)
        return None if table is None else table.html()


def bootstrap(
    solution: Solution,
    x: DataLike,
    n_boot: int = 999,
    *,
    key: KeyLike,
    kind: str = "weighted",
    sample_weight: SampleWeightLike | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | None = None,
    samples_per_chunk: int | None = None,
    equal_weights: bool = False,
    prior: Prior | None = None,
    frozen: Frozen | None = None,
    width: int = 64,
    progress: AbstractProgress | bool = False,
) -> Bootstrap:
    """How sure a fit is, from fits to variations of its data: each begins where the fit
    ended, and all are one program.

    **Arguments:**

    - `solution`: of one fit, which has converged.
    - `x`, `sample_weight`, `reg_covar`, `solver`, `samples_per_chunk`,
        `equal_weights`, `prior`, `frozen`: as they were given to the fit, whose ridge
        and prior all fits have. A weight of two is two samples.
    - `n_boot`: how many fits.
    - `key`: a `jax.random` key.
    - `kind`: how the data is varied.
        `"weighted"`: every sample has a weight drawn from an exponential distribution,
        so that none is ever missing and components hardly ever collapse.
        `"nonparametric"`: samples are drawn with replacement.
        `"parametric"`: as many samples are drawn from the mixture.
        `"jackknife"`: one sample is left out, each in turn, or `n_boot` of them at
        random if there are more.
    - `width`: how many fits are computed side by side.
    - `progress`: as in [`gmmx_eqx.fit_restarts`][].

    **Returns:**

    A [`gmmx_eqx.uncertainty.Bootstrap`][], with standard errors and intervals of any
    function. Components of every fit are matched to those of `solution`. A fit that
    fails, or in which a component collapses, is counted, and does not count.

    **Raises:**

    `ValueError` for a fit that has not converged, that is on a boundary of the
    parameters, which says whose, and for fewer samples than free parameters.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (400, 1))
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x)
    boot = gx.bootstrap(solution, x, 99, key=jr.key(1))
    lower, upper = boot.interval(lambda mixture: mixture.means_squeezed)
    print(boot.n_kept, lower < upper)
    ```

    ```text
    99 [[ True]]
    ```

    ??? cite "Reference"

        Rubin (1981), The Bayesian Bootstrap. Annals of Statistics 9(1), 130-134. For
        `"weighted"`.

        Efron, Tibshirani (1993), An Introduction to the Bootstrap. Chapman & Hall.

        O'Hagan, Murphy, Scrucca, Gormley (2019), Investigation of Parameter Uncertainty
        in Clustering Using a Gaussian Mixture Model via Jackknife, Bootstrap and
        Weighted Likelihood Bootstrap. Computational Statistics 34, 1779-1813.
    """
    if kind not in _KINDS:
        raise ValueError(
            f"`kind` must be one of {', '.join(map(repr, _KINDS))}; got "
            f"{describe(kind)}."
        )
    n_boot = inputs.check_count(n_boot, "n_boot")
    width = inputs.check_count(width, "width")
    key = as_key(key)
    if kind == "jackknife" and sample_weight is not None:
        raise ValueError(
            "`sample_weight` says of how many samples each is, and a jackknife leaves "
            'out one at a time. Use `kind="weighted"`, or repeat samples.'
        )
    fitted = check_fitted(solution, x, sample_weight, equal_weights, frozen, prior)
    mixture = fitted.coordinates.mixture
    options = Options.create(
        mixture.n_features,
        reg_covar=reg_covar,
        solver=solver,
        samples_per_chunk=samples_per_chunk,
        equal_weights=equal_weights,
        prior=prior,
        frozen=frozen,
    )
    run = ft.partial(_fits, fitted, options, kind, n_boot, key, width)
    n_fits = min(n_boot, fitted.n_samples) if kind == "jackknife" else n_boot
    solutions = report_to(progress, "fit", n_fits, run)
    mixtures = matched(solutions.mixture, mixture)
    solutions = eqx.tree_at(lambda s: s.mixture, solutions, mixtures)
    data = fitted.x[: fitted.n_samples]
    kept = np.asarray(solutions.converged) & ~has_narrowed(mixtures, mixture, data)
    return Bootstrap(mixture, solutions, jnp.asarray(kept), kind, fitted.n_samples)


def _fits(
    fitted: Fitted,
    options: Options,
    kind: str,
    n_boot: int,
    key: Any,
    width: int,
    ticket: Ticket | None,
) -> Solution:
    """All fits, in as many calls of one program as memory asks for."""
    mixture, x, weight, n_samples = (
        fitted.coordinates.mixture,
        fitted.x,
        fitted.weight,
        fitted.n_samples,
    )
    left_out = np.zeros(n_boot, int)
    if kind == "jackknife":
        left_out = np.arange(n_samples)
        if n_boot < n_samples:
            left_out = np.sort(np.asarray(jr.permutation(key, n_samples))[:n_boot])
    keys = jr.split(key, left_out.size)
    most = max(_LARGEST // x.size, width)
    n_calls = -(-left_out.size // most)
    n_each = -(-left_out.size // n_calls)
    # Of equal size; the last one is filled up.
    lanes = np.minimum(np.arange(n_calls * n_each), left_out.size - 1)
    parts = []
    for begin in range(0, lanes.size, n_each):
        own = lanes[begin : begin + n_each]
        used = constant(min(n_each, left_out.size - begin))
        more = None if ticket is None else ticket.after(begin)
        if kind == "parametric":
            n_draws = int(np.rint(np.sum(np.asarray(weight, np.float64))))
            args = keys[own], n_draws, used, options, min(width, n_each), more
            parts.append(refits.fit_drawn(mixture, x, weight, *args))
        else:
            args = keys[own], constant(left_out[own]), used, options, _REWEIGHT[kind]
            args = *args, min(width, n_each), more
            parts.append(refits.fit_reweighted(mixture, x, weight, *args))
    join = lambda *leaves: jnp.concatenate(leaves)[: left_out.size]
    return parts[0] if n_calls == 1 else jax.tree.map(join, *parts)


@no_error
def _table_of(boot: Bootstrap) -> Table | None:
    if not has_numbers((boot.mixture, boot.kept)):
        return None
    collapsed = np.asarray(boot.solutions.converged) & ~np.asarray(boot.kept)
    names = np.where(collapsed, "component_collapsed", statuses(boot.solutions))
    title = f"Bootstrap: {boot.kind}, {summary.of_fits(names)}"
    return table_with_errors(title, boot.mixture, boot.standard_errors)
