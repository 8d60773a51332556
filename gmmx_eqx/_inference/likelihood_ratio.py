import functools as ft
from collections.abc import Iterable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._core import buckets, inputs
from .._core.aliases import Scalar
from .._core.describe import as_key, describe
from .._core.known import constant
from .._core.likes import AmountLike, DataLike, KeyLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._core.table import Table
from .._covariances import covariance_class, CovarianceType, FamilyLike
from .._em import AbstractEM
from .._fit import AbstractProgress, Solution
from .._fit.error import raise_unless_successful
from .._fit.options import as_initialiser, Options
from .._fit.progress import report_to, Ticket
from .._fit.random_starts import RandomStarts
from .._fit.shares import fit_sets_in_shares
from .._fit.solution import take, with_components
from .._initialisers import AbstractInitialiser, Hierarchical
from .._mixture import GaussianMixture
from .._mixture.table import has_numbers, no_error
from .._priors import RidgeLike
from .checks import has_narrowed
from .delta import check_level


class LikelihoodRatio(Pickled, eqx.Module):
    """A test of a number of components against the next one.

    **Attributes:**

    - `null`, `alternative`: a [`gmmx_eqx.Solution`][] each, of fewer components and of
        more.
    - `statistic`: twice the difference of their log-likelihoods.
    - `bootstrap`: the statistics of data drawn from the null's mixture, in ascending
        order, of which those do not count whose fits failed or in which a component
        collapsed.
    - `n_failed`: how many these were.
    """

    null: Solution
    alternative: Solution
    statistic: Scalar
    bootstrap: Float[Array, " kept"]
    n_failed: int = eqx.field(static=True)

    @property
    def p_value(self) -> float:
        """The share of statistics, that of the data included, that are at least as
        large: how likely one is if the null is true."""
        beyond = int(np.sum(np.asarray(self.bootstrap >= self.statistic)))
        return (1 + beyond) / (1 + self.bootstrap.size)


class LikelihoodRatios(Pickled, eqx.Module):
    """Tests one after the other, each of one more component; prints as a table.

    **Attributes:**

    - `tests`: a [`gmmx_eqx.uncertainty.LikelihoodRatio`][] each.
    - `level`: p-values up to this reject the null.
    """

    tests: tuple[LikelihoodRatio, ...]
    level: float = eqx.field(static=True)

    def __len__(self) -> int:
        return len(self.tests)

    def __getitem__(self, index: int) -> LikelihoodRatio:
        return self.tests[index]

    def __iter__(self) -> Iterator[LikelihoodRatio]:
        return iter(self.tests)

    @property
    def best(self) -> Solution:
        """The fit with the fewest components that is not rejected; the one with the
        most if all others are."""
        for test in self.tests:
            if test.p_value > self.level:
                return test.null
        return self.tests[-1].alternative

    def __repr__(self) -> str:
        table = _table_of(self)
        return eqx.tree_pformat(self) if table is None else table.text()

    def _repr_html_(self) -> str | None:
        table = _table_of(self)
        return None if table is None else table.html()


def likelihood_ratio_test(
    x: DataLike,
    n_components: Iterable[int] = range(1, 10),
    covariance_type: FamilyLike = CovarianceType.full,
    n_boot: int = 199,
    *,
    key: KeyLike,
    level: AmountLike = 0.05,
    n_restarts: int = 1,
    initialiser: AbstractInitialiser | None = None,
    reg_covar: RidgeLike = None,
    solver: AbstractEM | None = None,
    samples_per_chunk: int | None = None,
    resolution: AmountLike | None = None,
    equal_weights: bool = False,
    width: int = 64,
    progress: AbstractProgress | bool = False,
) -> LikelihoodRatios:
    r"""Tests of how many components there are, by the parametric bootstrap of the
    likelihood ratio: each number against the next one, until one is not rejected.

    The statistic $2 (\log L_1 - \log L_0)$ has no $χ^2$ distribution here: under the
    null a component of the alternative has no weight or no place. So data is drawn from
    the null's fit, `n_boot` times, and both are fitted to it as they were to the data.
    All fits are one program.

    **Arguments:**

    - `x`: the data, shape `(n_samples, n_features)`.
    - `n_components`: at least two numbers of components, in ascending order.
    - `covariance_type`: the family of all.
    - `n_boot`: how many data sets are drawn for each test. The least p-value is
        `1 / (n_boot + 1)`.
    - `key`: a `jax.random` key.
    - `level`: tests end after the first p-value above; 1 for all tests.
    - `n_restarts`, `initialiser`: how each fit starts;
        [`gmmx_eqx.Hierarchical`][], which needs one start, if not given.
    - `reg_covar`, `solver`, `samples_per_chunk`, `resolution`, `equal_weights`,
        `width`, `progress`: as in [`gmmx_eqx.fit_restarts`][].

    **Returns:**

    A [`gmmx_eqx.uncertainty.LikelihoodRatios`][]. A statistic is as good as the fits:
    where a better maximum is found it is larger, for the data and for what is drawn.

    **Raises:**

    `ValueError` for arguments that cannot be right, and a [`gmmx_eqx.FitError`][] if a
    fit to the data does not converge.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (60, 1)).at[:30].add(6.0)
    tests = gx.likelihood_ratio_test(x, [1, 2], "tied", 19, key=jr.key(1))
    print(tests.best.mixture.n_components, tests[0].p_value)
    ```

    ```text
    2 0.05
    ```

    ??? cite "Reference"

        McLachlan (1987), On Bootstrapping the Likelihood Ratio Test Statistic for the
        Number of Components in a Normal Mixture. Applied Statistics 36(3), 318-324.
    """
    data, _ = inputs.as_data(x, fits=True)
    counts = _as_counts(n_components)
    inputs.check_enough_samples(data, None, counts[-1])
    n_boot = inputs.check_count(n_boot, "n_boot")
    n_restarts = inputs.check_count(n_restarts, "n_restarts")
    width = inputs.check_count(width, "width")
    # One is no level of an interval, but a test may be.
    level = 1.0 if np.ndim(level) == 0 and level == 1 else check_level(level)
    key = as_key(key)
    options = Options.create(
        data.shape[1],
        reg_covar=reg_covar,
        solver=solver,
        samples_per_chunk=samples_per_chunk,
        resolution=resolution,
        equal_weights=equal_weights,
    )
    starts = Hierarchical() if initialiser is None else as_initialiser(initialiser)
    fits = RandomStarts(
        covariance_class(covariance_type),
        counts[-1],
        starts,
        options,
        width=min(width, n_boot * n_restarts),
    )
    run = ft.partial(_tests, fits, data, counts, n_boot, n_restarts, level, key)
    return LikelihoodRatios(tuple(report_to(progress, "fit", None, run)), level)


def _as_counts(n_components: Any) -> tuple[int, ...]:
    is_many = isinstance(n_components, Iterable) and not isinstance(n_components, str)
    counts = tuple(n_components) if is_many else ()
    counts = tuple(inputs.check_count(n, "n_components") for n in counts)
    ascending = all(a < b for a, b in zip(counts, counts[1:], strict=False))
    if len(counts) < 2 or not ascending:
        raise ValueError(
            "`n_components` must be at least two numbers in ascending order, such as "
            f"`range(1, 4)`; got {describe(n_components)}."
        )
    return counts


def _tests(
    fits: RandomStarts,
    x: Array,
    counts: tuple[int, ...],
    n_boot: int,
    n_restarts: int,
    level: float,
    key: Any,
    ticket: Ticket | None,
) -> list[LikelihoodRatio]:
    key_fit, key_draw = jr.split(key)
    n_done = 0

    def fitted(xs: Array, n_components: int, n_sets: int) -> Solution:
        """The best fit to each of the first data sets."""
        nonlocal n_done
        more = None if ticket is None else ticket.after(n_done)
        n_done += n_sets * n_restarts
        n_all = xs.shape[0]
        filled, weights = buckets.fill_sets(xs, None, n_restarts, key_fit, fits)
        # As many components for all tests, so that they are one program.
        args = key_fit, n_restarts, constant(n_components), n_sets, more
        best = fit_sets_in_shares(fits, filled, weights, *args)
        best = jax.tree.map(lambda leaf: buckets.cut(leaf, n_all), best)
        return with_components(best, n_components)

    def of_data(solutions: Solution, n_components: int) -> Solution:
        where = f"{n_components} components: "
        solution = take(solutions, 0)
        return raise_unless_successful(solution, solution, where)

    alike = jnp.broadcast_to(x, (n_boot + 1, *x.shape))
    null, tests = of_data(fitted(alike, counts[0], 1), counts[0]), []
    keys = jr.split(key_draw, len(counts) - 1)
    for fewer, more, own in zip(counts, counts[1:], keys, strict=False):
        drawn = _drawn(null.mixture, jr.split(own, n_boot), len(x))
        xs = jnp.concatenate([x[None], drawn.astype(x.dtype)])
        nulls, alternatives = (fitted(xs, n, n_boot + 1) for n in (fewer, more))
        alternative = of_data(alternatives, more)
        test = _compare(null, alternative, nulls, alternatives, x)
        tests.append(test)
        if test.p_value > level:
            break
        null = alternative
    return tests


def _compare(
    null: Solution,
    alternative: Solution,
    nulls: Solution,
    alternatives: Solution,
    x: Array,
) -> LikelihoodRatio:
    def ratio(fewer: Any, more: Any) -> np.ndarray:
        # The alternative's maximum is not lower, whatever a fit has found.
        difference = np.asarray(more.log_likelihood - fewer.log_likelihood)
        return np.asarray(2 * np.maximum(difference, 0))

    kept = np.asarray(nulls.converged & alternatives.converged)
    narrowed = has_narrowed(alternatives.mixture, alternative.mixture, x)
    # The first is the data.
    kept = np.flatnonzero((kept & ~narrowed)[1:]) + 1
    found = np.sort(ratio(nulls, alternatives)[kept])
    return LikelihoodRatio(
        null,
        alternative,
        jnp.asarray(ratio(null, alternative)),
        jnp.asarray(found),
        len(nulls) - 1 - kept.size,
    )


@program()
def _drawn(
    mixture: GaussianMixture, keys: Any, n_samples: int
) -> Float[Array, "sets samples features"]:
    """Data sets drawn from a mixture."""
    return jax.vmap(lambda key: mixture.sample(key, n_samples))(keys)


@no_error
def _table_of(tests: LikelihoodRatios) -> Table | None:
    if not has_numbers([test.statistic for test in tests.tests]):
        return None
    family = tests.tests[0].null.mixture.covariances.type
    head = ("null", "alternative", "statistic", "p-value", "drawn", "failed")
    rows = tuple(
        (
            str(test.null.mixture.n_components),
            str(test.alternative.mixture.n_components),
            f"{float(test.statistic):.4f}",
            f"{test.p_value:.4g}",
            str(test.bootstrap.size + test.n_failed),
            str(test.n_failed),
        )
        for test in tests.tests
    )
    best = tests.best.mixture.n_components
    title = (
        f"LikelihoodRatios: {family}, {best} components at the level {tests.level:g}"
    )
    return Table((title,), head, rows)
