from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._core import inputs, linalg
from .._core.aliases import Scalar
from .._core.describe import check_instance
from .._core.known import constant, is_known
from .._core.likes import AmountLike, DataLike, SampleWeightLike
from .._covariances import AbstractCovariances
from .._sources.abstract import AbstractFacts
from .dirichlet import as_positive, Dirichlet
from .log_prior import LogPrior
from .normal_inverse_wishart import NormalInverseWishart
from .pseudo_samples import PseudoSamples


class Prior(eqx.Module):
    """What is known of a mixture before the data, for fits that then maximise the
    log-likelihood plus the log-density of this prior.

    **Attributes:**

    - `weights`: a [`gmmx_eqx.Dirichlet`][], or `None` for no prior of the weights.
    - `components`: a [`gmmx_eqx.NormalInverseWishart`][] of the mean and the covariance
        of every component, or `None`.
    - `drop_below`: components whose expected count, the sum of their responsibilities
        times the sample weights, falls below this get a weight of zero and take no
        further part; never the largest. The objective may fall there. With `None`, a
        component of the prior `components` that loses all its samples keeps a weight
        next to nothing, and no component is dropped.

    **Example:**

    ```python
    x = jr.normal(jr.key(0), (200, 2)).at[:100].add(5.0)
    start = gx.GaussianMixture.from_k_means(x, 2, key=jr.key(1))
    solution = gx.fit(start, x, prior=gx.Prior.from_data(x))
    print(solution.status, solution.objective < solution.log_likelihood)
    ```

    ```text
    successful True
    ```
    """

    weights: Dirichlet | None
    components: NormalInverseWishart | None
    drop_below: Scalar | None

    def __init__(
        self,
        weights: Dirichlet | None = None,
        components: NormalInverseWishart | None = None,
        *,
        drop_below: AmountLike | None = None,
    ):
        """**Arguments:** those of the attributes.

        **Raises:**

        `ValueError` for anything else.
        """
        if weights is not None:
            check_instance(weights, Dirichlet, "weights", "Dirichlet(2.0)")
        if components is not None:
            check_instance(
                components,
                NormalInverseWishart,
                "components",
                "NormalInverseWishart(mean, 0.01, 4.0, scale)",
            )
        self.weights = weights
        self.components = components
        name = "drop_below"
        self.drop_below = None if drop_below is None else as_positive(drop_below, name)

    @classmethod
    def from_data(
        cls,
        x: DataLike,
        *,
        shrinkage: AmountLike = 0.01,
        sample_weight: SampleWeightLike | None = None,
        drop_below: AmountLike | None = None,
    ) -> "Prior":
        r"""A weak prior of the components that keeps them from collapsing: mclust's
        default.

        The mean is that of the data, with the `shrinkage` of a hundredth of a sample;
        there are $D + 2$ degrees of freedom; and the scale is the covariance of the
        data, of which each of $K$ components has the part $K^{-2/D}$. Other than
        mclust's, it is the same in whatever units the features are for families of
        independent features, too.

        **Arguments:**

        - `x`: the data, shape `(n_samples, n_features)`.
        - `shrinkage`: see [`gmmx_eqx.NormalInverseWishart`][].
        - `sample_weight`: shape `(n_samples,)`.
        - `drop_below`: see the attribute.

        **Raises:**

        `ValueError` if the covariance of the data is singular.

        **Example:**

        ```python
        x = jr.normal(jr.key(0), (200, 2))
        print(gx.Prior.from_data(x).components.degrees_of_freedom)
        ```

        ```text
        4.0
        ```
        """
        mean, covariance, d = _moments(x, sample_weight)
        components = NormalInverseWishart(
            mean, shrinkage, d + 2.0, covariance, divided=True
        )
        return cls(None, components, drop_below=drop_below)

    @classmethod
    def like_sklearn(
        cls,
        x: DataLike,
        *,
        sample_weight: SampleWeightLike | None = None,
        drop_below: AmountLike | None = None,
    ) -> "Prior":
        """The prior of the components that scikit-learn's `BayesianGaussianMixture` has
        if it is not told otherwise: a mean like that of the data by one sample, $D$
        degrees of freedom, and the covariance of the data.

        **Arguments** and **errors:** as for `from_data`.

        **Example:**

        ```python
        x = jr.normal(jr.key(0), (200, 2))
        print(gx.Prior.like_sklearn(x).components.shrinkage)
        ```

        ```text
        1.0
        ```
        """
        mean, covariance, d = _moments(x, sample_weight)
        components = NormalInverseWishart(mean, 1.0, float(d), covariance)
        return cls(None, components, drop_below=drop_below)

    def check(self, n_features: int, equal_weights: bool) -> None:
        """Raises a `ValueError` unless the prior fits the mixtures."""
        if self.weights is not None and equal_weights:
            raise ValueError(
                "`prior.weights` cannot be given together with `equal_weights`, with "
                "which weights are no parameters. Leave one of them out."
            )
        own = self.components
        if own is not None and own.n_features != n_features:
            raise ValueError(
                f"`prior` is of {own.n_features} features, but the data has "
                f"{n_features}. Make it of this data: `gmmx_eqx.Prior.from_data(x)`."
            )

    def resolve(
        self, covariances: AbstractCovariances, facts: AbstractFacts
    ) -> LogPrior:
        """As steps of EM need it.

        **Arguments:**

        - `covariances`: only their family counts.
        - `facts`: of the data.
        """
        cast = lambda array: array.astype(facts.pivot.dtype)
        weights, components, drop_below = self.weights, self.components, self.drop_below
        return LogPrior(
            None if weights is None else cast(weights.concentration),
            None
            if components is None
            else PseudoSamples.of(components, covariances, facts),
            None if drop_below is None else cast(drop_below),
        )


def _moments(x: Any, sample_weight: Any) -> tuple[Any, Any, int]:
    """Mean and covariance of the data, as for a sample of a population, and how many
    features there are."""
    x, weight = inputs.as_data(x, sample_weight, fits=True)
    weight, _ = inputs.balance(weight)
    n_samples, d = x.shape
    if is_known(x, weight):
        # NumPy compiles nothing.
        rows = np.asarray(x, np.float64)
        weights = np.ones(n_samples)
        weights = weights if weight is None else np.asarray(weight, np.float64)
        present = weights > 0
        rows, weights = rows[present], weights[present]
        mean = np.average(rows, axis=0, weights=weights)
        about = rows - mean
        total = np.sum(weights) - 1
        covariance = (weights * about.T) @ about / total if total > 0 else 0 * mean
        if covariance.ndim < 2 or np.any(np.diagonal(covariance) <= 0):
            raise ValueError(
                "`x` must vary in every feature for a prior of it; leave constant "
                "features out, or make a `gmmx_eqx.NormalInverseWishart` of your own."
            )
        return constant(mean, x.dtype), constant(covariance, x.dtype), d
    column = jnp.ones((n_samples, 1), x.dtype) if weight is None else weight[:, None]
    rows = jnp.where(column > 0, x, 0)
    mean = jnp.sum(column * rows, axis=0) / jnp.sum(column)
    about = rows - mean[None]
    square = linalg.matmul((column * about).T, about)
    return mean, square / (jnp.sum(column) - 1), d
