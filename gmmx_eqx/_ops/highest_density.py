from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._core import inputs
from .._core.aliases import PerDatum
from .._core.describe import as_key, describe
from .._core.likes import AmountLike, DataLike, KeyLike
from .._core.pickling import Pickled
from .._core.programs import program
from .._mixture import AbstractGaussianMixture, check_mixture


class HighestDensity(Pickled, eqx.Module):
    """Regions that hold given shares of all probability and are as small as such
    regions can be: where the density is at least a threshold.

    **Attributes:**

    - `mixture`: whose regions they are.
    - `shares`: of the probability, shape `(regions,)`, in ascending order.
    - `log_thresholds`: the least log-density in each region, in nats, shape
        `(regions,)`.
    """

    mixture: AbstractGaussianMixture
    shares: Float[Array, " regions"]
    log_thresholds: Float[Array, " regions"]

    def contains(self, x: DataLike) -> Bool[Array, "batch regions"]:
        """Which regions each sample is in, shape `(n_samples, regions)`."""
        return self.mixture.log_prob(x)[:, None] >= self.log_thresholds[None]

    def share_of(self, x: DataLike) -> Float[Array, " batch"]:
        """The smallest of the shares whose region each sample is in, shape
        `(n_samples,)`; one where it is in none."""
        ends = jnp.append(self.shares, 1)
        index = jnp.sum(~self.contains(x), axis=1)
        return ends[index]


def highest_density(
    mixture: AbstractGaussianMixture,
    shares: Sequence[float] | AmountLike = (0.5, 0.9),
    *,
    key: KeyLike,
    n_samples: int = 100_000,
) -> HighestDensity:
    r"""The smallest regions that hold given shares of a mixture's probability.

    Their thresholds are quantiles of the log-density over samples of the mixture, for
    any number of features. A region for the share $a$ then holds it to within a
    standard deviation of $\sqrt{a (1 - a) / n}$ for `n_samples`: 0.0016 or less, if not
    given.

    **Arguments:**

    - `mixture`: one mixture.
    - `shares`: one or more numbers between zero and one.
    - `key`: a `jax.random` key.
    - `n_samples`: a Python integer.

    **Returns:**

    A [`gmmx_eqx.uncertainty.HighestDensity`][]. `plot_mixture(mixture, x,
    regions=...)` draws it.

    **Raises:**

    `ValueError` for a share that is not between zero and one.

    **Example:**

    ```python
    mixture = gx.GaussianMixture.create(n_components=1, n_features=2)
    regions = gx.highest_density(mixture, [0.5, 0.9], key=jr.key(0))
    print(regions.contains([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]]))
    ```

    ```text
    [[ True  True]
     [False  True]
     [False False]]
    ```

    ??? cite "Reference"

        Hyndman (1996), Computing and Graphing Highest Density Regions. The American
        Statistician 50(2), 120-126.
    """
    check_mixture(mixture)
    mixture.check_one()
    key = as_key(key)
    n_samples = inputs.check_count(n_samples, "n_samples")
    numbers = np.atleast_1d(np.asarray(inputs.as_numbers(shares, "shares"), float))
    if (
        numbers.ndim != 1
        or not numbers.size
        or not np.all((numbers > 0) & (numbers < 1))
    ):
        raise ValueError(
            "`shares` must be numbers between 0 and 1, such as `[0.5, 0.9]`; got "
            f"{describe(shares)}."
        )
    numbers = np.sort(numbers)
    values = np.asarray(_log_probs(mixture, key, n_samples))
    thresholds = np.quantile(values, 1 - numbers)
    dtype = values.dtype
    return HighestDensity(
        mixture, jnp.asarray(numbers, dtype), jnp.asarray(thresholds, dtype)
    )


@program()
def _log_probs(mixture: AbstractGaussianMixture, key: Any, n_samples: int) -> PerDatum:
    return mixture.log_prob(mixture.sample(key, n_samples))
