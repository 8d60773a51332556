from collections.abc import Callable

import jax
import jax.numpy as jnp

from .._core.aliases import Arrays
from .._core.describe import check_instance, describe
from .._mixture import GaussianMixture
from .delta import deviations, Uncertain
from .standard_errors import StandardErrors


def delta_method(
    fn: Callable[[GaussianMixture], Arrays],
    errors: StandardErrors,
) -> Uncertain:
    r"""The standard errors of a function of a fitted mixture: $\sqrt{J C J^T}$, with
    the derivatives $J$ of the function and the covariance $C$ of the parameters.

    **Arguments:**

    - `fn`: from a mixture to a number, or to a PyTree of arrays, such as a mean,
        `lambda mixture: mixture.log_prob(x)` or the mixture itself. It must have
        derivatives, by forward mode.
    - `errors`: from [`gmmx_eqx.standard_errors`][].

    **Returns:**

    A [`gmmx_eqx.uncertainty.Uncertain`][]: what `fn` returns, with standard errors and
    intervals. Where `fn` bends within them, as the logarithm of a small number does,
    take [`gmmx_eqx.bootstrap`][].

    **Raises:**

    `ValueError` if `fn` returns what has no derivatives, such as labels.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (400, 1))
    solution = gx.fit(gx.GaussianMixture.create(1, 1), x)
    errors = gx.standard_errors(solution, x)
    density = gx.delta_method(lambda mixture: mixture.log_prob([[0.0]]), errors)
    lower, upper = density.interval(0.95)
    print(lower < density.value, density.value < upper)
    ```

    ```text
    [ True] [ True]
    ```

    ??? cite "Reference"

        van der Vaart (1998), Asymptotic Statistics. Cambridge University Press.
        Chapter 3.
    """
    check_instance(errors, StandardErrors, "errors", "standard_errors(solution, x)")
    if not callable(fn):
        raise ValueError(
            "`fn` must be a function of a mixture, such as `lambda mixture: "
            f"mixture.log_prob(x)`; got {describe(fn)}."
        )
    value = fn(errors.mixture)
    for leaf in jax.tree.leaves(value):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                "`fn` must return floating-point numbers, which have derivatives; it "
                f"returned {describe(leaf)}."
            )
    along = lambda move: jax.jvp(fn, (errors.mixture,), (move,))[1]
    moves = jax.vmap(along)(errors.moves)
    found = deviations(moves, errors.covariance)
    return Uncertain(jax.tree.map(jnp.asarray, value), found)
