from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import inputs
from .._core.aliases import Data, PerDatum, SampleWeight
from .._core.likes import VectorLike


class Uniform(eqx.Module):
    """The uniform density on a box, as a background that samples may belong to rather
    than to any component.

    **Attributes:**

    - `low`: the least value of each output, shape `(n_outputs,)`, in data units.
    - `high`: the largest.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:20].multiply(9.0)
    start = gx.GaussianMixture.from_k_means(x, 1, key=jr.key(1))
    box = gx.Uniform([-30.0, -30.0], [30.0, 30.0])
    solution = gx.fit(start, x, background=box)
    print(solution.background_weight.round(2))
    ```

    ```text
    0.07
    ```

    ??? cite "Reference"

        Banfield, Raftery (1993), Model-Based Gaussian and Non-Gaussian Clustering.
        Biometrics 49(3), 803-821.
    """

    low: Float[Array, " m"]
    high: Float[Array, " m"]

    def __init__(self, low: VectorLike, high: VectorLike):
        """**Arguments:**

        - `low`, `high`: shape `(n_outputs,)`, in data units; a number will do for one
            output.

        **Raises:**

        `ValueError` for an empty box, or one that is not finite.
        """
        self.low, self.high = _as_corner(low, "low"), _as_corner(high, "high")
        if self.low.shape != self.high.shape:
            raise ValueError(
                f"`low` and `high` must have the same shape; got {self.low.shape} and "
                f"{self.high.shape}."
            )
        low_numbers, high_numbers = map(inputs.concrete, (self.low, self.high))
        if low_numbers is None or high_numbers is None:
            return
        empty = np.flatnonzero(~(low_numbers < high_numbers))
        if empty.size:
            i = int(empty[0])
            raise ValueError(
                f"`low` must be less than `high` in every output; output {i} goes from "
                f"{low_numbers[i]:.6g} to {high_numbers[i]:.6g}: the box is empty."
            )

    def check(self, y: Data, weight: SampleWeight | None) -> None:
        """Raises a `ValueError` if the box is of another size, or if known samples of
        positive weight are outside of it."""
        if self.low.shape != y.shape[1:]:
            raise ValueError(
                f"`background` is a box of {self.low.size} outputs, but the data has "
                f"{y.shape[1]}."
            )
        numbers, low, high = map(inputs.concrete, (y, self.low, self.high))
        weights = np.ones(1) if weight is None else inputs.concrete(weight)
        if numbers is None or low is None or high is None or weights is None:
            return
        outside = ((numbers < low) | (numbers > high)) & (weights > 0)[:, None]
        if np.any(outside):
            n, i = np.argwhere(outside)[0].tolist()
            raise ValueError(
                f"`background` must hold all data: sample {n} is {numbers[n, i]:.6g} "
                f"in output {i}, outside of {low[i]:.6g} ... {high[i]:.6g}. Enlarge "
                "the box, or leave the sample out."
            )

    def __call__(self, y: Data) -> PerDatum:
        """The log-density of what is there of every sample, in nats; -inf outside."""
        missing = jnp.isnan(y)
        inside = missing | ((y >= self.low[None]) & (y <= self.high[None]))
        each = jnp.where(missing, 0, -jnp.log(self.high - self.low)[None])
        return jnp.sum(jnp.where(inside, each, -jnp.inf), axis=1).astype(y.dtype)


def _as_corner(value: Any, name: str) -> Array:
    array = jnp.atleast_1d(inputs.as_float(value, name))
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must have one number for each output; got shape {array.shape}."
        )
    inputs.check_finite(array, name)
    return array
