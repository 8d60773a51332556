import functools as ft
from collections.abc import Callable, Iterator
from typing import Any, TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._core import buckets, inputs, linalg
from .._core.aliases import (
    Data,
    Labels,
    Means,
    PerDatum,
    PerDatumComponent,
    PerSample,
    Scalar,
    Weighting,
    Weights,
)
from .._core.axes import Axis
from .._core.describe import as_key
from .._core.hints import no_attribute
from .._core.known import constant
from .._core.likes import DataLike, KeyLike, SampleWeightLike
from .._core.pickling import Pickled
from .._core.placement import all_on_automatic_mesh
from .._core.processes import check_process
from .._core.programs import program
from .._core.spread import Spread, spread_of
from .._core.weights import log_unit, unbalance, Unit
from .._covariances import AbstractCovariances, log_density
from .._sources import Block, Blocks, check_blocks, Observed, total_of
from . import densities, padding, sampling
from .hints import ATTRIBUTES
from .latent import of_observed, total_of_observed


class AbstractGaussianMixture(Pickled, eqx.Module):
    """Everything that follows from the weights, means and covariances of a mixture.

    A subclass has the three as fields or as properties. Data is handed in with shape
    `(n_samples, n_features)`, or as [`gmmx_eqx.Observed`][]; densities are in nats, in
    inverse units of the data.

    **Attributes:**

    - `weights`: shape `(1, components, 1, 1)`; they sum to one.
    - `means`: shape `(1, components, features, 1)`, in the units of the data.
    - `covariances`: a [`gmmx_eqx.extend.AbstractCovariances`][].
    """

    weights: eqx.AbstractVar[Weights]
    means: eqx.AbstractVar[Means]
    covariances: eqx.AbstractVar[AbstractCovariances]

    @property
    def _means_shape(self) -> tuple[int, ...]:
        # A subclass whose means are computed knows their shape without that.
        return self.means.shape

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            no_attribute(self, name, ATTRIBUTES.get(name))

    def __len__(self) -> int:
        """The number of mixtures in an ensemble."""
        if len(self._means_shape) <= len(Axis):
            raise TypeError("A single mixture has no length: see `n_components`.")
        return self._means_shape[0]

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: Any) -> "AbstractGaussianMixture":
        """One mixture of an ensemble, or the ensemble of a slice or an index array."""
        check_process()
        n_mixtures = len(self)
        if isinstance(index, int) and not -n_mixtures <= index < n_mixtures:
            raise IndexError(f"Mixture {index} of an ensemble of {n_mixtures}.")
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __iter__(self) -> Iterator["AbstractGaussianMixture"]:
        return (self[index] for index in range(len(self)))

    @property
    def n_components(self) -> int:
        """The number of components, those of weight zero included."""
        return self._means_shape[Axis.components]

    @property
    def n_features(self) -> int:
        """The number of features."""
        return self._means_shape[Axis.features]

    @property
    def n_parameters(self) -> int:
        r"""The number of free parameters: the weights sum to one.

        A mixture does not know how it was fitted. After a fit with `equal_weights` it
        has $K - 1$ parameters fewer: `aic` is too high by $2 (K - 1)$, and `bic` and
        `icl` by $(K - 1) \log n$. The table of [`gmmx_eqx.select`][] is right.
        """
        own = self.n_components - 1 + self.n_components * self.n_features
        return own + self.covariances.n_parameters

    @property
    def log_weights(self) -> Weights:
        """The logarithm of the weights, -inf for a weight of zero."""
        return linalg.safe_log(self.weights)

    @property
    def weights_squeezed(self) -> Float[Array, "*ensemble components"]:
        """The weights, shape `(components,)`: a JAX array, also inside `jit`."""
        return self.weights[..., 0, :, 0, 0]

    @property
    def means_squeezed(self) -> Float[Array, "*ensemble components features"]:
        """The means, shape `(components, features)`: a JAX array, also inside `jit`;
        see `covariances.values_squeezed` for the covariances."""
        return self.means[..., 0, :, :, 0]

    @property
    def weights_numpy(self) -> np.ndarray:
        """The weights, shape `(components,)`."""
        axes = (Axis.batch, Axis.features, Axis.features_covar)
        return np.squeeze(np.asarray(self.weights), axis=axes)

    @property
    def means_numpy(self) -> np.ndarray:
        """The means, shape `(components, features)`."""
        axes = (Axis.batch, Axis.features_covar)
        return np.squeeze(np.asarray(self.means), axis=axes)

    def estimate_log_prob(self, x: DataLike | Observed) -> PerSample:
        r"""The joint log-density $\log w_k + \log N(x_n | μ_k, Σ_k)$ of every sample
        and component, shape `(n_samples, components, 1, 1)`."""
        return self._evaluate(x, densities.joint)

    def log_prob(self, x: DataLike | Observed) -> PerDatum:
        """The log-density of every sample, shape `(n_samples,)`.

        Its gradients are finite: far from all modes, and at a weight of zero, too.

        **Example:**

        ```python
        mixture = gx.GaussianMixture.create(n_components=1, n_features=2)
        print(mixture.log_prob([[0.0, 0.0], [1.0, 1.0]]).round(3))
        ```

        ```text
        [-1.838 -2.838]
        ```
        """
        return self._evaluate(x, densities.log_prob)

    def score_samples(self, x: DataLike | Observed) -> PerDatum:
        """The same as `log_prob`, by scikit-learn's name."""
        return self.log_prob(x)

    def predict(self, x: DataLike | Observed) -> Labels:
        """The most probable component of every sample, shape `(n_samples,)`.

        **Example:**

        ```python
        mixture = gx.GaussianMixture.from_squeezed(
            [[0.0], [5.0]], [1.0, 1.0], [0.5, 0.5], "spherical"
        )
        print(mixture.predict([[-1.0], [6.0], [1.0]]))
        ```

        ```text
        [0 1 0]
        ```
        """
        return self._evaluate(x, densities.predict)

    def predict_proba(self, x: DataLike | Observed) -> PerDatumComponent:
        """The responsibilities $p(k | x_n)$, shape `(n_samples, components)`.

        **Example:**

        ```python
        mixture = gx.GaussianMixture.from_squeezed(
            [[0.0], [2.0]], [1.0, 1.0], [0.5, 0.5], "spherical"
        )
        print(mixture.predict_proba([[0.0], [1.0]]).round(3))
        ```

        ```text
        [[0.88100004 0.119     ]
         [0.5        0.5       ]]
        ```
        """
        return self._evaluate(x, densities.predict_proba)

    def score(
        self,
        x: DataLike | Observed | Blocks,
        sample_weight: SampleWeightLike | None = None,
    ) -> Scalar:
        """The mean log-density of the samples, weighted with `sample_weight`; of
        [`gmmx_eqx.blocks`][], too, as `aic`, `bic` and `icl`."""
        total, n_samples, _ = self._totals(x, sample_weight, densities.log_prob)
        return total / n_samples

    def aic(
        self,
        x: DataLike | Observed | Blocks,
        sample_weight: SampleWeightLike | None = None,
    ) -> Scalar:
        r"""Akaike's information criterion, $-2 \log L + 2 p$; lower is better."""
        total, _, unit = self._totals(x, sample_weight, densities.log_prob)
        return -2 * unbalance(total, unit) + 2 * self.n_parameters

    def bic(
        self,
        x: DataLike | Observed | Blocks,
        sample_weight: SampleWeightLike | None = None,
    ) -> Scalar:
        r"""The Bayesian information criterion, $-2 \log L + p \log n$ (Schwarz 1978);
        lower is better. $n$ is the sum of `sample_weight`."""
        return self._bayesian(*self._totals(x, sample_weight, densities.log_prob))

    def icl(
        self,
        x: DataLike | Observed | Blocks,
        sample_weight: SampleWeightLike | None = None,
    ) -> Scalar:
        """The integrated completed likelihood: BIC with every sample given to its most
        probable component, so that it also asks for separate clusters; lower is better.

        ??? cite "Reference"

            Biernacki, Celeux, Govaert (2000), Assessing a Mixture Model for Clustering
            with the Integrated Completed Likelihood. IEEE PAMI 22(7), 719-725.
        """
        fn = densities.log_prob_completed
        return self._bayesian(*self._totals(x, sample_weight, fn))

    def sample(self, key: KeyLike, n_samples: int) -> Data:
        """Independent samples, shape `(n_samples, n_features)`.

        **Arguments:**

        - `key`: a `jax.random` key. The same key gives the same samples.
        - `n_samples`: how many; a Python integer of at least one.

        Derivatives in the means and covariances are those of each sample, its component
        and noise held fixed. The weights have none; see [`gmmx_eqx.sample_implicit`][].

        **Example:**

        ```python
        mixture = gx.GaussianMixture.create(n_components=1, n_features=2)
        x = mixture.sample(jr.key(0), 5)
        print(x.shape)
        ```

        ```text
        (5, 2)
        ```
        """
        return self.sample_labelled(key, n_samples)[0]

    def sample_labelled(self, key: KeyLike, n_samples: int) -> tuple[Data, Labels]:
        """The samples of `sample`, and the component each is from, shape
        `(n_samples,)`."""
        self.check_one()
        key = as_key(key)
        n_samples = inputs.check_count(n_samples, "n_samples")
        return sampling.of_mixture(self, key, n_samples)

    def check_one(self) -> None:
        """A `ValueError` where this is an ensemble of mixtures."""
        check_process()
        if len(self._means_shape) != len(Axis):
            leading = self._means_shape[: -len(Axis)]
            raise ValueError(
                f"This is an ensemble of mixtures, with leading axes {leading}. Call "
                "its methods one mixture at a time: "
                "`eqx.filter_vmap(lambda mixture: mixture.log_prob(x))(ensemble)`."
            )

    def _evaluate(self, x: DataLike | Observed, fn: Callable[..., Any]) -> Any:
        self.check_one()
        if isinstance(x, Observed):
            return of_observed(self, x, fn)
        x, _ = inputs.as_data(x, n_features=self.n_features, like=self)
        mixture = all_on_automatic_mesh(self, "mixture")
        filled, _ = buckets.fill(x, None, mixture)
        found = per_datum(padding.pad(mixture, filled), filled, fn, spread_of(x))
        return buckets.cut(found, x.shape[0], self.n_components)

    def _totals(
        self,
        x: DataLike | Observed | Blocks,
        sample_weight: SampleWeightLike | None,
        fn: Callable[..., PerDatum],
    ) -> tuple[Scalar, Scalar, Unit]:
        """The sums of log-densities and of weights, and the weights' unit."""
        self.check_one()
        if isinstance(x, Observed):
            return total_of_observed(self, x, sample_weight, fn)
        if isinstance(x, Blocks):
            totals = self._totals_of_blocks(x, sample_weight, fn)
            return *totals, inputs.balance(None)[1]
        x, weight = inputs.as_data(
            x, sample_weight, n_features=self.n_features, like=self
        )
        weight, unit = inputs.balance(weight)
        mixture = all_on_automatic_mesh(self, "mixture")
        x, weight = buckets.fill(x, weight, mixture)
        mixture = padding.pad(mixture, x)
        return *weighted_sum(mixture, x, weight, fn, spread_of(x)), unit

    def _totals_of_blocks(
        self,
        data: Blocks,
        sample_weight: SampleWeightLike | None,
        fn: Callable[..., PerDatum],
    ) -> tuple[Scalar, Scalar]:
        check_blocks(data, self.n_features, sample_weight)
        of_block = ft.partial(_sum_of_block, self, fn)
        total, n_samples = total_of(data, Blocks.load, of_block)
        if not np.isfinite(total):
            for block in data:
                block.check_finite()
        dtype = self.means.dtype
        return jnp.asarray(total, dtype), jnp.asarray(n_samples, dtype)

    def _bayesian(self, total: Scalar, n_samples: Scalar, unit: Unit) -> Scalar:
        # Arrays, so that it is one program for all mixtures.
        n_parameters = constant(self.n_parameters, total.dtype)
        log_of_unit = constant(log_unit(unit), total.dtype)
        total = unbalance(total, unit)
        return densities.bayesian(total, n_samples, n_parameters, log_of_unit)


def _sum_of_block(
    mixture: AbstractGaussianMixture, fn: Callable[..., PerDatum], block: Block
) -> tuple[Scalar, Scalar]:
    if block.is_observed:
        return total_of_observed(mixture, jax.device_put(block.observed), None, fn)[:2]
    x, weight = block.arrays
    return weighted_sum(mixture, x, weight, fn)


@program()
def per_datum(
    mixture: AbstractGaussianMixture,
    x: Data | np.ndarray,
    fn: Callable[..., Any],
    spread: Spread | None,
    *rows: Shaped[Array, "batch ..."],
) -> Any:
    """`fn` of every sample's log-densities, of the weights, and of `rows`, if any."""
    mixture, x = inputs.common_dtype(mixture, x)
    # Once, not for every chunk.
    whitening = mixture.covariances.whitening(mixture.n_features, tolerant=True)

    def of_chunk(chunk, *rows):
        density = log_density(whitening, mixture.means, inputs.as_samples(chunk))
        return fn(density, mixture.weights, *rows)

    n_components = mixture.n_components
    run = lambda x, *rows: densities.map_chunks(of_chunk, x, n_components, rows=rows)
    return run(x, *rows) if spread is None else spread.map(run, x, *rows)


@program()
def weighted_sum(
    mixture: AbstractGaussianMixture,
    x: Data,
    weight: Weighting,
    fn: Callable[..., PerDatum],
    spread: Spread | None = None,
    *rows: Shaped[Array, "batch ..."],
) -> tuple[Scalar, Scalar]:
    """The sum of `fn` over the samples and `rows` of them, and that of the weights."""
    if weight is not None and weight.ndim == 0:
        weight = buckets.weights_of(weight, x.shape[0], x.dtype)
    if weight is not None:
        # A sample of weight zero is not there. Its derivative in the weight is, but a
        # NaN would reach the gradients even though the sum does not see it.
        present = (weight > 0) | jnp.all(jnp.isfinite(x), axis=1)
        mean = mixture.means[0, 0, :, 0].astype(x.dtype)
        x = jnp.where(present[:, None], x, mean[None])
    values = per_datum(mixture, x, fn, spread, *rows)
    if weight is None:
        return jnp.sum(values), jnp.asarray(values.size, dtype=values.dtype)
    weight = weight.astype(values.dtype)
    # Zero times -inf is NaN.
    counted = (weight > 0) | jnp.isfinite(values)
    return jnp.sum(jnp.where(counted, weight * values, 0)), jnp.sum(weight)
