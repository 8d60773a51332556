import equinox as eqx

from .._core.describe import describe
from .passes import AbstractPasses
from .solver import AbstractEM


class InTurn(eqx.Module):
    """One solver after the other, each from where the one before it ended.

    A fit ends as its last solver does. Its `n_steps` are the steps of all, of which a
    pass of [`gmmx_eqx.Stepwise`][] or [`gmmx_eqx.Incremental`][] is one.

    **Attributes:**

    - `solvers`: in their order.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (4000, 2)).at[::2].add(5.0)
    start = gx.GaussianMixture.from_k_means(x[:100], 2, key=jr.key(1))
    solver = gx.InTurn(gx.Stepwise(), gx.SQUAREM())
    print(gx.fit(start, x, solver=solver).status)
    ```

    ```text
    successful
    ```
    """

    solvers: tuple[AbstractEM | AbstractPasses, ...]

    def __init__(self, *solvers: AbstractEM | AbstractPasses):
        """**Arguments:**

        - `solvers`: [`gmmx_eqx.EM`][], [`gmmx_eqx.SQUAREM`][],
            [`gmmx_eqx.Stepwise`][], [`gmmx_eqx.Incremental`][] or others of their
            abstract classes.

        **Raises:**

        `ValueError` if there is none, or one is no solver.
        """
        if not solvers:
            raise ValueError(
                "`solvers` must be at least one solver, such as "
                "`gmmx_eqx.InTurn(gmmx_eqx.Stepwise(), gmmx_eqx.SQUAREM())`."
            )
        for solver in solvers:
            if not isinstance(solver, AbstractEM | AbstractPasses):
                raise ValueError(
                    "`solvers` must be solvers, such as `gmmx_eqx.EM()`; got "
                    f"{describe(solver)}."
                )
        self.solvers = solvers
